"""Recordings of 112 real receivers against what gpsd makes of them."""

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest

from fusion_rt.clock import NS_PER_MS
from fusion_rt.drivers.gpsd import GpsdOptions, ReportReader
from fusion_rt.gnss.decoder import FRAMES, GnssDecoder
from fusion_rt.gnss.gpsd_json import report_from_line
from fusion_rt.gnss.live import LiveFixes
from fusion_rt.gnss.recording import GpsRecording, open_gps
from fusion_rt.messages import GpsFix
from tests.gnss.ports import START_NS, port

LOGS = Path(__file__).parents[3] / "shared/data/gps"
RECORDINGS = sorted(LOGS.glob("*.log"))
SAME_DEG = 1e-6
DAY_MS = 86_400_000
Place = tuple[float, float]

pytestmark = pytest.mark.skipif(not RECORDINGS, reason=f"no recordings of receivers in {LOGS}")


def played(path: Path) -> tuple[list[GpsFix], Counter[str]]:
    here = port()
    recording = GpsRecording(driver="file", path=str(path), pace="asap")
    with open_gps(recording, here) as messages:
        fixes = [one for one in itertools.takewhile(lambda one: one is not None, messages) if one]
    return fixes, here.counters


def reports(path: Path) -> list[dict[str, object]]:
    lines = path.with_suffix(".log.chk").read_bytes().splitlines()
    return [report for line in lines if (report := report_from_line(line)) is not None]


def reference(path: Path) -> dict[int, list[Place]]:
    """Positions by time of day in ms; gpsd reports each several times while it learns more."""
    places: dict[int, list[Place]] = defaultdict(list)
    for report in reports(path):
        said = report["class"] in ("TPV", "LOG") and report.get("mode", 3) != 1
        if said and "lat" in report and "time" in report:
            hour, minute, second = str(report["time"])[11:23].split(":")
            at_ms = (int(hour) * 60 + int(minute)) * 60_000 + round(float(second) * 1000)
            places[at_ms % DAY_MS].append((report["lat"], report["lon"]))  # type: ignore[arg-type]
    return places


def by_time(fixes: list[GpsFix]) -> dict[int, Place]:
    """The same of ours."""
    return {
        round(fix.utc_ns / NS_PER_MS) % DAY_MS: (fix.latitude_deg, fix.longitude_deg)
        for fix in fixes
        if fix.fix != "none" and fix.utc_ns is not None
    }


def is_same(one: Place, other: Place) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) < SAME_DEG


def test_positions_agree_with_gpsd() -> None:
    agreeing, wrong = [], {}
    for path in RECORDINGS:
        fixes, counters = played(path)
        expected, ours = reference(path), by_time(fixes)
        if not counters[FRAMES] or not expected:
            continue  # another protocol, or no position at all
        same = [
            at for at in expected if at in ours and any(map(is_same, expected[at], [ours[at]] * 99))
        ]
        agreeing.append(len(same) >= 0.98 * len(expected))
        if not agreeing[-1]:
            wrong[path.name] = f"{len(same)} of {len(expected)}"
    assert len(agreeing) > 70
    assert sum(agreeing) >= 0.95 * len(agreeing), wrong


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_no_recording_gives_an_exception_or_a_fix_that_may_not_be_published(path: Path) -> None:
    fixes, _ = played(path)
    assert all(fix.problem() is None for fix in fixes)


def test_other_protocols_give_no_fix() -> None:
    for name in ("rtcm3", "sirfstarv", "garmin18x-bin", "trimble-res720", "skytraq-A8", "zodiac"):
        fixes, counters = played(LOGS / f"{name}.log")
        assert not fixes, name
        assert counters["noise_bytes"] + counters["rtcm_frames"] > 0


def test_garbage_between_the_sentences_of_a_recording_costs_none_of_them() -> None:
    raw = (LOGS / "bt-q818.log").read_bytes()
    noisy = raw.replace(b"$", b"\xff\xb5b\x01\x07\x5c\x00$GP\x00!x\xd3\x00\x13$")
    clean, hit = GnssDecoder(Counter()), GnssDecoder(Counter())
    whole = clean.feed(raw, 0) + clean.flush()
    through = hit.feed(noisy, 0) + hit.flush()
    assert [said.position_deg for said in through] == [said.position_deg for said in whole]


def test_reports_of_gpsd_give_the_positions_they_state() -> None:
    for path in RECORDINGS:
        options = GpsdOptions(driver="gpsd")
        here = port()
        reader = ReportReader(options, here, LiveFixes(options, here))
        for report in reports(path):
            said = reader.solution(msgspec.json.encode(report), START_NS)
            if said is not None and said.fix != "none" and "lat" in report:
                assert said.position_deg == (report["lat"], report["lon"])
