"""One process of a run: publishes one stream, or reads several, and leaves its records in files."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from transport_bench.peer import Array, NodeSpec, Peer, now_ns
from transport_bench.registry import PEERS
from transport_bench.streams import STREAMS, Stream, is_intact, mark

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PLAN_PATIENCE_S = 60.0
_SMALL_SOURCES, _BULK_SOURCES = 64, 8
_LAST_ARRIVALS_NS = 300_000_000


class Plan(msgspec.Struct, frozen=True):
    """When to start, and which messages count; CLOCK_MONOTONIC."""

    start_ns: int
    measure_ns: int
    end_ns: int


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself at the end."""

    torn: int = 0
    skipped: int = 0
    """Ticks that a publisher left out because it was behind."""
    failed: int = 0
    """Messages that the transport refused with an exception."""
    error: str = ""
    counters: dict[str, int] = {}


def plan_path(run_dir: Path) -> Path:
    return run_dir / "plan.json"


def ready_path(run_dir: Path, node: str) -> Path:
    return run_dir / f"{node}.ready"


def report_path(run_dir: Path, node: str) -> Path:
    return run_dir / f"{node}.report.json"


def records_path(run_dir: Path, node: str) -> Path:
    """Publisher: (n, 2) seq, sent_ns. Reader: (n, 4) stream, seq, sent_ns, recv_ns."""
    return run_dir / f"{node}.records.npy"


def write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)


def run_publisher(spec: NodeSpec, peer: Peer) -> tuple[NodeReport, npt.NDArray[np.int64]]:
    stream = STREAMS[spec.streams[0]]
    peer.open_publisher(stream)
    sources = _sources(peer, stream)
    plan = _await_plan(spec)
    ticks = _Ticks(plan, stream, spec.is_flat_out)
    sent: list[tuple[int, int]] = []
    failed, error, seq = 0, "", 0
    while ticks.wait():
        source = sources[seq % len(sources)]
        peer.reclaim(source)
        mark(source, seq)
        try:
            sent.append((seq, peer.send(seq, source)))
        except Exception as failure:  # a peer whose pool is exhausted raises: a result, not a crash
            failed, error = failed + 1, repr(failure)
        seq += 1
    time.sleep(_LAST_ARRIVALS_NS / 1e9)  # a publisher that leaves takes its last messages with it
    report = NodeReport(
        skipped=ticks.skipped, failed=failed, error=error, counters=dict(peer.counters)
    )
    return report, np.array(sent, np.int64).reshape(-1, 2)


def run_reader(spec: NodeSpec, peer: Peer) -> tuple[NodeReport, npt.NDArray[np.int64]]:
    index_of = {name: index for index, name in enumerate(STREAMS)}
    records: list[tuple[int, int, int, int]] = []
    torn = 0

    def on_sample(stream: str, seq: int, sent_ns: int, array: Array | None) -> None:
        recv_ns = now_ns()
        nonlocal torn
        records.append((index_of[stream], seq, sent_ns, recv_ns))
        is_good = array is None or is_intact(array, seq)
        if spec.work_ms:
            time.sleep(spec.work_ms / 1e3)
            is_good = is_good and (array is None or is_intact(array, seq))
        torn += not is_good

    peer.open_reader([STREAMS[name] for name in spec.streams])
    plan = _await_plan(spec)
    peer.read(on_sample, lambda: now_ns() > plan.end_ns + _LAST_ARRIVALS_NS)
    report = NodeReport(torn=torn, counters=dict(peer.counters))
    return report, np.array(records, np.int64).reshape(-1, 4)


class _Ticks:
    """When the publisher's messages are due."""

    def __init__(self, plan: Plan, stream: Stream, is_flat_out: bool) -> None:
        self._end_ns = plan.end_ns
        self._period_ns = 0 if is_flat_out else int(1e9 / stream.rate_hz)
        self._due_ns = plan.start_ns + int(stream.phase_ms * 1e6)
        self.skipped = 0

    def wait(self) -> bool:
        """Return at the next tick; False when there is none left."""
        while (left_ns := self._due_ns - now_ns()) > 0:
            time.sleep(left_ns / 1e9)
        if self._due_ns >= self._end_ns or now_ns() >= self._end_ns:
            return False
        self._due_ns += self._period_ns
        if self._period_ns:
            late = max((now_ns() - self._due_ns) // self._period_ns, 0)
            self.skipped += late
            self._due_ns += late * self._period_ns
        return True


def _sources(peer: Peer, stream: Stream) -> list[Array]:
    sources = peer.source_arrays(stream, _BULK_SOURCES if stream.is_bulk else _SMALL_SOURCES)
    for index, source in enumerate(sources):  # touch the pages, with values that tell them apart
        source.reshape(-1).view(np.uint8)[:] = 31 * index % 251
    return sources


def _await_plan(spec: NodeSpec) -> Plan:
    run_dir = Path(spec.run_dir)
    write_atomically(ready_path(run_dir, spec.node), str(os.getpid()).encode())
    for _ in range(int(_PLAN_PATIENCE_S / 0.005)):
        if plan_path(run_dir).exists():
            return msgspec.json.decode(plan_path(run_dir).read_bytes(), type=Plan)
        time.sleep(0.005)
    raise TimeoutError(f"no plan within {_PLAN_PATIENCE_S:.0f} s")


def main() -> None:
    """The whole life of a node."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=NodeSpec)
    peer = PEERS[spec.transport](spec)
    report, records = (run_reader if spec.is_reader else run_publisher)(spec, peer)
    run_dir = Path(spec.run_dir)
    with records_path(run_dir, spec.node).open("wb") as file:
        np.save(file, records)
    write_atomically(report_path(run_dir, spec.node), msgspec.json.encode(report))
    peer.close()
    sys.stdout.flush()
    os._exit(0)  # some peers' threads keep the interpreter from leaving
