"""How answers look to a person, live: mode, members with their ages, what was detected, latency."""

from collections import Counter, deque

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.latency.budgets import Budget
from fusion_rt.latency.histogram import RecentValues
from fusion_rt.messages import Detections

_WINDOW_NS = 10 * NS_PER_S
_MOST_BOXES = 8
_STYLES = {"NORMAL": "bold green", "DEGRADED": "bold yellow", "MINIMAL": "bold yellow"}


class AnswerView:
    """Follows the answers of one rig."""

    def __init__(self, budget: Budget | None = None) -> None:
        """`budget`: of `end_to_end`, where the rig states one."""
        self.last: Detections | None = None
        self.changes: list[tuple[int, str]] = []
        """When each mode began (rig time), in order."""
        self.answers: Counter[str] = Counter()
        """By mode."""
        self._budget = budget.limits() if budget else {}
        self._latency = RecentValues(_WINDOW_NS)
        self._sent_ns: deque[int] = deque(maxlen=256)

    def add(self, answer: Detections, sent_ns: int) -> None:
        """Take in an answer as it arrives."""
        if self.last is None or answer.mode != self.last.mode:
            self.changes.append((answer.stamp_ns, answer.mode))
        self.last = answer
        self.answers[answer.mode] += 1
        self._sent_ns.append(sent_ns)
        stamps = [member.stamp_ns for member in answer.members if member.stamp_ns is not None]
        if stamps:
            self._latency.add(sent_ns, sent_ns - min(stamps))

    def line(self) -> str:
        """The most important, for a log."""
        if self.last is None:
            return "no answer yet"
        lost = [m.topic for m in self.last.members if m.quality == "missing"]
        without = f" without {', '.join(lost)}" if lost else ""
        count = len(self.last.boxes)
        return f"fused: {self.last.mode}{without}, {count} boxes, {self._latency_text()}"

    def table(self) -> RenderableType:
        """Everything there is to see of the last answer."""
        answer = self.last
        if answer is None:
            return Text("no answer yet", style="yellow")
        title = Text.assemble(
            "fused  ",
            (answer.mode, _STYLES.get(answer.mode, "bold red")),
            f"  {self._rate_hz():.1f} answers/s   end-to-end {self._latency_text()}",
        )
        siren = answer.siren
        heard = Text("")
        if siren is not None and siren.is_heard:
            degrees = siren.bearing_rad * 57.29578
            heard = Text(f"siren at {degrees:+.0f} degrees, {siren.probability:.0%}", "bold red")
        return Group(title, heard, _members(answer), _boxes(answer))

    def _rate_hz(self) -> float:
        sent = list(self._sent_ns)[-30:]
        return (len(sent) - 1) * NS_PER_S / (sent[-1] - sent[0]) if len(sent) > 1 else 0.0

    def _latency_text(self) -> str:
        parts = []
        for percent in (50, 99):
            value_ns = self._latency.percentile_ns(percent)
            if value_ns is None:
                continue
            limit_ns = self._budget.get(percent)
            of = f" (budget {limit_ns / NS_PER_MS:.0f})" if limit_ns else ""
            parts.append(f"p{percent} {value_ns / NS_PER_MS:.0f} ms{of}")
        return ", ".join(parts) or "not known yet"


def _members(answer: Detections) -> Table:
    table = Table("member", "how", box=None, padding=(0, 1))
    table.add_column("age ms", justify="right")
    table.add_column("why", overflow="fold")
    for member in answer.members:
        style = "red" if member.quality == "missing" else "green"
        age = "-" if member.age_ns is None else f"{member.age_ns / NS_PER_MS:.0f}"
        table.add_row(member.topic, Text(member.quality, style=style), age, member.reason)
    return table


def _boxes(answer: Detections) -> Table:
    table = Table("what", box=None, padding=(0, 1))
    for column in ("track", "score", "ahead m", "left m", "speed m/s"):
        table.add_column(column, justify="right")
    for row in range(min(len(answer.boxes), _MOST_BOXES)):
        x_m, y_m, vx_mps, vy_mps = (float(answer.boxes[row, i]) for i in (0, 1, 7, 8))
        track = "-" if answer.track_ids is None else str(answer.track_ids[row])
        is_guess = answer.is_predicted is not None and bool(answer.is_predicted[row])
        table.add_row(
            answer.classes[answer.class_ids[row]] + (" (predicted)" if is_guess else ""),
            track,
            f"{answer.scores[row]:.2f}",
            f"{x_m:.1f}",
            f"{y_m:+.1f}",
            f"{(vx_mps**2 + vy_mps**2) ** 0.5:.1f}",
        )
    return table
