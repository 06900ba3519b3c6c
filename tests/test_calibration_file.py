import math
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.calibration_file import load_calibration
from fusion_rt.errors import ConfigError, ConfigErrors

HERE = "translation_m: [0, 0, 0]"
GOOD = """\
provenance: {method: by hand, date: 2026-11-20}
transforms:
  base_from_a: {translation_m: [1, 2, 3], yaw_deg: 90}
  a_from_b: {translation_m: [1, 0, 0], quaternion_wxyz: [1, 0, 0, 0]}
cameras:
  a: {width: 640, height: 480, fx_px: 500, fy_px: 500, cx_px: 320, cy_px: 240}
microphones:
  b: [[0, 0, 0], [0, 0.1, 0]]
"""


def write(tmp_path: Path, text: str) -> Path:
    source = tmp_path / "c.yaml"
    source.write_text(text)
    return source


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        load_calibration(write(tmp_path, text))
    (error,) = caught.value.errors
    return str(error).removeprefix(f"{tmp_path}/")


def error_with_transform(tmp_path: Path, line: str) -> str:
    return error_of(tmp_path, f"provenance: {{method: m}}\ntransforms:\n  {line}\n")


def test_frames_are_placed_through_the_chain(tmp_path: Path) -> None:
    calibration = load_calibration(write(tmp_path, GOOD))
    np.testing.assert_allclose(calibration.base_from["b"].translation_m, [1, 3, 3], atol=1e-12)
    assert calibration.base_from["b"].yaw_rad == pytest.approx(math.pi / 2)


def test_a_transform_between_any_two_frames_can_be_asked_for(tmp_path: Path) -> None:
    calibration = load_calibration(write(tmp_path, GOOD))
    b_from_a = calibration.transform("b", "a")
    np.testing.assert_allclose(b_from_a.translation_m, [-1, 0, 0], atol=1e-12)


def test_cameras_and_microphones_are_read(tmp_path: Path) -> None:
    calibration = load_calibration(write(tmp_path, GOOD))
    assert calibration.cameras["a"].width == 640
    assert calibration.microphones_m["b"].shape == (2, 3)
    assert calibration.raw == GOOD.encode()


def test_chains_may_be_listed_in_any_order(tmp_path: Path) -> None:
    text = "provenance: {method: m}\ntransforms:\n"
    text += "  a_from_b: {translation_m: [1, 0, 0], yaw_deg: 0}\n"
    text += "  base_from_a: {translation_m: [1, 0, 0], yaw_deg: 0}\n"
    calibration = load_calibration(write(tmp_path, text))
    assert calibration.base_from["b"].translation_m.tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "base_from_a: {translation_m: [1, 2, 3]}",
            "expected one of rotation, quaternion_wxyz, yaw_deg, got none",
        ),
        (
            "base_from_a: {translation_m: [1, 2, 3], yaw_deg: 0, quaternion_wxyz: [1, 0, 0, 0]}",
            "expected one of rotation, quaternion_wxyz, yaw_deg, got quaternion_wxyz and yaw_deg",
        ),
        (
            "base_from_a: {translation_m: [0, 0, 0], quaternion_wxyz: [1, 1, 0, 0]}",
            "quaternion_wxyz: expected length 1, got 1.41421",
        ),
        (
            f"base_from_a: {{{HERE}, rotation: [[1, 0, 0], [0, 1, 0.1], [0, 0, 1]]}}",
            "rotation: expected orthonormal rows to 0.0001, got 0.1 off",
        ),
        (
            f"base_from_a: {{{HERE}, rotation: [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}}",
            "rotation: expected determinant 1, got -1: it mirrors, one axis points the wrong way",
        ),
    ],
)
def test_a_rotation_that_is_none_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    assert error_with_transform(tmp_path, line) == f"c.yaml:3: transforms.base_from_a: {problem}"


def test_millimetres_are_refused(tmp_path: Path) -> None:
    error = error_with_transform(tmp_path, "base_from_a: {translation_m: [1650, 0, 0], yaw_deg: 0}")
    assert error == (
        "c.yaml:3: transforms.base_from_a.translation_m: expected a list of 3, each a number "
        ">= -100 and <= 100 m, got [1650, 0, 0]; x, y, z in metres"
    )


@pytest.mark.parametrize("name", ["lidar2cam", "base_from_", "base_from_a_from_b", "base_from_a b"])
def test_a_name_that_says_nothing_is_refused(tmp_path: Path, name: str) -> None:
    error = error_with_transform(tmp_path, f"{name}: {{translation_m: [0, 0, 0], yaw_deg: 0}}")
    assert "expected the name TARGET_from_SOURCE; for example base_from_lidar_top" in error


def test_base_itself_is_placed_nowhere(tmp_path: Path) -> None:
    error = error_with_transform(tmp_path, "a_from_base: {translation_m: [0, 0, 0], yaw_deg: 0}")
    assert "expected frames placed in base, got base placed in one; write its inverse" in error


def test_a_second_transform_for_a_frame_is_refused(tmp_path: Path) -> None:
    line = GOOD.replace(
        "cameras:", "  base_from_b: {translation_m: [0, 0, 0], yaw_deg: 0}\ncameras:"
    )
    assert error_of(tmp_path, line) == (
        'c.yaml:5: transforms.base_from_b: expected one transform for "b", got a second; '
        "a_from_b places it already: remove one"
    )


def test_a_loop_is_refused(tmp_path: Path) -> None:
    text = "provenance: {method: m}\ntransforms:\n"
    text += "  a_from_b: {translation_m: [1, 0, 0], yaw_deg: 0}\n"
    text += "  b_from_a: {translation_m: [1, 0, 0], yaw_deg: 0}\n"
    with pytest.raises(ConfigErrors, match="ends in base, got b -> a -> b: a loop"):
        load_calibration(write(tmp_path, text))


def test_a_chain_that_ends_in_the_air_is_refused(tmp_path: Path) -> None:
    error = error_with_transform(tmp_path, "a_from_b: {translation_m: [0, 0, 0], yaw_deg: 0}")
    assert error.endswith('ends in base, got b -> a: no transform for "a"')


@pytest.mark.parametrize("section", ["cameras", "microphones"])
def test_a_camera_or_array_without_a_place_is_refused(tmp_path: Path, section: str) -> None:
    text = GOOD.replace(f"{section}:\n  a", f"{section}:\n  z").replace(
        f"{section}:\n  b", f"{section}:\n  z"
    )
    error = error_of(tmp_path, text)
    assert (
        f'{section}.z: expected a transform that places "z", got none; known: a, b, base' in error
    )


def test_intrinsics_of_another_resolution_are_refused(tmp_path: Path) -> None:
    error = error_of(tmp_path, GOOD.replace("cx_px: 320", "cx_px: 960"))
    assert "cameras.a: expected cx_px, cy_px inside 640x480, got 960, 240: are they of" in error


def test_a_file_without_provenance_is_refused(tmp_path: Path) -> None:
    error = error_of(tmp_path, "transforms: {}")
    assert error == "c.yaml: provenance: expected a mapping, got nothing"


def test_what_needs_a_pinhole_refuses_a_fisheye(tmp_path: Path) -> None:
    wide = load_calibration(write(tmp_path, GOOD.replace("a: {width", "a: {model: fisheye, width")))
    with pytest.raises(ConfigError, match=r"cameras\.a\.model: expected a pinhole, got a fisheye"):
        wide.pinhole("a")
