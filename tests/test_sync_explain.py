"""Why sets are partial and streams stay out, in sentences with numbers."""

import re

import pytest

from benchmarks.sync_scenarios import MS, Scenario, make
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.explain import Finding, explain_set, explain_streams
from fusion_rt.sync.frame_set import FrameSet, StreamSpec


def run(
    scenario: Scenario, max_wait_ms: int = 150, **changes: StreamSpec
) -> tuple[list[Finding], list[FrameSet]]:
    """The findings right after the last message, and the sets."""
    specs = [
        changes.get(name) or StreamSpec(name, rate, scenario.tolerances_ns[name])
        for name, rate in scenario.rates_hz.items()
    ]
    sync = Synchronizer(streams=specs, reference="lidar", max_wait_ns=max_wait_ms * MS)
    sets: list[FrameSet] = []
    for event in scenario.arrivals():
        sets += sync.push(event.stream, event.stamp_ns, event, event.arrival_ns)
    return explain_streams(sync), sets


def test_a_clean_rig_gives_no_cause_for_complaint():
    findings, sets = run(make("clean", 1))
    assert findings == []
    assert all(explain_set(s) == [] for s in sets if s.status == "complete")


@pytest.mark.parametrize(
    ("kind", "changes", "max_wait_ms", "stream", "cause", "words"),
    [
        ("never_camera", {}, 150, "camera", "never seen", "nothing has arrived"),
        ("step_forward_camera", {}, 150, "camera", "clock stepped", r"\+5\.000 s by now"),
        ("clean", {}, 0, "gps", "too slow", r"max_wait_ns of at least \d+ ms or a tolerance of"),
        (
            "clean",
            {"camera": StreamSpec("camera", 30, 4 * MS)},
            150,
            "camera",
            "tolerance too small",
            "the tolerance is 4 ms and half its period 17 ms",
        ),
        (
            "clean",
            {"audio": StreamSpec("audio", 20, 25 * MS)},
            150,
            "audio",
            "wrong rate",
            r"declared 20 Hz, arrives at 50\.\d Hz",
        ),
        ("zero_stamps", {}, 150, "camera", "bad stamps", r"\d+ of \d+ messages carried stamps"),
    ],
)
def test_the_cause_is_named_with_its_numbers(kind, changes, max_wait_ms, stream, cause, words):
    scenario = make(kind, 6)
    if cause == "too slow":  # a receiver that takes longer than its tolerance
        for event in scenario.events:
            event.arrival_ns += 120 * MS if event.stream == "gps" else 0
    findings, _ = run(scenario, max_wait_ms, **changes)
    texts = [f.text for f in findings if (f.stream, f.cause) == (stream, cause)]
    assert len(texts) == 1
    assert re.search(words, texts[0])


def test_a_clock_off_from_the_start_is_named():
    scenario = make("clean", 1)
    for event in scenario.events:
        event.stamp_ns -= 900_000 * MS if event.stream == "camera" else 0
    findings, _ = run(scenario)
    (text,) = [f.text for f in findings if f.cause == "clock off"]
    assert re.search(r"camera: its stamps are -\d{3}\.\d{3} s off rig time", text)


def test_a_silent_stream_and_its_partial_sets_are_explained():
    scenario = make("clean", 1)
    last_ns = max(event.true_ns for event in scenario.events)
    for event in scenario.events:
        event.lost = event.stream == "camera" and event.true_ns > last_ns - 5000 * MS
    findings, sets = run(scenario)
    (text,) = [f.text for f in findings if f.cause == "silent"]
    assert re.search(r"camera: silent for [45]\.\d s after \d+ messages", text)
    (sentence,) = explain_set(sets[-1])
    assert re.search(r"camera: silent, not waited for; set \d+ closed after \d+ ms", sentence)


def test_late_messages_are_explained():
    scenario = make("camera_stall", 1)
    for event in scenario.events:
        if event.stream == "gps" and event.ident % 3 == 0:
            event.arrival_ns += 450 * MS
    findings, _ = run(scenario)
    (text,) = [f.text for f in findings if (f.stream, f.cause) == ("gps", "late")]
    assert re.search(r"gps: \d+ of \d+ messages came up to \d+ ms after their sets had left", text)


def test_overflow_is_explained():
    spec = StreamSpec("camera", 0.5, 1)
    sync = Synchronizer(streams=[spec, StreamSpec("lidar", 10, 1)], reference="lidar")
    for k in range(3000):
        sync.push("camera", 10**18 + k * MS, k, 10**18 + (k + 20) * MS)
    texts = [f.text for f in explain_streams(sync) if f.cause == "overflow"]
    assert len(texts) == 1
    assert "pushed out of a full buffer" in texts[0]
