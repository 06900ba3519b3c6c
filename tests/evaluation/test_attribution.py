import numpy as np
import pytest

from fusion_rt.evaluation.attribution import shapley_scores
from fusion_rt.evaluation.subsets import Subset, subsets_of
from fusion_rt.perception import Answer

KINDS = ("camera", "lidar", "audio")


def answer(score: float, x_m: float = 10.0, label: int = 0) -> Answer:
    return Answer(
        boxes=np.array([[x_m, 0, 0, 4, 2, 1, 0, 0, 0]], np.float32),
        scores=np.array([score], np.float32),
        labels=np.array([label], np.int32),
        contributions=None,
        siren=None,
    )


def answers(**scores: float) -> dict[Subset, Answer]:
    """By `camera_lidar`; nothing found by sets not named."""
    return {s: answer(scores.get("_".join(s), 0.0)) for s in subsets_of(KINDS)}


def test_what_two_sensors_see_alike_is_shared_between_them() -> None:
    found = answers(camera=0.8, lidar=0.8, camera_lidar=0.8, camera_audio=0.8, lidar_audio=0.8)
    found["camera", "lidar", "audio"] = answer(0.8)
    assert shapley_scores(found, KINDS)[0] == pytest.approx([0.4, 0.4, 0.0])


def test_what_only_both_can_tell_is_shared_too_and_all_sums_to_the_score() -> None:
    found = answers(camera_lidar=0.6)
    found["camera", "lidar", "audio"] = answer(0.9)
    shares = shapley_scores(found, KINDS)[0]
    assert shares.sum() == pytest.approx(0.9)
    assert shares == pytest.approx([0.4, 0.4, 0.1])


def test_another_class_or_another_place_is_not_the_same_thing() -> None:
    found = answers(camera_lidar=0.5, lidar_audio=0.5, lidar=0.5)
    found["camera", "lidar", "audio"] = answer(0.5)
    found["camera",] = answer(0.9, label=1)
    found["audio",] = answer(0.9, x_m=13)
    assert shapley_scores(found, KINDS)[0] == pytest.approx([0, 0.5, 0])
