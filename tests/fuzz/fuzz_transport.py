"""Feeds damaged frames to decode, lanes and ZeroMQ, and demands an account of every one.

    python tests/fuzz/fuzz_transport.py --frames 1000000 --seed 1

Exit code 1, with the reason, when anything raised, a frame is not accounted for, memory or open
files grew, or a message came out that its topic does not carry.
"""

import argparse
import contextlib
import gc
import random
import resource
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script, this folder stands there instead

import msgspec
import numpy as np
import psutil
import zmq

from fusion_rt.session import Session, TcpSource, start_session
from fusion_rt.topics import topic_kind
from fusion_rt.transport import wire
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.lane import HEADER, RING, RingAnnouncement, requested_lane
from fusion_rt.transport.security import be_server, create_keys, guarded, load_own_keys
from fusion_rt.transport.slots import SlotStore
from fusion_rt.transport.subscriber import Subscriber
from tests.fuzz.bad_files import BadFiles
from tests.fuzz.mutations import damaged_bytes, damaged_fields, lying_fields
from tests.transport.samples import every_message

MAX_GROWTH_BYTES = 16 << 20
_BATCH = 32
_BATCHES_PER_LANE = 40
_SETTLE_S = 20.0
_MEMORY_LIMIT_BYTES = 3 << 30
_MESSAGES = every_message()


class Unaccounted(Exception):
    """A promise of the transport that was broken."""


class Seeds:
    """Real frames of each type, as publishers send them: inline, in a ring, beside the header."""

    def __init__(self, random: random.Random) -> None:
        self.slots = SlotStore(8)
        self._random = random
        self._encoded = {
            topic: wire.MessageCodec(topic_kind(topic).message).encode(message)
            for topic, message in _MESSAGES.items()
        }
        self._seq = 0
        for topic in _MESSAGES:
            self.header(topic, is_lane=True)  # opens the ring

    def header(self, topic: str, is_lane: bool) -> bytes:
        """The next frame of the topic; a new publisher every few, for damage retires the old."""
        body, arrays = self._encoded[topic]
        self._seq += 1
        beside = tuple(wire.describe(array) for array in arrays)
        return wire.encode_header(
            wire.Header(
                version=wire.WIRE_VERSION,
                topic=topic,
                node="nodes.fuzz",
                incarnation=self._seq // 16,
                seq=self._seq % 16,
                stamp_ns=_MESSAGES[topic].stamp_ns,
                sent_ns=self._seq,
                body=msgspec.Raw(body),
                payloads=(self.slots.place(arrays) or ()) if is_lane else beside,
                trace=(("sensor", 1), ("publish", 2)),
            )
        )

    def damaged(self, header: bytes) -> bytes:
        """The frame, damaged in most cases."""
        kind = self._random.random()
        if kind < 0.08:
            return header
        if kind < 0.4:
            return lying_fields(header, self._random)
        if kind < 0.7:
            other = self.header(self.topic(), is_lane=True)
            return damaged_bytes(header, other, self._random)
        return damaged_fields(header, self._random)

    def topic(self) -> str:
        return self._random.choice(list(_MESSAGES))

    def frames(self, topic: str) -> list[bytes]:
        return [array.tobytes() for array in self._encoded[topic][1]]


class DecodeTarget:
    """The functions alone: a header, then its body with arrays that fit or do not."""

    def __init__(self, seeds: Seeds, random: random.Random) -> None:
        self.sent = 0
        self.outcomes: Counter[str] = Counter()
        self._seeds = seeds
        self._random = random
        self._codecs = {t: wire.MessageCodec(topic_kind(t).message) for t in _MESSAGES}

    def feed(self) -> None:
        for _ in range(_BATCH):
            topic = self._seeds.topic()
            data = self._seeds.damaged(self._seeds.header(topic, is_lane=False))
            self.sent += 1
            self.outcomes[self._decode(topic, data)] += 1

    def _decode(self, topic: str, data: bytes) -> str:
        header = wire.decode_header(data)
        if isinstance(header, Drop):
            return header.value
        arrays = []
        for payload, frame in zip(header.payloads, self._seeds.frames(topic), strict=False):
            array = wire.array_from_bytes(payload, frame)
            if isinstance(array, Drop):
                return array.value
            arrays.append(array)
        arrays = arrays or [np.zeros((), np.float32)]
        return _judged(self._codecs[topic].decode(header.body, arrays))


class LaneTarget:
    """A subscriber on a real lane whose publisher lies."""

    def __init__(self, session: Session, seeds: Seeds, random: random.Random) -> None:
        self.sent = 0
        self.outcomes: Counter[str] = Counter()
        self._session = session
        self._seeds = seeds
        self._random = random
        self._bad_files = BadFiles()

    def feed(self) -> None:
        """A life of a subscriber: its lane breaks a few times, then it leaves."""
        depth = self._random.choice((None, 2 * _BATCH))
        with (
            Subscriber(_MESSAGES, self._session, self._session.clock(), depth) as subscriber,
            _lane_requests(self._session) as token,
        ):
            for _ in range(_BATCHES_PER_LANE):
                with _connected(token) as lane:
                    self._announce(lane)
                    self._send_batch(lane)
                _settle(self, subscriber)
            self.outcomes.update(_drops(subscriber))

    def close(self) -> None:
        self._bad_files.close()

    def _announce(self, lane: socket.socket) -> None:
        announcement, fd = self._seeds.slots.ring
        _send(lane, RING + msgspec.msgpack.encode(announcement), [fd])

    def _send_batch(self, lane: socket.socket) -> None:
        for _ in range(_BATCH):
            if self._random.random() < 0.1:
                if not self._send_announcement(lane):
                    return  # the subscriber gives the lane up
                continue
            header = self._seeds.damaged(self._seeds.header(self._seeds.topic(), is_lane=True))
            fds = [self._bad_files.any(self._random)] if self._random.random() < 0.02 else []
            self.sent += 1
            _send(lane, HEADER + header, fds)

    def _send_announcement(self, lane: socket.socket) -> bool:
        """Right, or wrong in one way; only right ones may pass unseen."""
        announcement, fd = self._seeds.slots.ring
        data = msgspec.msgpack.encode(announcement)
        if self._random.random() < 0.3:
            data = damaged_fields(data, self._random)
        kind = self._random.random()
        fds = [fd] * self._random.choice((1, 1, 2, 5))
        if kind < 0.1:
            fds = []
        elif kind < 0.3:
            fds[0] = self._bad_files.any(self._random)
        is_right = fds[:1] == [fd] and _announces(data, announcement)
        kind_of_packet = RING if is_right or self._random.random() < 0.9 else b"?"
        self.sent += 1
        self.outcomes["ring opened"] += is_right  # all others must be among the strays
        _send(lane, kind_of_packet + data, fds)
        return is_right or kind_of_packet != RING


class RemoteTarget:
    """A subscriber across CURVE whose publisher lies."""

    def __init__(self, session: Session, keys: Path, seeds: Seeds, random: random.Random) -> None:
        self.sent = 0
        self.outcomes: Counter[str] = Counter()
        self._seeds = seeds
        self._random = random
        self._stack = contextlib.ExitStack()
        context = self._stack.enter_context(zmq.Context())
        self._stack.enter_context(guarded(context, keys))
        self._server = context.socket(zmq.XPUB)
        self._stack.callback(self._server.close, linger=0)
        self._server.setsockopt(zmq.RCVTIMEO, int(_SETTLE_S * 1000))
        be_server(self._server, load_own_keys(keys))
        self._server.bind("tcp://127.0.0.1:*")
        address = self._server.get_string(zmq.LAST_ENDPOINT)
        source = TcpSource(address, str(next(keys.glob("*.key"))), str(keys))
        there = msgspec.structs.replace(session, sources=dict.fromkeys(_MESSAGES, source))
        self._subscriber = self._stack.enter_context(
            Subscriber(_MESSAGES, there, session.clock(), 4 * _BATCH)
        )
        for _ in _MESSAGES:
            self._server.recv()

    def feed(self) -> None:
        for _ in range(_BATCH):
            topic = self._seeds.topic()
            header = self._seeds.damaged(self._seeds.header(topic, is_lane=False))
            frames = self._seeds.frames(topic)
            kind = self._random.random()
            if kind < 0.1:
                frames = frames[1:] or [b""]
            elif kind < 0.2:
                frames = [frame[: self._random.randrange(len(frame) + 1)] for frame in frames]
            parts = [topic.encode(), header, *frames]
            self._server.send_multipart(parts[: self._random.choice((1, 2, 9, 9, 9, 9, 9, 9))])
            self.sent += 1
        _settle(self, self._subscriber)

    def close(self) -> None:
        self.outcomes.update(_drops(self._subscriber))
        self._stack.close()


def fuzz(frames: int, seed: int) -> Counter[str]:
    """What became of `frames` damaged frames, by cause; raises where a promise is broken."""
    own = random.Random(seed)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as parent:
        _fuzz_lives(2_000, own, Path(parent), Counter())  # imports, pools, threads: once
        files = _open_files()
        before = _memory_bytes()
        _fuzz_lives(frames, own, Path(parent), total)
        grown = _memory_bytes() - before
    if grown > MAX_GROWTH_BYTES:
        raise Unaccounted(f"memory grew by {grown >> 20} MiB over {frames} frames")
    if (left := _open_files()) != files:
        raise Unaccounted(f"open files: expected {files} as before, got {left}")
    return total


def _fuzz_lives(frames: int, own: random.Random, parent: Path, total: Counter[str]) -> None:
    seeds = Seeds(own)
    keys = parent / "keys"
    if not keys.exists():
        public = create_keys(keys, "host")
        (keys / "allowed" / public.name).write_bytes(public.read_bytes())
    with contextlib.ExitStack() as stack:
        stack.callback(seeds.slots.close)
        session = stack.enter_context(start_session(parent / "run", "fuzz"))
        decode = DecodeTarget(seeds, own)
        lane = LaneTarget(session, seeds, own)
        stack.callback(lane.close)
        remote = RemoteTarget(session, keys, seeds, own)
        with contextlib.closing(remote):
            while decode.sent + lane.sent + remote.sent < frames:
                lane.feed()
                for _ in range(_BATCHES_PER_LANE // 2):
                    decode.feed()
                for _ in range(_BATCHES_PER_LANE // 8):
                    remote.feed()
        for target in (decode, lane, remote):
            total["sent"] += target.sent
            total.update({f"{type(target).__name__} {k}": n for k, n in target.outcomes.items()})
            if (counted := target.outcomes.total()) != target.sent:
                name = type(target).__name__
                raise Unaccounted(f"{name}: sent {target.sent}, accounted for {counted}")


def _settle(target: LaneTarget | RemoteTarget, subscriber: Subscriber) -> None:
    """Receive until everything sent is accounted for."""
    due_s = time.monotonic() + _SETTLE_S
    while (counted := target.outcomes.total() + _drops(subscriber).total()) < target.sent:
        if time.monotonic() > due_s:
            name = type(target).__name__
            raise Unaccounted(f"{name}: sent {target.sent}, accounted for {counted}")
        if received := subscriber.receive(0):
            target.outcomes[_judged(received.message)] += 1


def _judged(message: object) -> str:
    if isinstance(message, Drop):
        return message.value
    if (problem := message.problem()) is not None:
        raise Unaccounted(f"delivered although {problem}: {message}")
    return "delivered"


def _announces(data: bytes, announcement: RingAnnouncement) -> bool:
    """Whether these bytes announce just this ring's file, as any msgpack library reads them."""
    tree = msgspec.msgpack.decode(data)
    match tree:
        case [ring, [slots, stride, *_], *_] if type(ring) is type(slots) is type(stride) is int:
            geometry = announcement.geometry
            return ring >= 0 and (slots, stride) == (geometry.slots, geometry.stride)
    return False


def _drops(subscriber: Subscriber) -> Counter[str]:
    drops = Counter(subscriber.strays)
    for inbox in subscriber.inboxes.values():
        # Losses are messages that never came: not among the frames sent here.
        drops.update({k: n for k, n in inbox.drops.items() if k != Drop.LOST.value})
    return drops


@contextlib.contextmanager
def _lane_requests(session: Session) -> Iterator[bytes]:
    """The token under which the session's one subscriber listens, had as a publisher has it."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.bind(session.endpoint(next(iter(_MESSAGES))))
        publisher.setsockopt(zmq.RCVTIMEO, int(_SETTLE_S * 1000))
        yield requested_lane(publisher.recv()[1:]) or b""


@contextlib.contextmanager
def _connected(token: bytes) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as lane:
        lane.connect(b"\0fusion_rt/" + token)
        yield lane


def _send(lane: socket.socket, packet: bytes, fds: list[int]) -> None:
    rights = struct.pack(f"{len(fds)}i", *fds)
    lane.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else [])


def _memory_bytes() -> int:
    return psutil.Process().memory_info().rss


def _open_files() -> int:
    gc.collect()
    return psutil.Process().num_fds()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # A length that is believed shows as a MemoryError instead of as a swapping machine.
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    started_s = time.monotonic()
    before = _memory_bytes()
    try:
        total = fuzz(options.frames, options.seed)
    except Exception as error:
        print(f"seed {options.seed}: {type(error).__name__}: {error}")
        raise SystemExit(1) from error
    rate = total["sent"] / (time.monotonic() - started_s)
    for cause, count in sorted(total.items()):
        print(f"{count:>10,}  {cause}")
    grown = _memory_bytes() - before
    print(f"seed {options.seed}: {rate:,.0f} frames/s, memory {grown >> 10:+,} KiB since the start")
    return 0


if __name__ == "__main__":
    sys.exit(main())
