from collections.abc import Iterator
from itertools import combinations

import msgspec
import numpy as np
import pytest

import tests.fusion_world as world
import tests.tiny_model as tiny
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import EngineRunError
from fusion_rt.fusion.core import FusionCore
from fusion_rt.fusion.options import FusionOptions, TrackerOptions
from fusion_rt.messages import Detections
from fusion_rt.perception import Perception, open_model

TOPICS = tuple(world.RATES_HZ)
FROM_S, TO_S, END_S = 3.5, 5.5, 10.0
UNTRACKED = FusionOptions(tracker=TrackerOptions(enabled=False))


@pytest.fixture(scope="module")
def perception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perception]:
    folder = tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")
    with open_model(folder, world.demo_mounts(), "onnxruntime") as opened:
        yield opened


def answers_of(
    perception: Perception,
    faults: dict[str, list[world.Fault]],
    options: FusionOptions | None = None,
) -> list[Detections]:
    fusion = world.inline(perception, options)
    answers = world.run(fusion, world.world(END_S, faults), END_S)
    for topic in TOPICS:
        account = fusion.ledger.account(topic)
        assert sum(account.outcomes.values()) == account.received
    return answers


def at(answers: list[Detections], begin_s: float, end_s: float) -> list[Detections]:
    return [answer for answer in answers if begin_s <= world.seconds_of(answer) < end_s]


def missing(answer: Detections) -> set[str]:
    return {member.topic for member in answer.members if member.quality == "missing"}


def test_every_reference_is_answered_by_all_sensors(perception: Perception) -> None:
    answers = answers_of(perception, {})
    settled = at(answers, 3, END_S - 0.2)
    assert len(settled) == 68
    assert {answer.mode for answer in settled} == {"NORMAL"}
    assert all(not missing(answer) for answer in settled)
    stamps = [answer.stamp_ns for answer in settled]
    assert stamps == sorted(set(stamps))
    assert all(answer.siren is not None and answer.siren.is_heard for answer in settled)
    assert settled[0].siren is not None
    assert settled[0].siren.bearing_rad == pytest.approx(np.pi / 2)
    assert all(len(answer.boxes) == 4 for answer in settled)


FAULTS = {
    "silent": world.silent,
    "late": world.late,
    "frozen": world.frozen,
    "corrupt": world.corrupt,
    "clock step": world.stepped,
}
SINGLES = [(topic,) for topic in TOPICS]
LOSSES = [*SINGLES, *combinations(TOPICS, 2)]
CASES = [(kind, topics) for kind in FAULTS for topics in SINGLES]
CASES += [(kind, topics) for kind in ("silent", "corrupt") for topics in LOSSES[len(TOPICS) :]]


@pytest.mark.parametrize(("kind", "topics"), CASES)
def test_no_fault_of_one_or_two_sensors_stops_the_answers(
    perception: Perception, kind: str, topics: tuple[str, ...]
) -> None:
    fault = world.during(FROM_S, TO_S, FAULTS[kind])
    answers = answers_of(perception, {topic: [fault] for topic in topics})
    assert len(at(answers, FROM_S + 0.5, TO_S)) >= 14  # of 15
    gaps_ms = np.diff([answer.stamp_ns for answer in at(answers, 2, END_S - 0.5)]) / NS_PER_MS
    assert gaps_ms.min() > 0
    assert gaps_ms.max() < 210
    before, after = at(answers, 2.5, FROM_S - 0.1), at(answers, TO_S + 3.7, END_S - 0.3)
    assert {answer.mode for answer in before} == {"NORMAL"}
    assert {answer.mode for answer in after} == {"NORMAL"}
    assert all(not missing(answer) for answer in after)
    if kind != "clock step" and (kind, topics) != ("late", ("gps/main",)):  # corrected; not late
        said = at(answers, TO_S - 0.4, TO_S - 0.05)
        assert {answer.mode for answer in said} == {mode_without(topics)}
        named = [{reason.split(" ")[0] for reason in answer.mode_reasons} for answer in said]
        assert all(each == set(topics) for each in named)


def mode_without(topics: tuple[str, ...]) -> str:
    sights = {"camera/front", "lidar/top"} - set(topics)
    return {0: "BLIND", 1: "MINIMAL", 2: "DEGRADED"}[len(sights)]


@pytest.mark.parametrize("topics", LOSSES, ids=lambda topics: "+".join(topics))
def test_silence_is_a_missing_member_and_costs_no_waiting(
    perception: Perception, topics: tuple[str, ...]
) -> None:
    fusion = world.inline(perception)
    fault = world.during(FROM_S, TO_S, world.silent)
    waits_ms = []
    for sent in world.world(END_S, {topic: [fault] for topic in topics}):
        sets, _ = fusion.intake.take(sent.header, sent.recv_ns, lambda sent=sent: sent.message)
        sets += fusion.core.advance(sent.recv_ns)
        for each in sets:
            if FROM_S + 1.1 <= (each.time_ns - world.START_NS) / NS_PER_S < TO_S - 0.2:
                closed = each.frame_set
                waits_ms.append((closed.closed_ns - closed.opened_ns) / NS_PER_MS)
                gone = {t for t, m in closed.members.items() if m.is_missing}
                assert set(topics) <= gone
    assert max(waits_ms) <= 40  # a camera frame that is on its way, at most


def test_a_late_sensor_does_not_hold_the_answers_up(perception: Perception) -> None:
    fault = world.during(FROM_S, TO_S, world.late)
    answers = answers_of(perception, {"lidar/top": [fault]})
    during = at(answers, FROM_S + 0.6, TO_S - 0.1)
    assert len(during) == 13
    reasons = {m.topic: m.reason for answer in during for m in answer.members if m.reason}
    assert reasons == {"lidar/top": "too late"}


def test_late_sound_is_heard_as_soon_as_it_is_punctual_again(perception: Perception) -> None:
    fault = world.during(FROM_S, TO_S, world.late)
    answers = answers_of(perception, {"audio/array": [fault]})
    assert all("audio/array" in missing(answer) for answer in at(answers, FROM_S + 0.5, TO_S))
    assert not any("audio/array" in missing(a) for a in at(answers, TO_S + 0.3, END_S - 0.3))


@pytest.mark.parametrize("topic", ["camera/front", "lidar/top", "audio/array"])
def test_what_a_frozen_sensor_shows_is_not_believed(perception: Perception, topic: str) -> None:
    fault = world.during(FROM_S, TO_S, world.frozen)
    frozen = at(answers_of(perception, {topic: [fault]}), FROM_S + 1.0, TO_S - 0.1)
    reasons = {m.topic: m.reason for answer in frozen for m in answer.members if m.reason}
    assert reasons == {topic: "frozen"}
    after = at(answers_of(perception, {topic: [fault]}), TO_S + 0.2, END_S - 0.3)
    assert not any(missing(answer) for answer in after)


def test_blind_answers_are_predictions_first_then_empty(perception: Perception) -> None:
    fault = world.during(FROM_S, TO_S, world.silent)
    answers = answers_of(perception, {"camera/front": [fault], "lidar/top": [fault]})
    blind = [a for a in at(answers, FROM_S, TO_S) if a.mode == "BLIND"]
    assert len(blind) >= 15
    first, last = blind[0], blind[-1]
    assert first.is_predicted is not None
    assert first.is_predicted.all()
    assert len(first.boxes) == 4
    assert len(last.boxes) == 0
    assert all(answer.siren is not None and answer.siren.is_heard for answer in blind)


def test_tracks_keep_their_numbers_through_a_short_gap(perception: Perception) -> None:
    fault = world.during(FROM_S, FROM_S + 0.6, world.silent)
    faults = {"camera/front": [fault], "lidar/top": [fault], "gps/main": [world.silent]}
    answers = at(answers_of(perception, faults), 3, 6)
    numbers = [a.track_ids[:3].tolist() for a in answers if a.track_ids is not None]
    assert len(numbers) == 30
    assert {tuple(sorted(each)) for each in numbers} == {tuple(sorted(numbers[0]))}
    assert sum(bool(a.is_predicted.any()) for a in answers if a.is_predicted is not None) >= 5


def test_without_a_tracker_answers_are_what_the_graph_says(perception: Perception) -> None:
    (answer, *_) = at(answers_of(perception, {}, UNTRACKED), 4, 5)
    assert answer.track_ids is None
    assert answer.boxes[:, 0] == pytest.approx(tiny.BOXES[:, 0])
    assert answer.contributions is not None
    assert answer.contributions.shape == (4, 4)


def test_boxes_stand_in_the_world_where_gps_says_we_are(perception: Perception) -> None:
    (answer, *_) = at(answers_of(perception, {}, UNTRACKED), 8, 9)
    world_pose = answer.world
    assert world_pose is not None
    first_fix_ns = world.START_NS + world.PHASES_MS["gps/main"] * NS_PER_MS
    driven_m = world.SPEED_MPS * (answer.stamp_ns - first_fix_ns) / NS_PER_S
    assert world_pose.yaw_rad == pytest.approx(np.pi / 2)
    assert world_pose.y_m == pytest.approx(driven_m - 0.4, abs=0.05)  # the antenna sits in front
    assert answer.boxes_world is not None
    # Heading north, ahead is y and left is minus x.
    assert answer.boxes_world[:, 1] == pytest.approx(answer.boxes[:, 0] + world_pose.y_m, abs=1e-3)
    assert answer.boxes_world[:, 0] == pytest.approx(-answer.boxes[:, 1] + world_pose.x_m, abs=1e-3)


def test_a_lost_gps_is_dead_reckoned_for_a_while_and_says_so(perception: Perception) -> None:
    fault = world.during(FROM_S, END_S, world.silent)
    answers = answers_of(perception, {"gps/main": [fault]})
    (soon, *_) = at(answers, FROM_S + 1, END_S)
    assert soon.world is not None
    assert soon.world.quality == "extrapolated"
    assert soon.world.from_fix_ns > 0.9 * NS_PER_S
    assert all(answer.world is None for answer in at(answers, FROM_S + 3.5, END_S))


def test_without_a_lidar_boxes_are_moved_from_the_camera_to_the_reference(
    perception: Perception,
) -> None:
    fault = world.during(FROM_S, END_S, world.silent)
    answers = answers_of(perception, {"lidar/top": [fault]}, UNTRACKED)
    answer = at(answers, FROM_S + 2, END_S)[0]
    (camera,) = [m for m in answer.members if m.topic == "camera/front"]
    assert camera.stamp_ns is not None
    passed_s = (answer.stamp_ns - camera.stamp_ns) / NS_PER_S
    assert abs(passed_s) > 0.001
    vx_mps = float(tiny.BOXES[0, 7])
    expected_m = tiny.BOXES[0, 0] + (vx_mps - world.SPEED_MPS) * passed_s
    assert answer.boxes[0, 0] == pytest.approx(expected_m, abs=0.02)


def test_a_failing_encoder_is_a_missing_member_with_its_reason(
    perception: Perception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise EngineRunError("lidar.onnx", "onnxruntime", "out of memory")

    monkeypatch.setattr(perception, "encode_lidar", broken)
    answers = at(answers_of(perception, {}), 3, 5)
    assert len(answers) == 20
    for answer in answers:
        (member,) = [m for m in answer.members if m.topic == "lidar/top"]
        assert member.quality == "missing"
        assert "lidar could not be encoded: engine lidar.onnx" in member.reason
        assert answer.mode == "MINIMAL"


def test_a_failing_fusion_graph_is_an_empty_answer_with_its_reason(
    perception: Perception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise EngineRunError("fusion.onnx", "onnxruntime", "out of memory")

    monkeypatch.setattr(perception, "fuse", broken)
    answers = at(answers_of(perception, {}), 3, 5)
    assert len(answers) == 20
    assert all("the fusion graph failed" in answer.failure for answer in answers)


def test_equal_arrivals_make_equal_answers(perception: Perception) -> None:
    fault = world.during(FROM_S, TO_S, world.late)
    first, second = (answers_of(perception, {"camera/front": [fault]}) for _ in range(2))
    assert [a.stamp_ns for a in first] == [a.stamp_ns for a in second]
    for a, b in zip(first, second, strict=True):
        assert (a.mode, a.members, a.mode_reasons) == (b.mode, b.members, b.mode_reasons)
        assert np.array_equal(a.boxes, b.boxes)


def test_camera_frames_that_no_reference_is_near_are_not_encoded(perception: Perception) -> None:
    counted: list[int] = []
    for options in (FusionOptions(), FusionOptions(encode_all=True)):
        fusion = world.inline(perception, options)
        items = [
            fusion.intake.take(s.header, s.recv_ns, lambda s=s: s.message)[1]
            for s in world.world(5)
        ]
        counted.append(sum(item is not None and item.kind == "camera" for item in items))
    assert counted[1] == 150
    assert 45 <= counted[0] <= 75


@pytest.mark.parametrize("end_s", [4.9, 5.4, 5.85, 6.3])
def test_the_rest_of_a_late_link_among_punctual_messages_is_no_step_of_the_clock(
    end_s: float,
) -> None:
    def shaken(sent: world.Sent) -> world.Sent:
        return msgspec.structs.replace(sent, recv_ns=sent.recv_ns + sent.seq * 7 % 3 * NS_PER_MS)

    def much_later(sent: world.Sent) -> world.Sent:
        return msgspec.structs.replace(sent, recv_ns=sent.recv_ns + 700 * NS_PER_MS)

    core = FusionCore(world.plan(), world.START_NS)
    faults: list[world.Fault] = [shaken, world.during(2.0, end_s, much_later)]
    times_ns = [
        one.time_ns
        for sent in world.world(12, {"lidar/top": faults})
        for one in core.arrived(sent.header, sent.topic, sent.recv_ns, None)
    ]
    assert not core.sync.clock_events
    steps_ns = np.diff(times_ns)
    assert len(steps_ns) > 100
    assert 0 < steps_ns.min() <= steps_ns.max() < 2 * core.reference_period_ns


@pytest.mark.parametrize("end_s", [4.2, 4.4, 4.6, 4.8])
def test_answers_go_on_in_time_also_when_a_clock_steps_on_a_late_link(end_s: float) -> None:
    def shaken(sent: world.Sent) -> world.Sent:
        return msgspec.structs.replace(sent, recv_ns=sent.recv_ns + sent.seq * 7 % 3 * NS_PER_MS)

    def later(sent: world.Sent) -> world.Sent:
        return msgspec.structs.replace(sent, recv_ns=sent.recv_ns + 700 * NS_PER_MS)

    def behind(sent: world.Sent) -> world.Sent:
        return msgspec.structs.replace(sent, stamp_ns=sent.stamp_ns - 2 * NS_PER_S)

    core = FusionCore(world.plan(), world.START_NS)
    faults = [shaken, world.during(2.0, end_s, later), world.during(3.5, end_s - 0.1, behind)]
    times_ns = [
        one.time_ns
        for sent in world.world(9, {"lidar/top": faults})
        for one in core.arrived(sent.header, sent.topic, sent.recv_ns, None)
    ]
    steps_ns = np.diff(times_ns)
    assert 0 < steps_ns.min() <= steps_ns.max() < 5 * core.reference_period_ns
