"""How Health looks to a person: a table for the terminal, a line where there is none."""

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import Health, ProcessHealth, StreamHealth

_STYLES = {
    "alive": "green",
    "ready": "green",
    "NORMAL": "bold green",
    "waiting": "yellow",
    "starting": "yellow",
    "recovered": "yellow",
    "late": "yellow",
    "out_of_rate": "yellow",
    "backing_off": "yellow",
    "DEGRADED": "bold yellow",
    "stopped": "dim",
}
_TROUBLE = "red"


def health_table(health: Health) -> RenderableType:
    """Everything that Health says."""
    return Group(_title(health), *_reasons(health), _stream_table(health), _process_table(health))


def health_line(health: Health) -> str:
    """The most important, for a log."""
    streams = ", ".join(_stream_text(stream) for stream in health.streams)
    return "; ".join((f"{health.mode}: {streams}", *health.warnings))


def _title(health: Health) -> Text:
    for_s = (health.stamp_ns - health.mode_since_ns) / NS_PER_S
    return Text.assemble(
        f"rig {health.rig}   ",
        (health.mode, _style(health.mode)),
        f" for {for_s:.1f} s   UTC drift {health.utc_drift_ns / NS_PER_MS:+.2f} ms",
    )


def _reasons(health: Health) -> list[Text]:
    found = (*health.mode_reasons, *health.warnings)
    return [Text(f"  {reason}", style="yellow") for reason in found]


def _stream_table(health: Health) -> Table:
    table = Table(_name_column("stream"), "state", box=None, padding=(0, 1))
    for column in ("rate Hz", "age ms", "hop p50 ms", "p99 ms", "received"):
        table.add_column(column, justify="right")
    table.add_column("drops")
    table.add_column("why", overflow="fold")
    for stream in health.streams:
        table.add_row(
            stream.topic,
            Text(stream.state, style=_style(stream.state)),
            f"{stream.rate_hz:.1f}",
            _milliseconds(stream.age_ns),
            _milliseconds(stream.hop_p50_ns),
            _milliseconds(stream.hop_p99_ns),
            str(stream.received),
            _counts(stream.drops),
            stream.reason,
        )
    return table


def _process_table(health: Health) -> Table:
    table = Table(_name_column("process"), "state", box=None, padding=(0, 1))
    table.add_column("pid", justify="right")
    table.add_column("restarts", justify="right")
    table.add_column("counters")
    table.add_column("why", overflow="fold")
    for process in health.processes:
        table.add_row(*_process_row(process))
    return table


def _name_column(heading: str) -> Column:
    """Never cut: what is too wide for the terminal is folded elsewhere."""
    return Column(heading, no_wrap=True)


def _process_row(process: ProcessHealth) -> tuple[str | Text, ...]:
    return (
        process.node,
        Text(process.state, style=_style(process.state)),
        str(process.pid or "-"),
        str(process.restarts),
        _counts(process.counters),
        process.reason,
    )


def _stream_text(stream: StreamHealth) -> str:
    text = f"{stream.topic} {stream.state} {stream.rate_hz:.1f} Hz"
    return f"{text} ({stream.reason})" if stream.reason else text


def _style(state: str) -> str:
    return _STYLES.get(state, _TROUBLE)


def _milliseconds(duration_ns: int | None) -> str:
    return "-" if duration_ns is None else f"{duration_ns / NS_PER_MS:.2f}"


def _counts(counts: dict[str, int]) -> str:
    return " ".join(f"{cause} {count}" for cause, count in sorted(counts.items()) if count)
