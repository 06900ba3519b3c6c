"""Draws the timelines of docs/synchronizer.md by running the synchronizer on a second of messages.

python -m docs.draw_synchronizer
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusion_rt.svg import Svg
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import FrameSet, StreamSpec

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
OUT = Path(__file__).parent / "synchronizer"
RIG = [
    StreamSpec("camera", 30, 20 * MS),
    StreamSpec("lidar", 10, 55 * MS),
    StreamSpec("gps", 10, 55 * MS),
]
PERIOD_MS = {"camera": 100 / 3, "lidar": 100.0, "gps": 100.0}
PHASE_MS = {"camera": 7.0, "lidar": 0.0, "gps": 20.0}
DELAY_MS = {"camera": 30.0, "lidar": 45.0, "gps": 70.0}
COLORS = {"camera": "#2980b9", "lidar": "#27ae60", "gps": "#8e44ad"}
WARM_UP_MS = 3000
LEFT, WIDTH, ROW, TOP = 80, 760, 44, 46


@dataclass
class Message:
    stream: str
    true_ms: float
    arrival_ms: float
    stamp_ms: float


Fault = Callable[[Message], Message | None]


def messages(end_ms: float, fault: Fault) -> list[Message]:
    """All sensors from before the picture begins until `end_ms`, in order of arrival."""
    made = []
    for name, period_ms in PERIOD_MS.items():
        for k in range(int((end_ms + WARM_UP_MS) / period_ms)):
            at_ms = PHASE_MS[name] + k * period_ms - WARM_UP_MS
            message = fault(Message(name, at_ms, at_ms + DELAY_MS[name], at_ms))
            made += [message] if message is not None else []
    return sorted(made, key=lambda m: m.arrival_ms)


def run(made: list[Message], end_ms: float) -> list[FrameSet]:
    sync = Synchronizer(RIG, "lidar")
    sets: list[FrameSet] = []
    for m in made:
        stamp_ns, arrival_ns = T0 + round(m.stamp_ms * MS), T0 + round(m.arrival_ms * MS)
        sets += sync.push(m.stream, stamp_ns, m, arrival_ns)
    return sets + sync.advance(T0 + round(end_ms * MS))


def draw(name: str, title: str, end_ms: float, fault: Fault) -> None:
    """One picture: arrivals by stream, below them every set from opening to closing."""
    made = messages(end_ms, fault)
    sets = [s for s in run(made, end_ms) if s.closed_ns >= T0]
    lanes = 4
    svg = Svg(LEFT + WIDTH + 20, TOP + 3 * ROW + 24 * lanes + 66)

    def x(at_ms: float) -> float:
        return LEFT + WIDTH * at_ms / end_ms

    svg.text((LEFT, 22), title, size=15)
    rows = {stream: TOP + 16 + place * ROW for place, stream in enumerate(PERIOD_MS)}
    floor = TOP + 3 * ROW + 10
    _axes(svg, rows, x, end_ms, floor + 24 * lanes)
    for m in made:
        if m.true_ms >= 0 and m.arrival_ms <= end_ms:
            y, color = rows[m.stream], COLORS[m.stream]
            svg.line((x(m.true_ms), y), (x(m.arrival_ms), y + 12), color)
            wrong = m.stamp_ms != m.true_ms
            svg.dot((x(m.true_ms), y), "#c0392b" if wrong else color, 4, filled=False)
            svg.dot((x(m.arrival_ms), y + 12), color, 3)
    for place, frame_set in enumerate(sets):
        _bar(svg, frame_set, x, floor + 24 * (place % lanes))
    (OUT / f"{name}.svg").write_text(str(svg))


def _axes(svg: Svg, rows: dict[str, int], x: Callable, end_ms: float, bottom: float) -> None:
    for stream, y in rows.items():
        svg.text((8, y + 8), stream, size=13, color=COLORS[stream])
        svg.line((LEFT, y), (LEFT + WIDTH, y), "#eee")
    for at_ms in range(0, round(end_ms) + 1, 100):
        svg.line((x(at_ms), TOP), (x(at_ms), bottom), "#eee")
        svg.text((x(at_ms), bottom + 16), f"{at_ms}", size=11, anchor="middle")
    svg.text((8, rows["gps"] + ROW + 18), "sets", size=13)
    words = (
        "ms; hollow: measured (red: stamped 5 s ahead), filled: arrived; bar: set, opened to closed"
    )
    svg.text((LEFT, bottom + 36), words, size=11)


def _bar(svg: Svg, frame_set: FrameSet, x: Callable, y: float) -> None:
    opened_ms, closed_ms = ((t - T0) / MS for t in (frame_set.opened_ns, frame_set.closed_ns))
    color = "#27ae60" if frame_set.status == "complete" else "#e67e22"
    svg.box((x(opened_ms), y), max(3.0, x(closed_ms) - x(opened_ms)), 14, color, 0.8)
    absent = [name for name, member in frame_set.members.items() if member.is_missing]
    words = ("tick" if frame_set.is_tick else "") + "".join(f" -{name}" for name in absent)
    svg.text((max(x(closed_ms), x(opened_ms) + 3) + 4, y + 11), words.strip(), size=10)


def usual(m: Message) -> Message:
    return m


def late_gps(m: Message) -> Message:
    if m.stream == "gps" and 200 < m.true_ms < 260:
        m.arrival_ms += 25
    return m


def dead_gps(m: Message) -> Message | None:
    return None if m.stream == "gps" and 180 < m.true_ms < 700 else m


def dead_lidar(m: Message) -> Message | None:
    return None if m.stream == "lidar" and 180 < m.true_ms < 750 else m


def lost_lidar(m: Message) -> Message | None:
    return None if m.stream == "lidar" and 280 < m.true_ms < 320 else m


def stepped_camera(m: Message) -> Message:
    if m.stream == "camera" and m.true_ms > 250:
        m.stamp_ms += 5000
    return m


def stalled(m: Message) -> Message:
    if 230 < m.arrival_ms < 630:
        m.arrival_ms = 630 + (m.arrival_ms - 230) / 100
    return m


PICTURES: list[tuple[str, str, float, Fault]] = [
    ("usual", "A set leaves with the arrival that completes it", 600, usual),
    ("late", "One late message is waited for, inside the budget", 600, late_gps),
    ("silent", "A silent GPS costs some waiting, then none until it returns", 1000, dead_gps),
    ("lost", "A lost reference leaves a tick in its place", 600, lost_lidar),
    ("reference", "A silent reference is carried on as ticks", 1000, dead_lidar),
    ("step", "A stepped clock: held, agreed upon, shifted, used", 600, stepped_camera),
    ("stall", "Everything stalls: one tick, then the real ones", 1000, stalled),
]


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for picture in PICTURES:
        draw(*picture)


if __name__ == "__main__":
    main()
