"""The ledger's numbers for Prometheus, on loopback: the text exposition format, version 0.0.4.

The loop that fuses renders the page a few times a second (`MetricsPage.update`); a thread hands out
the last one. Nothing of the ledger is read by that thread, and no request can make the loop wait.
"""

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fusion_rt.clock import NS_PER_S
from fusion_rt.latency.histogram import Histogram
from fusion_rt.latency.ledger import Ledger

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_MS = (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
_HOST = "127.0.0.1"


def metrics_text(ledger: Ledger, topics: Mapping[str, str], mode: str) -> str:
    """The page. `topics`: name of each topic, with the state its stream is in."""
    return "\n".join([*_lines(ledger, topics, mode), ""])


def _lines(ledger: Ledger, topics: Mapping[str, str], mode: str) -> Iterator[str]:
    yield from _head("fusion_rt_answers_total", "counter", "Answers published.")
    yield f"fusion_rt_answers_total {ledger.answers}"
    yield from _head("fusion_rt_mode", "gauge", "1 for the mode the rig is in.")
    for name in ("NORMAL", "DEGRADED", "MINIMAL", "BLIND"):
        yield f"fusion_rt_mode{_labels(mode=name)} {int(name == mode)}"
    yield from _head("fusion_rt_stream_state", "gauge", "1 for the state of each stream.")
    for topic, state in topics.items():
        yield f"fusion_rt_stream_state{_labels(topic=topic, state=state)} 1"
    yield from _head("fusion_rt_frames_total", "counter", "Input frames by what became of them.")
    for topic in topics:
        for outcome, count in sorted(ledger.account(topic).outcomes.items()):
            if outcome != "in_flight":  # may fall again, which no counter does
                yield f"fusion_rt_frames_total{_labels(topic=topic, outcome=outcome)} {count}"
    yield from _head("fusion_rt_latency_seconds", "histogram", "Times of answers.")
    for name, histogram in ledger.whole.items():
        yield from _histogram("fusion_rt_latency_seconds", {"quantity": name}, histogram)
    yield from _head("fusion_rt_stage_seconds", "histogram", "Times of members by stage.")
    for (topic, stage), histogram in ledger.stages.items():
        labels = {"topic": topic, "stage": stage}
        yield from _histogram("fusion_rt_stage_seconds", labels, histogram)
    yield from _head("fusion_rt_budget_misses_total", "counter", "Values above their budget.")
    for name, watch in ledger.alarms.items():
        yield f"fusion_rt_budget_misses_total{_labels(budget=name)} {watch.missed}"
    yield from _head("fusion_rt_budget_alarm", "gauge", "1 while a budget's alarm is raised.")
    for name, watch in ledger.alarms.items():
        yield f"fusion_rt_budget_alarm{_labels(budget=name)} {int(watch.is_raised)}"


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, labels: Mapping[str, str], histogram: Histogram) -> Iterator[str]:
    for bound_ms in _BUCKETS_MS:
        reached = histogram.at_most(bound_ms * 1_000_000)
        yield f"{name}_bucket{_labels(**labels, le=f'{bound_ms / 1000:g}')} {reached}"
    yield f"{name}_bucket{_labels(**labels, le='+Inf')} {histogram.count}"
    yield f"{name}_sum{_labels(**labels)} {histogram.sum_ns / NS_PER_S:.9f}"
    yield f"{name}_count{_labels(**labels)} {histogram.count}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class MetricsPage:
    """Serves the last page at /metrics until it is closed; on loopback only."""

    def __init__(self, port: int = 0) -> None:
        """`port` 0 takes any that is free; OSError when it is taken."""
        self._text = b""
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

    def update(self, text: str) -> None:
        """Show this from now on."""
        self._text = text.encode()

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
                text = page._text
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """A scrape every few seconds is no news."""

        return Handler
