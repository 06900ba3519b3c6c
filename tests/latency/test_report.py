import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import msgspec
import pytest
from typer.testing import CliRunner

from fusion_rt.cli import app_for
from fusion_rt.errors import RecordingError
from fusion_rt.latency.row_file import RowWriter
from fusion_rt.latency.summary import Summary, read_run, summarise
from fusion_rt.report import report_page
from tests.latency.runs import make_run


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def page(run):
    return report_page(run)


@pytest.fixture
def folder(run, tmp_path):
    with RowWriter(tmp_path / "run", run.info) as writer:
        for row in [*run.notes, *run.answers, *run.frames, *run.alarms, *run.totals]:
            writer.put(row)
    return tmp_path / "run"


def command(*words):
    return CliRunner().invoke(app_for(["report"]), [*map(str, ("report", *words))])


def test_the_page_needs_nothing_from_elsewhere(page):
    assert not re.search(r"(src|href)\s*=|url\(|<script|@import", page)


def test_every_tag_of_the_page_is_closed(page):
    checker = TagChecker()
    checker.feed(page)
    assert checker.open == []


def test_every_picture_is_well_formed_and_shows_something(page):
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 5
    for picture in pictures:
        shapes = [element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()]
        assert shapes.count("rect") + shapes.count("polyline") > 4


def test_numbers_in_pictures_are_numbers(page):
    assert "nan" not in re.sub(r">[^<]*<", "><", page).lower()
    assert "inf" not in re.findall(r"(?:x|y|width)='([^']*)'", page)


def test_the_page_names_the_blame_the_drops_and_the_fault(page):
    for words in ("lidar/top was last", "bad jpeg", "superseded", "MINIMAL", "drop", "too few"):
        assert words in page


def test_words_from_outside_cannot_break_the_page(run):
    hostile = msgspec.structs.replace(run.info, machine="<script>alert(1)</script>")
    assert "<script>" not in report_page(msgspec.structs.replace(run, info=hostile))


def test_a_summary_counts_frames_once_and_cuts_the_warm_up(run):
    whole = summarise(run)
    cut = summarise(msgspec.structs.replace(run, warm_up_ns=9_950_000_000))
    assert (whole.answers, cut.answers) == (300, 200)
    assert sum(whole.frames["camera/front"].values()) == 900 + 24
    assert whole.frames["lidar/top"] == {"used": 250}
    assert whole.answers_hz == pytest.approx(10, abs=0.01)
    assert whole.complete == pytest.approx(250 / 300, abs=1e-4)


def test_a_percentile_of_too_few_values_is_not_told(run):
    few = make_run(seconds=5.0)
    assert summarise(few).whole["end_to_end"].p99_ms is None
    assert summarise(few).whole["end_to_end"].p90_ms is not None
    assert summarise(run).whole["end_to_end"].p99_ms is not None


def test_broken_budgets_are_told_apart_from_kept_ones(run):
    verdicts = {(v.budget, v.percent): v.is_broken for v in summarise(run).verdicts}
    assert not verdicts["end_to_end", 99.0]
    slow = summarise(make_run(slower=2.0))
    assert {(v.budget, v.percent) for v in slow.verdicts if v.is_broken} == {
        ("reaction", 99.0),
        ("encode lidar/top", 99.0),
    }


def test_the_command_writes_page_and_trace(folder):
    ran = command(folder, "--trace", folder / "trace.json")
    assert ran.exit_code == 0, ran.output
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert (folder / "trace.json").stat().st_size > 10_000


def test_the_command_prints_the_numbers(folder):
    ran = command(folder, "--json", "--warm-up", 4.95)
    assert msgspec.json.decode(ran.output, type=Summary).answers == 250


def test_a_run_without_answers_is_refused(folder):
    with pytest.raises(RecordingError, match="expected answers after the first 99 s, found none"):
        read_run(folder, warm_up_s=99)


class TagChecker(HTMLParser):
    """Remembers which tags are open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, _attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
