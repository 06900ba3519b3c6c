"""Encode step: a message of any stream becomes features, or a reason why not. No threads."""

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from fusion_rt.arrays import AnyArray
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import FusionError
from fusion_rt.fusion.admission import SHED
from fusion_rt.fusion.ego_motion import Twist
from fusion_rt.fusion.picture import decode
from fusion_rt.latency.frame import Frame
from fusion_rt.messages import AudioChunk, CameraFrame, LidarSweep
from fusion_rt.perception import Features, Perception
from fusion_rt.sync.audio_window import Chunk, cut_window

_AGREE_NS = 100 * NS_PER_MS
"""Counter and stamps of one device tell the same time to within this."""
HANGS_NS = NS_PER_S // 2
"""An encoder that takes longer hangs: no set waits for it any more, and no other work."""
_LEAST_SOUND = 0.5
"""Share of a window of sound that must have been received."""
State = Literal["waiting", "ready", "failed", "superseded", "shed"]


class Item(msgspec.Struct, eq=False, kw_only=True):
    """One message on its way to features; goes along as the token of its header."""

    topic: str
    kind: str
    stamp_ns: int
    frames: Sequence[Frame] = ()
    """The ledger's; more than one where several messages make one window."""
    message: Any = None
    """What is to be encoded; let go of once it is, as it may lie in a publisher's ring."""
    twist: Twist = Twist()
    """Our motion at its stamp."""
    lasts_ns: int = 0
    """From the stamp to the end of what was measured."""
    state: State = "waiting"
    features: Features | None = None
    reason: str = ""
    """Why there are no features, in a sentence."""
    begun_ns: int = 0
    """When it was handed to its lane."""

    def shed(self) -> None:
        """Not to be encoded: the machine is behind."""
        self.state, self.reason, self.message = "shed", SHED, None

    def fail(self, reason: str) -> None:
        self.state, self.reason, self.message = "failed", reason, None


class UnderWay:
    """What was handed to the lanes and is not settled; one that hangs holds up nothing."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()

    def begin(self, item: Item, now_ns: int) -> None:
        item.begun_ns = now_ns
        self._items.append(item)

    def since_ns(self, now_ns: int) -> int | None:
        """When the oldest of them was begun; None where there is none."""
        items = self._items
        while items and (items[0].state != "waiting" or now_ns - items[0].begun_ns > HANGS_NS):
            items.popleft()
        return items[0].begun_ns if items else None


class Encoders:
    """The encoders of a model, by kind of stream; each kind on one thread at a time."""

    def __init__(self, perception: Perception) -> None:
        self._perception = perception
        self._picture: AnyArray = np.zeros((0, 0, 3), np.uint8)

    def encode(self, item: Item) -> None:
        """Fill in the features, or the reason why there are none. Bad data never raises."""
        try:
            item.features = self._features(item)
        except (FusionError, ValueError) as error:
            item.fail(f"{item.kind} could not be encoded: {error}")
        else:
            item.state, item.message = "ready", None

    def _features(self, item: Item) -> Features:
        message = item.message
        if isinstance(message, CameraFrame):
            return self._camera(message)
        if isinstance(message, LidarSweep):
            twist = item.twist
            return self._perception.encode_lidar(
                message.points, twist.linear_mps, twist.angular_radps
            )
        return self._perception.encode_audio(message)

    def _camera(self, frame: CameraFrame) -> Features:
        if frame.encoding != "jpeg":
            return self._perception.encode_camera(
                frame.image, frame.encoding, frame.width, frame.height
            )
        self._picture = decode(frame, self._picture)
        return self._perception.encode_camera(self._picture, "bgr8", frame.width, frame.height)


class SoundCollector:
    """Collects chunks, from which windows of sound are cut by the sample counter."""

    def __init__(self, samples: int, rate_hz: float, channels: int) -> None:
        self._samples = samples
        self._rate_hz = rate_hz
        self._channels = channels
        self._chunks: deque[tuple[AudioChunk, Frame | None]] = deque()

    def add(self, chunk: AudioChunk, frame: Frame | None = None) -> str | None:
        """Take in a chunk; what is wrong with it for this model, if anything is."""
        wanted = f"{self._rate_hz:g} Hz and {self._channels} channels"
        if chunk.rate_hz != self._rate_hz or chunk.samples.shape[1] != self._channels:
            got = f"{chunk.rate_hz} Hz and {chunk.samples.shape[1]}"
            return f"expected sound of {wanted} for the model, got {got}"
        chunks = self._chunks
        if chunks and not self._goes_on(chunk):
            chunks.clear()
        place = len(chunks)
        while place and chunks[place - 1][0].first_sample > chunk.first_sample:
            place -= 1
        chunks.insert(place, (chunk, frame))
        begin = self._end - self._samples
        while chunks[0][0].first_sample + len(chunks[0][0].samples) <= begin:
            chunks.popleft()
        return None

    def _goes_on(self, chunk: AudioChunk) -> bool:
        """Whether it is of the same recording: another device, or one started again, counts anew.

        One that comes late is an earlier piece by its counter and by its stamp alike.
        """
        newest = self._chunks[-1][0]
        if chunk.samples.dtype != newest.samples.dtype:
            return False
        ahead = chunk.first_sample - newest.first_sample
        by_counter_ns = round(ahead / self._rate_hz * NS_PER_S)
        off_ns = chunk.stamp_ns - newest.stamp_ns - by_counter_ns
        return ahead >= 0 or abs(off_ns) <= _AGREE_NS

    @property
    def _end(self) -> int:
        newest = self._chunks[-1][0]
        return newest.first_sample + len(newest.samples)

    @property
    def chunk_ns(self) -> int:
        """How long the newest chunk lasts."""
        return round(len(self._chunks[-1][0].samples) / self._rate_hz * NS_PER_S)

    @property
    def frames(self) -> list[Frame]:
        """The ledger's, of all chunks that the window is made of."""
        return [frame for _, frame in self._chunks if frame is not None]

    def window(self) -> AnyArray | None:
        """(samples, channels) up to the newest sample; None while too little was heard."""
        chunks = [Chunk(c.stamp_ns, c.first_sample, c.samples) for c, _ in self._chunks]
        cut = cut_window(chunks, self._end - self._samples, self._samples)
        return cut.samples if cut.is_real.mean() >= _LEAST_SOUND else None


def warm_up(perception: Perception) -> None:
    """Run every graph twice on nothing, so that the first message finds all memory in place."""
    encoders, kinds = Encoders(perception), perception.kinds
    for _ in range(2):
        features: dict[str, Features] = {}
        for kind in kinds:
            item = Item(topic=kind, kind=kind, stamp_ns=0, message=_blank(perception, kind))
            if item.message is None:
                continue
            encoders.encode(item)
            if item.features is not None:
                features[kind] = item.features
        with contextlib.suppress(FusionError):
            perception.fuse(features)


def _blank(perception: Perception, kind: str) -> Any:
    pinhole, audio = perception.mounts.pinhole, perception.model.file.audio
    if kind == "camera" and pinhole is not None:
        shape = (pinhole.height, pinhole.width, 3)
        return CameraFrame(
            stamp_ns=0,
            encoding="bgr8",
            width=pinhole.width,
            height=pinhole.height,
            image=np.zeros(shape, np.uint8),
        )
    if kind == "lidar":
        return LidarSweep(stamp_ns=0, points=np.zeros((0, 5), np.float32))
    if kind == "audio" and audio is not None:
        recipe = audio.sound.recipe
        return np.zeros((recipe.samples, recipe.channels), np.int16)
    return None
