import re
import socket
import urllib.error
import urllib.request

import pytest

from fusion_rt.latency.budgets import Budget, LatencyOptions
from fusion_rt.latency.metrics import CONTENT_TYPE, MetricsPage, metrics_text, snapshot_of
from tests.latency.samples import CAMERA, LIDAR, arrive, ledger_with_rows, times

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?P<labels>\{.*\})? (?P<value>\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """Samples by name, and the type of each family; what the format does not allow fails."""
    samples, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            family = re.sub(r"_(bucket|sum|count)$", "", match["name"])
            assert family in types or match["name"] in types
            labels = match["labels"] or "{}"
            found = LABEL.findall(labels)
            assert "{" + ",".join(f'{k}="{v}"' for k, v in found) + "}" == labels
            key = match["name"], tuple(sorted(found))
            assert key not in samples
            samples[key] = float(match["value"])
    return samples, types


@pytest.fixture
def ledger():
    ledger, _ = ledger_with_rows(LatencyOptions(budgets={"reaction": Budget(p99_ms=10)}, misses=2))
    for number in range(3):
        lidar = arrive(ledger, LIDAR, number, 100 * number)
        answer = times(100 * number, ready_ns=lidar.ready_ns)
        ledger.answered(answer, {LIDAR: [lidar]}, {CAMERA: "silent"})
    ledger.count_inbox(CAMERA, {"lost": 4}, 0)
    arrive(ledger, CAMERA, 1, 400)
    return ledger


def snapshot(ledger):
    return snapshot_of(ledger, {CAMERA: "silent", LIDAR: "alive"}, "MINIMAL")


def page(ledger):
    return metrics_text(snapshot(ledger))


def test_the_page_is_in_the_text_format_and_holds_the_ledger(ledger):
    samples, types = parse(page(ledger))
    assert samples["fusion_rt_answers_total", ()] == 3
    assert samples["fusion_rt_mode", (("mode", "MINIMAL"),)] == 1
    assert samples["fusion_rt_frames_total", (("outcome", "used"), ("topic", LIDAR))] == 3
    assert samples["fusion_rt_frames_total", (("outcome", "lost"), ("topic", CAMERA))] == 4
    assert samples["fusion_rt_budget_misses_total", (("budget", "reaction"),)] == 3
    assert samples["fusion_rt_budget_alarm", (("budget", "reaction"),)] == 1
    assert types["fusion_rt_latency_seconds"] == "histogram"


def test_histograms_are_cumulative_and_end_with_their_count(ledger):
    samples, _ = parse(page(ledger))
    buckets = [
        (float(dict(labels)["le"]), value)
        for (name, labels), value in samples.items()
        if name == "fusion_rt_latency_seconds_bucket" and ("quantity", "reaction") in labels
    ]
    values = [value for _, value in sorted(buckets)]
    assert values == sorted(values)
    assert (
        values[-1] == samples["fusion_rt_latency_seconds_count", (("quantity", "reaction"),)] == 3
    )
    total = samples["fusion_rt_latency_seconds_sum", (("quantity", "reaction"),)]
    assert total == pytest.approx(3 * 0.017)


def test_frames_still_open_are_no_counter(ledger):
    assert "in_flight" not in page(ledger)


def test_a_snapshot_stays_as_it_was(ledger):
    before = snapshot(ledger)
    text = metrics_text(before)
    ledger.answered(times(900), {LIDAR: [arrive(ledger, LIDAR, 9, 900)]})
    assert metrics_text(before) == text != page(ledger)


def test_the_page_is_served_on_loopback_and_gone_when_closed(ledger):
    with MetricsPage() as served:
        served.show(snapshot(ledger))
        with urllib.request.urlopen(served.address, timeout=5) as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert parse(answer.read().decode()) == parse(page(ledger))
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{served.port}/else", timeout=5)
        port = served.port
        assert served._server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
        pass


def test_a_port_that_is_taken_is_refused():
    with MetricsPage() as served, pytest.raises(OSError, match="Address already in use"):
        MetricsPage(served.port)
