"""What a running fusion says of itself: the ledger on disk, and its numbers for Prometheus."""

import re
import urllib.request

import pytest

from fusion_rt.latency.critical_path import hops
from fusion_rt.latency.row_file import read_rows
from fusion_rt.latency.rows import AnswerRow, FrameRow, NoteRow, TotalsRow
from fusion_rt.rig import find_rig
from tests.latency.test_metrics import parse
from tests.process.rigs import directory, running, wait_until
from tests.tiny_model import write_model

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
RIG = """rig: books
calibration: {calibration}
sensors:
  lidar/top: {{driver: synthetic, points: 2048}}
  gps/main: {{driver: synthetic}}
fusion: {{model: tiny}}
latency: {{prometheus_port: 0, budgets: {{reaction: {{p99_ms: 5000}}}}}}
"""


@pytest.fixture(scope="module")
def ran():
    """A rig that ran for a few seconds with its GPS lost on the way: its page, its rows."""
    with directory() as at:
        write_model(at / "tiny")
        calibration = find_rig("sim").with_name("demo.calibration.yaml")
        (at / "rig.yaml").write_text(RIG.format(calibration=calibration))
        words = (at / "rig.yaml", "--rows", at / "rows", "--fault", "gps drop 9s..")
        with running(at, *words) as rig:
            address = wait_until(lambda: address_in(rig.log_path), "there is a page")
            page = wait_until(lambda: page_with_answers(address), "there are answers on it")
            rig.health_when(is_gps_silent, "the GPS is silent")
            assert rig.stop() == 0
        yield page, list(read_rows(at / "rows"))


def address_in(log):
    found = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", log.read_text())
    return found and found[1]


def page_with_answers(address):
    with urllib.request.urlopen(address, timeout=5) as answer:
        page = answer.read().decode()
    return page if page and parse(page)[0]["fusion_rt_answers_total", ()] > 5 else None


def is_gps_silent(health):
    return any(s.topic == "gps/main" and s.state == "silent" for s in health.streams)


def test_the_page_tells_of_every_stream(ran):
    samples, _ = parse(ran[0])
    assert {dict(labels)["topic"] for name, labels in samples if name.endswith("stream_state")} == {
        "lidar/top",
        "gps/main",
    }
    assert samples["fusion_rt_budget_misses_total", (("budget", "reaction"),)] == 0


def test_every_frame_is_in_the_books_and_every_member_adds_up(ran):
    rows = ran[1]
    totals = [row for row in rows if isinstance(row, TotalsRow)]
    assert {row.topic for row in totals} == {"lidar/top", "gps/main"}
    for total in totals:
        of_topic = [r for r in rows if isinstance(r, FrameRow) and r.topic == total.topic]
        assert sum(row.count for row in of_topic) == total.received + total.lost > 0
    answers = [row for row in rows if isinstance(row, AnswerRow)]
    assert [answer.number for answer in answers] == list(range(len(answers)))
    for answer in answers:
        for member in answer.members:
            took_ns = sum(hop.took_ns for hop in hops(member, answer))
            assert took_ns == answer.published_ns - member.stamp_ns


def test_the_fault_and_the_modes_are_noted(ran):
    notes = [(row.kind, row.text) for row in ran[1] if isinstance(row, NoteRow)]
    assert ("fault", "drop") in notes
    assert any(kind == "mode" and text for kind, text in notes)


def test_answers_are_numbered_on_across_a_kill_of_the_fusion():
    with directory() as at:
        write_model(at / "tiny")
        calibration = find_rig("sim").with_name("demo.calibration.yaml")
        (at / "rig.yaml").write_text(RIG.format(calibration=calibration))
        words = (at / "rig.yaml", "--rows", at / "rows", "--fault", "fuse kill at 8s")
        with running(at, *words) as rig:
            rig.health_when(has_fusion_restarted, "the fusion is up again")
            before = len(numbers_in(at / "rows"))
            wait_until(lambda: len(numbers_in(at / "rows")) > before + 5, "it answers again")
            assert rig.stop() == 0
        numbers = numbers_in(at / "rows")
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))


def has_fusion_restarted(health):
    fuse = next(process for process in health.processes if process.node == "fuse")
    return fuse.restarts == 1 and fuse.state == "ready"


def numbers_in(rows):
    return [row.number for row in read_rows(rows) if isinstance(row, AnswerRow)]
