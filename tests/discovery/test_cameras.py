from pathlib import Path

import msgspec
import pytest

from fusion_rt.clock import SettableClock
from fusion_rt.discovery.cameras import look_for_cameras
from tests.camera.fake_camera import FakeCamera

pytest.importorskip("simplejpeg")
from fusion_rt.drivers.v4l2 import V4l2Options


def test_a_camera_is_told_with_its_modes_and_the_line_that_uses_it() -> None:
    look = look_for_cameras(FakeCamera(SettableClock()))  # type: ignore[arg-type]
    (found,) = look.found
    assert (found.kind, found.place) == ("camera", "/dev/video0")
    assert found.what == "Fake Cam (usb-0000:00:14.0-1)"
    assert found.details[1] == "mjpeg 1280x720 at 30, 15 Hz"
    line = (
        "camera/video0: {driver: v4l2, device: /dev/video0, width: 1280, height: 720, rate_hz: 30}"
    )
    assert found.rig == line
    assert not look.problem


def test_the_line_is_one_that_the_driver_takes() -> None:
    (found,) = look_for_cameras(FakeCamera(SettableClock())).found  # type: ignore[arg-type]
    (entry,) = msgspec.yaml.decode(found.rig.encode()).values()
    assert msgspec.convert(entry, V4l2Options).width == 1280


def test_a_name_that_lasts_is_preferred(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    (tmp_path / "by-id").mkdir()
    (tmp_path / "by-id/usb-Cam-index0").symlink_to(device)
    camera = FakeCamera(SettableClock(), str(device))
    (found,) = look_for_cameras(camera, str(tmp_path / "by-id")).found  # type: ignore[arg-type]
    assert f"device: {tmp_path}/by-id/usb-Cam-index0," in found.rig


def test_a_camera_with_no_format_of_ours_is_told_so() -> None:
    camera = FakeCamera(SettableClock())
    camera.sizes, camera.rates_hz = {"H264": [(640, 480)]}, {"H264": [30]}
    (found,) = look_for_cameras(camera).found  # type: ignore[arg-type]
    assert found.rig == "# /dev/video0 offers no format that we read"


def test_nodes_that_are_no_cameras_are_told() -> None:
    camera = FakeCamera(SettableClock())
    camera.is_there = False
    look = look_for_cameras(camera)  # type: ignore[arg-type]
    assert look.problem == "none of /dev/video1 can be opened as a camera"
