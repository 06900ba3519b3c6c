import itertools

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the extra sim is not installed")
pytest.importorskip("cv2", reason="the extra sim is not installed")

from fusion_rt.calibration_file import Calibration
from fusion_rt.sim.samples import Sample, SampleSize, reduced, samples
from fusion_rt.sim.truth import seen_ids

SMALL = SampleSize(image_width=224, columns=360, audio_samples=2048, per_world=3)


def some(calibration: Calibration, count: int, seed: int = 3) -> list[Sample]:
    return list(itertools.islice(samples(calibration, seed, SMALL), count))


def test_samples_go_on_from_world_to_world(calibration: Calibration) -> None:
    made = some(calibration, 7)
    assert [sample.seed for sample in made] == [3, 3, 3, 4, 4, 4, 5]


def test_samples_are_the_same_for_the_same_seed(calibration: Calibration) -> None:
    for first, second in zip(some(calibration, 2), some(calibration, 2), strict=True):
        assert first.image.tobytes() == second.image.tobytes()
        assert first.points.tobytes() == second.points.tobytes()
        assert first.audio.tobytes() == second.audio.tobytes()
        assert first.truth.row() == second.truth.row()


def test_a_sample_says_which_objects_can_be_found(calibration: Calibration) -> None:
    for sample in some(calibration, 6):
        findable = seen_ids(sample.camera_seen, sample.lidar_seen)
        assert findable <= set(sample.truth.ids.tolist())
        assert sample.image.shape == (126, 224, 3)
        assert sample.audio.shape == (2048, 4)
        assert sample.truth.boxes.shape == (len(sample.truth.ids), 9)
        assert np.isfinite(sample.points).all()


def test_a_reduced_lens_sees_the_same(calibration: Calibration) -> None:
    whole = calibration.cameras["camera_front"]
    small = reduced(whole, 320)
    points = np.array([[0.5, 0.2, 4.0], [-2.0, 0.5, 5.0]])
    expected = (whole.project(points) + 0.5) / 4 - 0.5
    assert np.allclose(small.project(points), expected)
