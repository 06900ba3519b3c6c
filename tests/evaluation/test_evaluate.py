import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import tests.tiny_model as tiny
from fusion_rt.errors import ConfigError
from fusion_rt.evaluation.asked import Asker, anchor_of, is_seen, mounts_of
from fusion_rt.evaluation.corruptions import CORRUPTIONS, at_night, corrupted_moments
from fusion_rt.evaluation.evaluate import Evaluation, evaluate
from fusion_rt.evaluation.page import Shot, html_page
from fusion_rt.evaluation.result import Result, hard_gain, read_result, write_result
from fusion_rt.evaluation.scenes import ScenePlan, Shown, demo_calibration, peopled, scenes
from fusion_rt.evaluation.subsets import can_place, mode_of, named_subsets, subset_name, subsets_of
from fusion_rt.evaluation.tables import BEGIN, END, write_card
from fusion_rt.model.moments import Moment, write_moments
from fusion_rt.perception import Answer, Mounts, Perception, open_model
from fusion_rt.sim.models import CLASSES
from fusion_rt.sim.scenario import random_scenario

pytest.importorskip("embreex", reason="moments are rendered: needs the extra sim")
KINDS = ("camera", "lidar", "audio", "gps")
PLAN = ScenePlan(scenes=1, seed=500_005)


@pytest.fixture(scope="session")
def shown() -> list[Shown]:
    return list(scenes(PLAN, demo_calibration()))


@pytest.fixture(scope="module")
def perception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perception]:
    yaml = tiny.YAML.replace("[car, pedestrian, cyclist, siren_car]", f"[{', '.join(CLASSES)}]")
    folder = tiny.write_model(tmp_path_factory.mktemp("models"), yaml)
    with open_model(folder, Mounts(), "onnxruntime") as opened:
        yield opened


def oracle(moment: Moment, subset: tuple[str, ...]) -> Answer:
    """An answer that is the truth about what the sensors see, and nothing else."""
    labels = moment.labels if "lidar" in subset else moment.labels_at_camera
    seen = [label for label in labels if is_seen(label, subset)]
    count = len(seen)
    heard = max(moment.sirens, key=lambda one: one.level_db, default=None)
    bearing = heard.bearing_rad if heard else 0.0
    return Answer(
        boxes=np.array([label.box for label in seen], np.float32).reshape(-1, 9),
        scores=np.linspace(0.99, 0.9, count, dtype=np.float32),
        labels=np.array([label.class_id for label in seen], np.int32),
        contributions=np.tile(np.array([k in subset for k in KINDS], np.float32), (count, 1)),
        siren=np.array([heard is not None, math.cos(bearing), math.sin(bearing)], np.float32),
    )


@pytest.fixture(scope="module")
def all_right(perception: Perception, shown: list[Shown]) -> Evaluation:
    def answer(_: Asker, moment: Moment, __: object, subset: tuple[str, ...]) -> Answer:
        return oracle(moment, subset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Asker, "answer", answer)
        noisy = [Shown(one.moment, "image_noise") for one in shown[:2]]
        return evaluate(perception, [*shown, *noisy])


@pytest.fixture(scope="module")
def result(all_right: Evaluation) -> Result:
    return all_right.result("one world", "2026-11-21")


def test_all_fifteen_sets_of_sensors_are_named_from_all_to_one() -> None:
    names = [subset_name(subset) for subset in subsets_of(KINDS)]
    assert len(set(names)) == 15
    assert names[0] == "camera+lidar+audio+gps"
    assert names[-4:] == ["camera", "lidar", "audio", "gps"]


def test_sets_are_found_whatever_order_they_are_written_in() -> None:
    assert named_subsets(["lidar+camera", "gps"], KINDS) == [("camera", "lidar"), ("gps",)]
    with pytest.raises(ConfigError, match=r"expected some of camera, gps, joined by \+, got lidar"):
        named_subsets(["lidar"], ("camera", "gps"))


def test_a_set_has_the_mode_of_a_rig_that_is_left_with_it() -> None:
    modes = {subset_name(subset): mode_of(subset, KINDS) for subset in subsets_of(KINDS)}
    assert modes["camera+lidar+audio+gps"] == "NORMAL"
    assert modes["camera+lidar"] == "DEGRADED"
    assert modes["lidar+audio+gps"] == "MINIMAL"
    assert modes["audio+gps"] == "BLIND"
    assert mode_of(("camera",), ("camera",)) == "NORMAL"


def test_a_perfect_model_scores_one_from_every_set_that_can_place(result: Result) -> None:
    for name, score in result.subsets.items():
        expected = 1.0 if can_place(tuple(name.split("+"))) else 0.0
        assert score.map_2m == expected, name
        assert score.map_nuscenes == pytest.approx(expected), name


def test_what_one_sensor_cannot_see_is_a_miss_only_when_asked_for_all(result: Result) -> None:
    camera = result.subsets["camera"]
    assert camera.map_2m_of_all < 1 == camera.map_2m
    assert result.retention["lidar"].own == 1
    assert result.retention["lidar"].of_all == pytest.approx(
        result.subsets["camera+audio+gps"].map_2m_of_all
    )


def test_fusing_gains_what_a_single_sensor_does_not_see(result: Result) -> None:
    full = "camera+lidar+audio+gps"
    gain = hard_gain({name: result.subsets[name] for name in (full, "camera")})
    camera = result.subsets["camera"]
    assert camera.parts["hard"].map_2m == 1
    assert gain is not None
    assert (gain.fused, gain.single) == (1, "camera")
    assert gain.best_single == camera.hard_of_all.map_2m < 1
    assert gain.gain == pytest.approx(1 / gain.best_single - 1)


def test_errors_of_a_perfect_model_are_none_and_its_sirens_are_where_they_are(
    result: Result,
) -> None:
    full = result.subsets["camera+lidar+audio+gps"]
    assert full.errors is not None
    assert max(msgspec.structs.astuple(full.errors)) < 1e-3
    assert full.siren is not None
    assert full.siren.with_siren > 0
    assert full.siren.recall == 1
    assert full.siren.bearing_median_deg == pytest.approx(0, abs=1e-3)
    assert result.subsets["camera"].siren is None


def test_parts_split_the_truth_between_them(result: Result) -> None:
    full = result.subsets["camera+lidar+audio+gps"]
    truths = sum(score.truths for score in full.classes.values())
    parts = {name: part.truths for name, part in full.parts.items()}
    assert parts["0-15 m"] + parts["15-30 m"] + parts["beyond 30 m"] == truths
    assert parts["easy"] + parts["hard"] == truths


def test_corrupted_moments_are_scored_apart(result: Result) -> None:
    assert result.measured.moments == 5
    assert set(result.corruptions) == {"image_noise"}
    assert set(result.corruptions["image_noise"]) == {"camera+lidar+audio+gps", "camera", "lidar"}


def test_thresholds_are_given_where_something_can_be_right(result: Result) -> None:
    assert set(result.thresholds) == {"NORMAL", "DEGRADED", "MINIMAL"}
    assert result.thresholds["NORMAL"] == pytest.approx(0.9)


def test_figures_survive_the_file_and_its_damage_is_named(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_result(result, path)
    again = read_result(path)
    assert again.subsets.keys() == result.subsets.keys()
    tree = msgspec.json.decode(path.read_bytes())
    assert tree["subsets"]["lidar+audio+gps"]["map_2m"] == 1
    path.write_text("{}")
    with pytest.raises(ConfigError, match="expected figures of an evaluation"):
        read_result(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_result(tmp_path / "none.json")


def test_the_page_holds_all_sets_and_its_pictures(all_right: Evaluation, result: Result) -> None:
    shots = [Shot(jpeg, caption) for jpeg, caption in all_right.pictures()]
    assert shots
    page = html_page(result, shots)
    assert all(f">{name}<" in page for name in result.subsets)
    assert page.count("data:image/jpeg;base64,") == len(shots)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_card_is_replaced_between_its_marks(result: Result, tmp_path: Path) -> None:
    page = tmp_path / "card.md"
    page.write_text(f"# Ours\n\n{BEGIN}\nold\n{END}\n\n## Limits\n")
    write_card(result, page)
    text = page.read_text()
    assert text.startswith("# Ours\n")
    assert text.endswith("\n## Limits\n")
    assert "old" not in text
    assert "| camera+lidar+audio+gps | 1.000 |" in text
    write_card(result, page)
    assert page.read_text() == text


def test_the_graphs_are_asked_with_what_each_set_has(
    perception: Perception, shown: list[Shown]
) -> None:
    moment, asker = shown[0].moment, Asker(perception)
    encoded = asker.encode(moment)
    for subset in subsets_of(KINDS):
        answer = asker.answer(moment, encoded, subset)
        assert (answer.scores > 0.5).tolist() == [kind in subset for kind in KINDS]


def test_without_lidar_the_picture_says_when(shown: list[Shown]) -> None:
    late = msgspec.structs.replace(shown[0].moment, camera_ns=shown[0].moment.anchor_ns + 7)
    assert anchor_of(late, ("camera", "gps")) == late.camera_ns
    assert anchor_of(late, ("camera", "lidar")) == anchor_of(late, ("gps",)) == late.anchor_ns


def test_a_truth_out_of_range_or_unseen_is_not_asked_for(
    perception: Perception, shown: list[Shown]
) -> None:
    moment = shown[0].moment
    case = Asker(perception).case(moment, ("lidar",), oracle(moment, ("lidar",)))
    for label, is_asked in zip(moment.labels, case.outcome.is_asked.tolist(), strict=True):
        is_near = 0 <= label.box[0] < 51.2 and abs(label.box[1]) < 25.6
        assert is_asked == (is_near and label.points >= 3)


def test_moments_of_a_folder_are_read_as_they_were(tmp_path: Path, shown: list[Shown]) -> None:
    write_moments(tmp_path, 1, [one.moment for one in shown])
    plan = ScenePlan(folder=tmp_path)
    assert plan.count == len(shown)
    read = list(scenes(plan, demo_calibration()))
    assert [one.moment.anchor_ns for one in read] == [one.moment.anchor_ns for one in shown]


def corrupted(name: str, moment: Moment) -> Moment:
    (corruption,) = [one for one in CORRUPTIONS if one.name == name]
    return corrupted_moments(corruption, [moment], 3)[0]


@pytest.mark.parametrize("degrees", [1, 2])
def test_a_turned_camera_is_off_by_so_much(shown: list[Shown], degrees: int) -> None:
    moment = shown[0].moment
    before, after = (
        mounts_of(each).base_from_camera
        for each in (moment, corrupted(f"camera_turned_{degrees}deg", moment))
    )
    assert before is not None
    assert after is not None
    turn = before.rotation.T @ after.rotation
    assert math.degrees(math.acos((np.trace(turn) - 1) / 2)) == pytest.approx(degrees, abs=1e-3)


def test_a_quarter_of_the_beams_is_about_a_quarter_of_the_points(shown: list[Shown]) -> None:
    moment = shown[0].moment
    left = corrupted("beams_quarter", moment)
    assert 0.15 < len(left.sweep) / len(moment.sweep) < 0.35


@pytest.mark.parametrize("name", ["glare", "image_noise"])
def test_pictures_are_made_worse_the_same_way_each_time(shown: list[Shown], name: str) -> None:
    moment = shown[0].moment
    worse = corrupted(name, moment)
    assert worse.jpeg == corrupted(name, moment).jpeg
    apart = np.abs(worse.image.astype(int) - moment.image.astype(int)).mean()
    assert apart > 10
    assert worse.points == moment.points


def test_a_wrong_clock_hides_how_late_the_picture_is(shown: list[Shown]) -> None:
    moment = shown[0].moment
    late = msgspec.structs.replace(moment, camera_ns=moment.anchor_ns + 100_000_000)
    wrong = corrupted("camera_clock_100ms_off", late)
    assert wrong.camera_ns == wrong.anchor_ns
    assert wrong.ego_at_camera == wrong.ego


def test_every_second_world_is_peopled_with_what_is_rare() -> None:
    scenario = random_scenario(500_006)
    assert peopled(scenario, 500_005) is scenario
    more = peopled(scenario, 500_006)
    assert more.traffic.trucks == scenario.traffic.trucks + 5
    assert len(more.traffic.sirens) == len(scenario.traffic.sirens) + 2
    assert at_night(more).traffic == more.traffic


def test_conditions_of_the_world_reach_the_moments() -> None:
    names = ("night", "fog", "camera_200ms_late")
    some = tuple(one for one in CORRUPTIONS if one.name in names)
    plan = ScenePlan(scenes=1, seed=500_005, corruptions=some)
    assert plan.count == 5 * (1 + len(some))
    moments: dict[str, Moment] = {}
    for one in scenes(plan, demo_calibration()):
        moments.setdefault(one.condition, one.moment)
    assert moments["night"].conditions.is_night
    assert moments["fog"].conditions.visibility_m == 80
    late = moments["camera_200ms_late"]
    assert late.camera_ns - late.anchor_ns == 200_000_000
    assert late.points == moments[""].points
    assert late.jpeg != moments[""].jpeg
