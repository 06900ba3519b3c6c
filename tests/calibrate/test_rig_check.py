import datetime

import msgspec
import numpy as np
import pytest

from fusion_rt.calibrate.rig_check import check_calibration
from fusion_rt.calibration_file import Calibration, Made, Residuals
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.rig import Rig, find_rig, load_rig
from fusion_rt.time_offsets import TimeOffset

TODAY = datetime.date(2026, 12, 1)


def demo() -> Rig:
    return load_rig(find_rig("demo"))


def with_calibration(rig: Rig, **changes: object) -> Rig:
    calibration: Calibration = msgspec.structs.replace(rig.calibration, **changes)
    return msgspec.structs.replace(rig, calibration=calibration)


def placed(frame: str, pose: RigidTransform) -> Rig:
    rig = demo()
    return with_calibration(rig, base_from={**rig.calibration.base_from, frame: pose})


def recorded(made: Made) -> Rig:
    rig = demo()
    provenance = msgspec.structs.replace(
        rig.calibration.provenance, results={"cameras.camera_front": made}
    )
    return with_calibration(rig, provenance=provenance)


def record(**fields: object) -> Made:
    day = {"date": datetime.date(2026, 11, 1)}
    return Made(method="x", data_sha256="0" * 64, **{**day, **fields})  # type: ignore[arg-type]


def test_the_demo_rig_only_lacks_measurements() -> None:
    found = check_calibration(demo(), TODAY)
    assert [(one.is_fault, one.where) for one in found] == [(False, "provenance")]
    assert found[0].problem == 'nothing measured is on record, only "drawn"'


LOOKS_UP = RigidTransform(np.eye(3), [1.8, 0, 1.3])
ON_ITS_SIDE = RigidTransform(np.array([[0.0, 0, 1], [0, -1, 0], [1, 0, 0]]), [1.8, 0, 1.3])
TIPPED = RigidTransform.from_rotation_vector([0, 1.5, 0], [1.1, 0, 1.8])


@pytest.mark.parametrize(
    ("rig", "words"),
    [
        (placed("camera_front", LOOKS_UP), "got it looking up: a camera's axes are x right"),
        (placed("camera_front", ON_ITS_SIDE), "expected its y axis down, got it rolled by 90"),
        (placed("lidar_top", TIPPED), "expected its z axis up, got it 86 degrees from up"),
        (placed("gps_main", RigidTransform.from_yaw(0, [40, 0, 1])), "within 20 m of base, got 40"),
        (placed("gps_main", RigidTransform.from_yaw(0, [0, 0, -1])), "above the ground, got -1.00"),
        (
            placed("gps_main", demo().calibration.base_from["lidar_top"]),
            "expected a place of its own, got that of",
        ),
        (recorded(record(valid_days=20)), "expired: made 30 days ago, valid for 20"),
        (recorded(record(date=datetime.date(2030, 1, 1))), "expected a date up to 2026-12-01"),
        (recorded(record(residuals=Residuals(rms_px=3.0))), "expected 1 px rms at most, got 3"),
        (recorded(record(residuals=Residuals(sd_deg=(2.0, 0, 0)))), "uncertain: (2.0, 0, 0)"),
    ],
)
def test_what_cannot_be_right_is_found(rig: Rig, words: str) -> None:
    assert any(words in one.problem for one in check_calibration(rig, TODAY))


def test_faults_come_before_warnings() -> None:
    found = check_calibration(placed("camera_front", LOOKS_UP), TODAY)
    assert [one.is_fault for one in found] == [True, False]


def test_a_wrong_camera_offset_and_array_are_found() -> None:
    wrong = Pinhole(width=1280, height=720, fx_px=762, fy_px=500, cx_px=640, cy_px=360)
    microphones = {"audio_array": np.array([[0, 0, 0], [0, 0, 0], [9.0, 0, 0], [1, 0, 0]])}
    offsets = {"gps_main": TimeOffset(against="lidar_top", offset_ms=900)}
    rig = with_calibration(
        demo(),
        cameras={"camera_front": wrong},
        microphones_m=microphones,
        time_offsets=offsets,
    )
    problems = " ".join(one.problem for one in check_calibration(rig, TODAY))
    assert "expected square pixels" in problems
    assert "expected places apart, got 0 and 1 at the same" in problems
    assert "expected 3 m between any two at most, got 9.0 between 0 and 2" in problems
    assert "expected 500 ms at most, got 900" in problems
