"""What we hold our transport to, each claim a ratio to a peer of the same rounds."""

from collections.abc import Callable, Iterator

import msgspec

from transport_bench.results import Results

COPYING, LOANING = "fusion_rt", "fusion_rt_loan"
SOCKET_PEERS = ("zmq_copy", "zmq_nocopy", "zenoh_shm", "dora", "ecal")
ALL_PEERS = (*SOCKET_PEERS, "iceoryx2", "iceoryx2_loan")


class Claim(msgspec.Struct, frozen=True):
    """One claim and what was measured."""

    text: str
    measured: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit


def judge(results: Results) -> list[Claim]:
    """The claims that these results can say something about."""
    return [claim for part in _PARTS for claim in part(results)]


def _against_sockets(results: Results) -> Iterator[Claim]:
    for scenario in ("camera_1", "camera_3"):
        for peer in SOCKET_PEERS:
            text = f"{scenario}: loaned p50 below {peer}"
            yield from _claim(text, results.ratio(scenario, LOANING, peer, "camera"), 1.0)


def _against_iceoryx2(results: Results) -> Iterator[Claim]:
    for scenario in ("camera_1", "camera_3"):
        loaned = results.ratio(scenario, LOANING, "iceoryx2_loan", "camera")
        yield from _claim(f"{scenario}: loaned p50 to iceoryx2 loaned", loaned, 1.5)
        copied = results.ratio(scenario, COPYING, "iceoryx2", "camera")
        yield from _claim(f"{scenario}: copied p50 to iceoryx2 copied", copied, 1.1)


def _full_mix(results: Results) -> Iterator[Claim]:
    p99_of = {
        peer: p99
        for peer in ALL_PEERS
        if (p99 := results.percentile_us("mix_3", peer, "camera", 99)) is not None
    }
    if p99_of:
        best = min(p99_of, key=lambda peer: p99_of[peer])
        ratio = results.ratio("mix_3", LOANING, best, "camera", percent=99)
        yield from _claim(f"mix_3: loaned camera p99 to the best peer, {best}", ratio, 1.0)


def _small_messages(results: Results) -> Iterator[Claim]:
    for stream in ("audio", "gps"):
        ratio = results.ratio("small", COPYING, "zmq_copy", stream)
        yield from _claim(f"small: {stream} p50 to plain pyzmq", ratio, 1.0)


def _slow_reader(results: Results) -> Iterator[Claim]:
    for transport in (COPYING, LOANING):
        ratio = results.ratio_of_scenarios(
            transport, ("slow", "camera fast"), ("camera_1", "camera")
        )
        text = f"slow: {transport} p50 of the fast reader to that of one alone"
        yield from _claim(text, ratio, 1.1)


def _claim(text: str, measured: float | None, limit: float) -> Iterator[Claim]:
    if measured is not None:
        yield Claim(text, measured, limit)


_PARTS: tuple[Callable[[Results], Iterator[Claim]], ...] = (
    _against_sockets,
    _against_iceoryx2,
    _full_mix,
    _small_messages,
    _slow_reader,
)
