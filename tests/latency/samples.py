"""Frames and answers for the ledger, as a fusing loop would tell it of them."""

from dataclasses import dataclass

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.latency.ledger import AnswerTimes, Ledger

START_NS = 1_800_000_000 * NS_PER_S
CAMERA, LIDAR = "camera/front", "lidar/top"
TOLERANCES_NS = {CAMERA: 25 * NS_PER_MS, LIDAR: 60 * NS_PER_MS}


@dataclass(frozen=True)
class Header:
    topic: str
    seq: int
    stamp_ns: int
    sent_ns: int
    incarnation: int = 1
    trace: tuple[tuple[str, int], ...] = ()


def ms(value):
    """Milliseconds after the start, as rig time."""
    return START_NS + round(value * NS_PER_MS)


def arrive(ledger, topic, seq, stamp_ms, *, sent_ms=5, hop_ms=1, queue_ms=1, encode_ms=10):
    """A frame that was received, taken and encoded; durations follow one another."""
    sent_ns = ms(stamp_ms + sent_ms)
    recv_ns = sent_ns + round(hop_ms * NS_PER_MS)
    frame = ledger.arrived(Header(topic, seq, ms(stamp_ms), sent_ns), recv_ns)
    frame.taken_ns = recv_ns + round(queue_ms * NS_PER_MS)
    frame.ready_ns = frame.taken_ns + round(encode_ms * NS_PER_MS)
    return frame


def times(reference_ms, *, closed_ms=10, fuse_ms=5, **more):
    """An answer: closed so long after its reference, fused at once."""
    closed_ns = ms(reference_ms + closed_ms)
    started_ns = max(closed_ns, more.pop("ready_ns", 0))
    fused_ns = started_ns + round(fuse_ms * NS_PER_MS)
    return AnswerTimes(
        reference_ns=ms(reference_ms),
        opened_ns=ms(reference_ms + 6),
        closed_ns=closed_ns,
        started_ns=started_ns,
        fused_ns=fused_ns,
        published_ns=fused_ns + NS_PER_MS,
        **more,
    )


def ledger_with_rows(options=None):
    rows = []
    return Ledger(TOLERANCES_NS, options, sink=rows.append), rows


def of_type(rows, kind):
    return [row for row in rows if isinstance(row, kind)]
