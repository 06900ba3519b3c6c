from itertools import combinations

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.liveness import Verdict
from fusion_rt.modes import ModeKeeper, mode_from_verdicts
from tests.stream_player import (
    START_NS,
    corrupt,
    flapping,
    frozen,
    late,
    play,
    silent,
    slow,
    steady,
    with_fault,
)

RIG = ["audio/array", "camera/front", "gps/main", "lidar/top"]
FAULTS = [silent, late, frozen, corrupt, slow, flapping]
FAULT_NS = START_NS + 6 * NS_PER_S
GOOD_NS = START_NS + 9 * NS_PER_S
END_NS = START_NS + 15 * NS_PER_S


def verdicts_of(**states):
    """`camera_front="silent"` and the like; the rest of the rig is alive."""
    named = {name.replace("_", "/"): state for name, state in states.items()}
    return {topic: Verdict(named.get(topic, "alive"), 0, "why") for topic in sorted({*RIG, *named})}


def keeper_in(mode, now_ns=0):
    """One that has left its start behind and stands in `mode`."""
    streams = {
        "NORMAL": verdicts_of(),
        "DEGRADED": verdicts_of(gps_main="silent"),
        "MINIMAL": verdicts_of(lidar_top="silent"),
        "BLIND": verdicts_of(lidar_top="silent", camera_front="silent"),
    }[mode]
    keeper = ModeKeeper(now_ns - 10 * NS_PER_S)
    for at_ns in (now_ns - 10 * NS_PER_S, now_ns - 5 * NS_PER_S, now_ns):
        keeper.update(streams, at_ns)
    assert keeper.decision.mode == mode
    return keeper


def expected_mode(topics, fault):
    """What is left: half the rate still sees, every other fault does not."""
    if fault is slow:
        return "DEGRADED"
    lost = {"camera/front", "lidar/top"} & set(topics)
    return {0: "DEGRADED", 1: "MINIMAL", 2: "BLIND"}[len(lost)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("topics", [*combinations(RIG, 1), *combinations(RIG, 2)], ids="+".join)
def test_each_sensor_alone_and_in_pairs_takes_the_rig_down_and_back(topics, fault):
    streams = {topic: steady(topic, 16) for topic in RIG}
    for topic in topics:
        streams[topic] = with_fault(streams[topic], topic, fault, FAULT_NS, GOOD_NS)
    history = play(streams, END_NS)

    from_normal = history.modes()[history.modes().index("NORMAL") :]
    assert expected_mode(topics, fault) in from_normal
    assert max(from_normal, key=["NORMAL", "DEGRADED", "MINIMAL", "BLIND"].index) == expected_mode(
        topics, fault
    )
    assert from_normal[-1] == "NORMAL"
    assert history.decisions[-1].since_ns > GOOD_NS


def test_a_rig_starts_blind_and_rises_as_its_streams_have_been_good_for_two_seconds():
    history = play({topic: steady(topic, 5) for topic in RIG}, START_NS + 5 * NS_PER_S)

    assert history.modes() == ["BLIND", "MINIMAL", "NORMAL"]
    assert history.decisions[-1].since_ns - START_NS < 2.2 * NS_PER_S


MODES = [
    ({}, "NORMAL"),
    ({"camera_front": "recovered"}, "NORMAL"),
    ({"camera_front": "out_of_rate"}, "DEGRADED"),
    ({"gps_main": "silent"}, "DEGRADED"),
    ({"audio_array": "frozen", "gps_main": "waiting"}, "DEGRADED"),
    ({"camera_left": "silent"}, "DEGRADED"),
    ({"camera_front": "silent", "camera_left": "alive"}, "DEGRADED"),
    ({"camera_front": "silent", "camera_left": "frozen"}, "MINIMAL"),
    ({"camera_front": "late"}, "MINIMAL"),
    ({"lidar_top": "invalid", "audio_array": "silent"}, "MINIMAL"),
    ({"camera_front": "silent", "lidar_top": "out_of_rate"}, "MINIMAL"),
    ({"camera_front": "silent", "lidar_top": "waiting"}, "BLIND"),
]


@pytest.mark.parametrize(("states", "mode"), MODES)
def test_the_mode_says_what_is_left_of_the_rig(states, mode):
    assert mode_from_verdicts(verdicts_of(**states)) == mode


def test_a_rig_without_lidar_is_normal_without_it():
    assert mode_from_verdicts({"camera/front": Verdict("alive", 0)}) == "NORMAL"


def test_a_rig_of_one_camera_is_blind_without_it():
    assert mode_from_verdicts({"camera/front": Verdict("silent", 0)}) == "BLIND"


def test_a_rig_that_cannot_see_is_blind_and_says_so():
    decision = ModeKeeper(0).update({"gps/main": Verdict("alive", 0)}, 1)

    assert decision.mode == "BLIND"
    assert decision.reasons == ("the rig has neither camera nor LiDAR",)


def test_down_is_at_once():
    keeper = keeper_in("NORMAL")
    decision = keeper.update(verdicts_of(camera_front="silent"), 7)

    assert (decision.mode, decision.since_ns) == ("MINIMAL", 7)
    assert decision.reasons == ("camera/front silent: why",)


def test_up_is_after_the_dwell_and_says_when():
    keeper = keeper_in("MINIMAL")
    held = keeper.update(verdicts_of(), 500 * NS_PER_MS)

    assert held.mode == "MINIMAL"
    assert held.reasons == ("NORMAL in 2.0 s if nothing else fails",)
    assert keeper.next_deadline_ns() == 2500 * NS_PER_MS
    assert keeper.update(verdicts_of(), 2500 * NS_PER_MS - 1).mode == "MINIMAL"
    assert keeper.update(verdicts_of(), 2500 * NS_PER_MS).mode == "NORMAL"
    assert keeper.next_deadline_ns() is None


def test_up_goes_no_higher_than_the_whole_dwell_was():
    keeper = keeper_in("BLIND")
    keeper.update(verdicts_of(gps_main="silent"), NS_PER_S)
    keeper.update(verdicts_of(), 2 * NS_PER_S)

    assert keeper.update(verdicts_of(), 3 * NS_PER_S).mode == "DEGRADED"
    assert keeper.update(verdicts_of(), 4 * NS_PER_S).mode == "NORMAL"


def test_each_lost_stream_has_its_reason_with_the_topic_first():
    keeper = keeper_in("NORMAL")
    decision = keeper.update(verdicts_of(camera_left="frozen", gps_main="silent"), 1)

    assert decision.reasons == ("camera/left frozen: why", "gps/main silent: why")


def test_a_mode_keeps_its_beginning_while_its_reasons_change():
    keeper = keeper_in("NORMAL")
    keeper.update(verdicts_of(gps_main="silent"), 5)
    decision = keeper.update(verdicts_of(audio_array="silent"), 9)

    assert (decision.mode, decision.since_ns) == ("DEGRADED", 5)
    assert decision.reasons == ("audio/array silent: why",)
