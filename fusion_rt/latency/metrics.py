"""The ledger's numbers for Prometheus, on loopback: the text exposition format, version 0.0.4.

The loop that fuses takes a snapshot now and then (`MetricsPage.show`), which costs it copies of
small tables; what is asked for is put into words by the server's own thread. No request can make
the loop wait.
"""

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.latency.histogram import Histogram
from fusion_rt.latency.ledger import Ledger
from fusion_rt.latency.rows import Outcome
from fusion_rt.messages import Mode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_MS = (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
_MODES: tuple[Mode, ...] = ("NORMAL", "DEGRADED", "MINIMAL", "BLIND")
_HOST = "127.0.0.1"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The ledger at one moment, nothing of it shared."""

    answers: int
    mode: Mode
    states: dict[str, str]
    """Of each stream, by topic."""
    outcomes: dict[str, dict[Outcome, int]]
    """By topic."""
    whole: dict[str, Histogram]
    stages: dict[tuple[str, str], Histogram]
    missed: dict[str, int]
    """By budget."""
    raised: dict[str, bool]
    """By budget: whether its alarm stands."""


def snapshot_of(ledger: Ledger, states: Mapping[str, str], mode: Mode) -> Snapshot:
    """Take it from the thread that owns the ledger. `states`: of every topic of the ledger."""
    return Snapshot(
        answers=ledger.answers,
        mode=mode,
        states=dict(states),
        outcomes={topic: ledger.account(topic).outcomes for topic in states},
        whole={name: one.copy() for name, one in ledger.whole.items()},
        stages={key: one.copy() for key, one in ledger.stages.items()},
        missed={name: watch.missed for name, watch in ledger.alarms.items()},
        raised={name: watch.is_raised for name, watch in ledger.alarms.items()},
    )


def metrics_text(now: Snapshot) -> str:
    """The page."""
    return "\n".join([*_lines(now), ""])


def _lines(now: Snapshot) -> Iterator[str]:
    yield from _head("fusion_rt_answers_total", "counter", "Answers published.")
    yield f"fusion_rt_answers_total {now.answers}"
    yield from _head("fusion_rt_mode", "gauge", "1 for the mode the rig is in.")
    for each in _MODES:
        yield f"fusion_rt_mode{_labels(mode=each)} {int(each == now.mode)}"
    yield from _head("fusion_rt_stream_state", "gauge", "1 for the state of each stream.")
    for topic, state in now.states.items():
        yield f"fusion_rt_stream_state{_labels(topic=topic, state=state)} 1"
    yield from _head("fusion_rt_frames_total", "counter", "Input frames by what became of them.")
    for topic, outcomes in now.outcomes.items():
        for outcome, count in sorted(outcomes.items()):
            if outcome != "in_flight":  # may fall again, which no counter does
                yield f"fusion_rt_frames_total{_labels(topic=topic, outcome=outcome)} {count}"
    yield from _head("fusion_rt_latency_seconds", "histogram", "Times of answers.")
    for name, histogram in now.whole.items():
        yield from _histogram("fusion_rt_latency_seconds", {"quantity": name}, histogram)
    yield from _head("fusion_rt_stage_seconds", "histogram", "Times of members by stage.")
    for (topic, stage), histogram in now.stages.items():
        labels = {"topic": topic, "stage": stage}
        yield from _histogram("fusion_rt_stage_seconds", labels, histogram)
    yield from _head("fusion_rt_budget_misses_total", "counter", "Values above their budget.")
    for budget, count in now.missed.items():
        yield f"fusion_rt_budget_misses_total{_labels(budget=budget)} {count}"
    yield from _head("fusion_rt_budget_alarm", "gauge", "1 while a budget's alarm is raised.")
    for budget, is_raised in now.raised.items():
        yield f"fusion_rt_budget_alarm{_labels(budget=budget)} {int(is_raised)}"


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, labels: Mapping[str, str], histogram: Histogram) -> Iterator[str]:
    bounds_ns = [bound_ms * NS_PER_MS for bound_ms in _BUCKETS_MS]
    for bound_ms, reached in zip(_BUCKETS_MS, histogram.at_most(bounds_ns), strict=True):
        yield f"{name}_bucket{_labels(**labels, le=f'{bound_ms / 1000:g}')} {reached}"
    yield f"{name}_bucket{_labels(**labels, le='+Inf')} {histogram.count}"
    yield f"{name}_sum{_labels(**labels)} {histogram.sum_ns / NS_PER_S:.9f}"
    yield f"{name}_count{_labels(**labels)} {histogram.count}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class MetricsPage:
    """Serves the last snapshot at /metrics until it is closed; on loopback only."""

    def __init__(self, port: int = 0) -> None:
        """`port` 0 takes any that is free; OSError when it is taken."""
        self._shown: Snapshot | None = None
        self._server = ThreadingHTTPServer((_HOST, port), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://{_HOST}:{self.port}/metrics"

    def show(self, snapshot: Snapshot) -> None:
        """Show this from now on."""
        self._shown = snapshot

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "MetricsPage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(404, "only /metrics is here")
                    return
                shown = page._shown
                text = b"" if shown is None else metrics_text(shown).encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """A scrape every few seconds is no news."""

        return Handler
