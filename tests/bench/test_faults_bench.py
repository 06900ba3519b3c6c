"""The degradation matrix on made-up runs: what is told, and when, is known beforehand."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from fusion_rt.bench.fault_cases import (
    FULL_SLOT,
    FUSE_KILLED,
    HEALTHY,
    QUICK_SLOT,
    cases_of,
    place,
    short_forms,
)
from fusion_rt.bench.fault_page import faults_page
from fusion_rt.bench.fault_score import AnswerSeen, Seen, StateSeen, rows_of, states_of
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.faults import parse_schedule
from fusion_rt.messages import (
    DetectionMember,
    Detections,
    Health,
    ProcessHealth,
    StreamHealth,
)
from tests.latency.samples import CAMERA, LIDAR, START_NS

TOPICS = (CAMERA, LIDAR, "audio/array", "gps/main")
LAG_NS = 40 * NS_PER_MS


def answer(reference_ns, absent=(), mode="NORMAL", reasons=(), incarnation=1):
    members = tuple(
        DetectionMember(topic, "missing", "silent")
        if topic in absent
        else DetectionMember(topic, "nearest", "", reference_ns, LAG_NS)
        for topic in TOPICS
    )
    message = Detections(
        stamp_ns=reference_ns,
        boxes=np.zeros((0, 9), np.float32),
        scores=np.zeros(0, np.float32),
        class_ids=np.zeros(0, np.uint8),
        mode=mode,
        mode_reasons=reasons,
        members=members,
    )
    return AnswerSeen(reference_ns + LAG_NS, message, incarnation)


def drive(placed, topic, *, told_after_ms=200, back_after_ms=100, without=()):
    """Answers at 10 Hz; in each fault the topic is missing from some time to some time."""
    end_ns = START_NS + placed[-1].until_ns
    answers = []
    for reference_ns in range(START_NS, end_ns, 100 * NS_PER_MS):
        after_ns = reference_ns + LAG_NS - START_NS
        is_absent = any(
            one.start_ns + told_after_ms * NS_PER_MS
            <= after_ns
            < one.end_ns + back_after_ms * NS_PER_MS
            for one in placed
        )
        if not any(a <= after_ns / 1e9 < b for a, b in without):
            absent = (topic,) if is_absent else ()
            answers.append(answer(reference_ns, absent, "MINIMAL" if absent else "NORMAL"))
    return tuple(answers)


def seen_of(placed, topic, states=(), arrivals=None, **more):
    answers = drive(placed, topic, **more)
    return Seen(
        start_ns=START_NS,
        reference_hz=10.0,
        answers=answers,
        states=tuple(states),
        arrivals_ns=arrivals or {},
    )


def placed_case(fault, topic=LIDAR):
    cases = [case for case in cases_of(TOPICS, is_quick=False) if case.fault == fault]
    return place([case for case in cases if topic in case.sensors[:1]], QUICK_SLOT, 5.0)[:1]


def test_every_fault_befalls_every_sensor_and_every_pair_at_once():
    quick = cases_of(TOPICS, is_quick=True)
    assert len(quick) == 1 + 8 * 4 + 1 + 6
    assert {frozenset(c.sensors) for c in quick if c.fault == "two silent"} == {
        frozenset(pair) for pair in [(a, b) for a in TOPICS for b in TOPICS if a != b]
    }
    full = cases_of(TOPICS, is_quick=False)
    assert {case.fault for case in quick} < {case.fault for case in full}


def test_the_quick_matrix_takes_less_than_ten_minutes():
    placed = place(cases_of(TOPICS, is_quick=True), QUICK_SLOT, first_s=15)
    assert placed[-1].until_ns < 8 * 60 * NS_PER_S


@pytest.mark.parametrize("slot", [QUICK_SLOT, FULL_SLOT])
def test_the_schedule_can_be_read_and_slots_do_not_overlap(slot):
    placed = place(cases_of(TOPICS, is_quick=False), slot, first_s=5)
    faults = parse_schedule(short_forms(placed)).faults
    assert len(faults) == sum(len(one.case.forms) for one in placed)
    windows = [(one.start_ns, one.until_ns) for one in placed]
    assert all(a[1] <= b[0] for a, b in pairwise(windows))
    assert {(fault.start_ns, fault.who) for fault in faults} == {
        (one.start_ns, topic) for one in placed for topic in one.case.sensors
    }


def test_a_silent_sensor_is_told_from_its_last_message_on():
    placed = placed_case("silent")
    last_ns = START_NS + placed[0].start_ns - 70 * NS_PER_MS
    told = StateSeen(LIDAR, "silent", last_ns + 300 * NS_PER_MS, "")
    seen = seen_of(placed, LIDAR, [told], {LIDAR: (last_ns - NS_PER_S, last_ns)}, told_after_ms=400)
    (row,) = rows_of(placed, seen, lambda _: 0.25)
    assert row.detect_ms == 300
    assert row.told_by == "lidar/top silent"
    assert (row.mode, row.map_2m) == ("MINIMAL", 0.25)
    assert row.output_rate == pytest.approx(1, abs=0.03)
    assert row.recover_ms == pytest.approx(140, abs=100)


def test_a_missing_member_tells_too_and_the_first_sign_counts():
    placed = placed_case("corrupt")
    late = StateSeen(LIDAR, "invalid", START_NS + placed[0].start_ns + NS_PER_S, "")
    (row,) = rows_of(placed, seen_of(placed, LIDAR, [late], told_after_ms=200), lambda _: None)
    assert 200 <= row.detect_ms < 300
    assert row.told_by == "lidar/top missing: silent"


def test_the_reasons_for_a_mode_tell_too():
    placed = placed_case("corrupt")
    begin_ns = START_NS + placed[0].start_ns
    said = answer(begin_ns + 10 * NS_PER_MS, reasons=(f"{LIDAR} invalid: 3 of the last 10",))
    seen = seen_of(placed, LIDAR, told_after_ms=300)
    answers = tuple(sorted((*seen.answers, said), key=lambda one: one.sent_ns))
    (row,) = rows_of(placed, msgspec.structs.replace(seen, answers=answers), lambda _: None)
    assert (row.detect_ms, row.told_by) == (50, "lidar/top invalid")


def test_a_fault_that_nothing_tells_of_was_never_told():
    placed = placed_case("garbage")
    (row,) = rows_of(placed, seen_of(placed, CAMERA, told_after_ms=1e9), lambda _: None)
    assert (row.detect_ms, row.told_by, row.mode) == (None, "", "NORMAL")


def test_of_two_sensors_the_later_one_counts():
    placed = placed_case("two silent", CAMERA)
    assert placed[0].case.sensors == (CAMERA, LIDAR)
    begin_ns = START_NS + placed[0].start_ns
    states = [
        StateSeen(CAMERA, "silent", begin_ns + 100 * NS_PER_MS, ""),
        StateSeen(LIDAR, "silent", begin_ns + 350 * NS_PER_MS, ""),
    ]
    (row,) = rows_of(placed, seen_of(placed, LIDAR, states, told_after_ms=500), lambda _: None)
    assert row.detect_ms == 350


def test_answers_that_did_not_come_lower_the_rate_and_show_as_a_gap():
    placed = placed_case("silent")
    begin_s = placed[0].start_ns / 1e9
    seen = seen_of(placed, LIDAR, without=[(begin_s + 1, begin_s + 3)])
    (row,) = rows_of(placed, seen, lambda _: None)
    assert row.output_rate == pytest.approx(0.5, abs=0.03)
    assert row.longest_gap_ms == pytest.approx(2100, abs=110)


def test_a_sensor_that_does_not_come_back_is_told_so():
    placed = placed_case("silent")
    (row,) = rows_of(placed, seen_of(placed, LIDAR, back_after_ms=1e6), lambda _: None)
    assert row.recover_ms is None


def test_a_killed_node_is_back_from_the_time_of_its_death():
    placed = placed_case("killed")
    assert placed[0].start_ns == placed[0].end_ns
    (row,) = rows_of(
        placed, seen_of(placed, LIDAR, told_after_ms=0, back_after_ms=1200), lambda _: 1
    )
    assert row.recover_ms == pytest.approx(1240, abs=60)


def test_a_killed_fusion_is_back_with_the_first_answer_of_the_next_process():
    placed = place([FUSE_KILLED], QUICK_SLOT, 5.0)
    killed_ns = START_NS + placed[0].start_ns
    before = [answer(killed_ns - ms * NS_PER_MS) for ms in (240, 140)]
    in_flight = answer(killed_ns - LAG_NS)
    after = [answer(killed_ns + ms * NS_PER_MS, incarnation=2) for ms in range(860, 1960, 100)]
    told = StateSeen("node fuse", "starting", killed_ns + 30 * NS_PER_MS, "")
    seen = Seen(START_NS, 10.0, (*before, in_flight, *after), (told,), {})
    (row,) = rows_of(placed, seen, lambda _: None)
    assert (row.detect_ms, row.told_by, row.recover_ms) == (30, "fuse starting", 900)
    assert row.output_rate == pytest.approx(0.6, abs=0.05)


def test_without_a_fault_nothing_is_told_and_nothing_comes_back():
    placed = place([HEALTHY], QUICK_SLOT, 5.0)
    (row,) = rows_of(placed, seen_of(placed, LIDAR, told_after_ms=1e9), lambda _: 0.5)
    assert (row.detect_ms, row.recover_ms, row.told_by, row.map_2m) == (None, None, "", 0.5)
    assert row.output_rate == pytest.approx(1, abs=0.03)


def test_every_fault_meets_the_same_piece_of_the_drive():
    for slot in (QUICK_SLOT, FULL_SLOT):
        starts = [one.start_ns for one in place(cases_of(TOPICS, is_quick=True), slot, 5.0)]
        assert len({ns % round(slot.loop_s * NS_PER_S) for ns in starts}) == 1


def health(state, since_ns):
    stream = StreamHealth(topic=LIDAR, state=state, since_ns=since_ns)
    process = ProcessHealth(node=LIDAR, state="ready", since_ns=5)
    return Health(stamp_ns=9, rig="r", mode="NORMAL", streams=(stream,), processes=(process,))


def test_only_changes_of_state_are_kept():
    before = {}
    assert len(states_of(health("alive", 1), before)) == 2
    assert states_of(health("alive", 1), before) == []
    (change,) = states_of(health("silent", 7), before)
    assert (change.subject, change.state, change.since_ns) == (LIDAR, "silent", 7)


def test_the_page_has_a_strip_and_a_line_for_each_case():
    placed = place(cases_of(TOPICS, is_quick=True)[:5], QUICK_SLOT, 5.0)
    seen = seen_of(placed, LIDAR)
    page = faults_page("sim", "a machine", placed, rows_of(placed, seen, lambda _: None), seen)
    (picture,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ET.fromstring(picture)
    assert page.count("<tr>") == 6
    assert not re.search(r"(src|href)\s*=|<script|nan", page)
