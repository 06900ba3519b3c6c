"""Recorded expectations of ROS's synchronizers, and real staggered capture times.

Ours minimises the distance to a reference, theirs the span of a set, so each case names the topic
that is our reference and, where the answers differ, why.
"""

import json
from pathlib import Path

import pytest

from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import FrameSet, StreamSpec

SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"
CASES = SHARED / "sync_cases" / "ros_approximate_time_cases.json"
NUSCENES = SHARED / "nuscenes" / "n015-2018-07-24-11-22-45+0800.json"
UNIT_NS = 10_000_000  # a second of theirs lasts 10 ms here: our budgets are those of a vehicle
T0 = 1_700_000_000_000_000_000
MAX_WAIT_NS = 150_000_000

# Our reference topic, its declared gap, the tolerance, sets we add, sets we do not make, why.
LAST = "the input's end proves nothing, but the declared rate does: the last pair leaves too"
DIFFERENCES: dict[str, tuple[int, float, float, list[list[float]], list[list[float]], str]] = {
    "ExactMatch": (0, 3, 1.5, [], [], ""),
    "PerfectMatch": (0, 3, 1.5, [[6, 7]], [], LAST),
    "ImperfectMatch": (1, 3, 1.5, [[6, 7]], [], "a message may serve two references"),
    "Acceleration": (1, 5, 1.5, [], [[12, 7]], "7 to 12 is no match inside any tolerance of ours"),
    "DroppedMessages_queue1": (
        0,
        3,
        1.5,
        [[0, 1], [8, 7], [13, 14]],
        [],
        "queues are bounded in time: none of these is dropped",
    ),
    "DroppedMessages_queue2": (0, 3, 1.5, [[13, 14]], [], LAST),
    "LongQueue": (1, 7, 0.5, [[3, 3]], [], "bounded in time, so A's 3 is still there"),
    "DoublePublish": (0, 3, 1.5, [], [], ""),
    "FourTopics": (
        0,
        5,
        3,
        [[8, 9, 6, 5], [13, 14, 10, 11]],
        [],
        "every reference gets its set, so A's 8 and 13 do",
    ),
    "EarlyPublish": (0, 5, 3, [], [], ""),
    "RateBound_1.5s": (0, 3, 1.5, [[6, 7]], [], LAST),
    "RateBound_2s": (0, 3, 1.5, [], [], ""),
    "RateBoundAll_none": (0, 3, 1.5, [[6, 7]], [], LAST),
    "RateBoundAll_2s": (0, 3, 1.5, [], [], ""),
    "Epsilon_ExactMatch": (0, 3, 0.5, [], [], ""),
    "Epsilon_PerfectMatch": (0, 3, 1.5, [], [], ""),
    "Epsilon_ImperfectMatch": (1, 3, 1.5, [], [], ""),
    "Python_pairs": (0, 1, 0.1, [], [], ""),
    "Python_scrambled": (
        1,
        1,
        0.1,
        [],
        [[2, 2], [0, 0], [5, 5], [7, 7], [1, 1], [4, 4], [3, 3], [6, 6]],
        "sets leave in order: references older than one that left are counted late",
    ),
}

cases = pytest.mark.skipif(not CASES.exists(), reason=f"{CASES} is not here")


def load_case(section: str, name: str) -> dict:
    return next(c for c in json.loads(CASES.read_text())[section] if c["name"] == name)


def feed(sync: Synchronizer, messages: list[tuple[float, int]], unit_ns: int) -> list[FrameSet]:
    """In order of arrival; each arrives when the newest stamp so far is measured, or just after."""
    sets: list[FrameSet] = []
    arrival_ns = 0
    for stamp, topic in messages:
        arrival_ns = max(arrival_ns + unit_ns // 100, round(stamp * unit_ns))
        stamp_ns = T0 + round(stamp * unit_ns)
        sets += sync.push(str(topic), stamp_ns, stamp, T0 + arrival_ns)
    return sets + sync.advance(T0 + arrival_ns + MAX_WAIT_NS)


def specs(topics: int, gap_ns: float, tolerance_ns: float) -> list[StreamSpec]:
    return [StreamSpec(str(i), 1e9 / gap_ns, round(tolerance_ns)) for i in range(topics)]


@cases
@pytest.mark.parametrize("name", DIFFERENCES)
def test_sets_are_those_of_ros_but_for_the_named_differences(name):
    case = load_case("cases", name)
    reference, gap, tolerance, added, left_out, why = DIFFERENCES[name]
    streams = specs(case["topics"], gap * UNIT_NS, tolerance * UNIT_NS)
    sync = Synchronizer(streams=streams, reference=str(reference), max_wait_ns=MAX_WAIT_NS)
    sets = [s for s in feed(sync, case["input"], UNIT_NS) if s.status == "complete"]
    ours = [[member.payload for member in s.members.values()] for s in sets]
    expected = [row for row in case["expected"] if row not in left_out] + added
    assert sorted(ours) == sorted(expected)
    assert bool(why) == bool(added or left_out)
    references = [row[reference] for row in ours]
    assert references == sorted(set(references))


ALIGNER_CASES = [
    "dispatch_inputs_in_order",
    "ignores_inactive_inputs",
    "input_timeout",
    "drops_msgs",
    "no_period_information",
]


@cases
@pytest.mark.parametrize("name", ALIGNER_CASES)
def test_each_input_as_reference_leaves_in_order_or_is_counted_late(name):
    """As the InputAligner: order is never broken, nothing vanishes, a dry input holds up nobody.

    Difference: a rate must be declared, so its case without periods runs at 500 Hz.
    """
    case = load_case("input_aligner_cases_ms", name)
    gaps_ns = [period * UNIT_NS or 2 * UNIT_NS for period in case["period_ms"]]
    streams = [StreamSpec(str(i), 1e9 / gap, gap // 2) for i, gap in enumerate(gaps_ns)]
    for reference in range(case["topics"]):
        pushed = [stamp for stamp, topic in case["input"] if topic == reference]
        sync = Synchronizer(streams=streams, reference=str(reference), max_wait_ns=MAX_WAIT_NS)
        sets = [s for s in feed(sync, case["input"], UNIT_NS) if not s.is_tick]
        left = [s.members[str(reference)].payload for s in sets]
        assert left == sorted(left)
        assert len(left) + sync.states()[str(reference)].counts.late == len(pushed)


@pytest.mark.skipif(not NUSCENES.exists(), reason=f"{NUSCENES} is not here")
def test_real_staggered_cameras_come_out_as_one_complete_set_with_the_right_errors():
    sample = json.loads(NUSCENES.read_text())["data_list"][0]
    lidar_ns = round(sample["timestamp"] * 1e6) * 1000
    cameras_ns = {n: round(i["timestamp"] * 1e6) * 1000 for n, i in sample["images"].items()}
    streams = [StreamSpec("LIDAR_TOP", 20, 25_000_000, required=True)]
    streams += [StreamSpec(name, 12, 45_000_000) for name in cameras_ns]
    sync = Synchronizer(streams=streams, reference="LIDAR_TOP")
    # Each arrives 40 ms after it was taken, the sweep 20 ms after its end.
    arrivals = [(ns + 40_000_000, name, ns) for name, ns in cameras_ns.items()]
    arrivals.append((lidar_ns + 20_000_000, "LIDAR_TOP", lidar_ns))
    sets = []
    for arrival_ns, name, stamp_ns in sorted(arrivals):
        sets += sync.push(name, stamp_ns, name, arrival_ns)
    sets += sync.advance(lidar_ns + 200_000_000)
    (complete,) = sets
    assert complete.status == "complete"
    assert complete.reference_ns == lidar_ns
    errors_ns = {name: complete.members[name].error_ns for name in cameras_ns}
    assert errors_ns == {name: ns - lidar_ns for name, ns in cameras_ns.items()}
    assert min(errors_ns.values()) == -43_107_000
    assert max(errors_ns.values()) == -528_000
