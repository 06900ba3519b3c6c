"""The trace is checked as its viewer reads it: nested slices, named tracks, whole arrows."""

import json
from collections import defaultdict

import pytest

from fusion_rt.latency.perfetto import perfetto_trace
from fusion_rt.latency.rows import STAGES
from tests.latency.runs import RATES_HZ, make_run


@pytest.fixture(scope="module")
def run():
    return make_run(seconds=12)


@pytest.fixture(scope="module")
def events(run):
    return json.loads(perfetto_trace(run))["traceEvents"]


def slices(events):
    return [event for event in events if event["ph"] == "X"]


def test_every_event_has_what_its_phase_asks_for(events):
    needed = {
        "X": {"name", "pid", "tid", "ts", "dur"},
        "M": {"name", "pid", "args"},
        "i": {"name", "pid", "tid", "ts", "s"},
        "s": {"id", "pid", "tid", "ts", "name", "cat"},
        "f": {"id", "pid", "tid", "ts", "name", "cat", "bp"},
    }
    for event in events:
        assert needed[event["ph"]] <= event.keys()
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0


def test_slices_of_a_track_nest(events):
    tracks = defaultdict(list)
    for event in slices(events):
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for track in tracks.values():
        open_until = []
        for begin, end in sorted(track, key=lambda one: (one[0], -one[1])):
            while open_until and open_until[-1] <= begin + 1e-6:
                open_until.pop()
            assert not open_until or end <= open_until[-1] + 1e-6
            open_until.append(end)


def test_every_track_and_process_has_a_name(events):
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert {(e["pid"], e["tid"]) for e in slices(events)} <= named
    assert set(processes.values()) == {"fusion", *(f"node {topic}" for topic in RATES_HZ)}
    assert {e["pid"] for e in slices(events)} <= processes.keys()


def test_answers_and_their_stages_are_there(events, run):
    names = [event["name"] for event in slices(events)]
    assert sum(name.startswith("answer ") for name in names) == len(run.answers)
    assert {"transport", "queue", "encode", "sync", "dispatch", "fuse", "publish"} <= set(names)
    assert set(STAGES) - set(names) == {"sensor"}  # the slice on the node's own track


def test_each_arrow_begins_once_ends_once_and_goes_forward(events, run):
    begins, ends = ({e["id"]: e for e in events if e["ph"] == phase} for phase in "sf")
    assert len(begins) == sum(event["ph"] == "s" for event in events)
    assert begins.keys() == ends.keys()
    assert all(begins[key]["ts"] <= ends[key]["ts"] for key in begins)
    assert len(begins) == sum(len(answer.members) for answer in run.answers)


def test_an_arrow_lies_on_a_slice(events):
    spans = defaultdict(list)
    for event in slices(events):
        spans[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for event in events:
        if event["ph"] in "sf":
            on = spans[event["pid"], event["tid"]]
            assert any(begin - 1e-6 <= event["ts"] <= end + 1e-6 for begin, end in on)


def test_dropped_frames_faults_and_modes_are_marked(events):
    names = {event["name"] for event in events}
    assert any(name.startswith("superseded") for name in names)
    assert any(name.startswith("failed") for name in names)
    assert "lidar/top: drop" in names
    assert {"NORMAL", "MINIMAL"} <= names
