import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.camera.recording import CameraRecording, open_camera
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import DriverError, RecordingError
from fusion_rt.messages import CameraFrame, PixelEncoding
from fusion_rt.reconnect import RECONNECTS
from tests.camera.fake_camera import picture
from tests.gnss.ports import START_NS, port

pytest.importorskip("av")
pytest.importorskip("simplejpeg")
from tests.camera.videos import write_video

PERIOD_NS = 50 * NS_PER_MS


@pytest.fixture
def here() -> DriverPort:
    return port("camera/front")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """10 pictures at 20 Hz."""
    return write_video(tmp_path / "a.mp4")


def options(path: Path, **more: object) -> CameraRecording:
    return CameraRecording(driver="file", path=str(path), **more)


def play(path: Path, here: DriverPort, turns: int, **more: object) -> list[CameraFrame]:
    with open_camera(options(path, **more), here) as messages:
        return [one for one in itertools.islice(messages, turns) if one is not None]


def whole(messages: Iterator[CameraFrame | None]) -> list[CameraFrame]:
    """Up to the end of the recording."""
    return list(itertools.takewhile(lambda one: one is not None, messages))  # type: ignore[arg-type]


def test_pictures_come_at_recorded_pace(video: Path, here: DriverPort) -> None:
    frames = play(video, here, 10)
    assert [frame.stamp_ns - START_NS for frame in frames] == [n * PERIOD_NS for n in range(10)]
    assert here.clock.now_ns() == START_NS + 9 * PERIOD_NS
    for n, frame in enumerate(frames):
        assert (frame.encoding, frame.width, frame.height) == ("bgr8", 320, 240)
        assert np.abs(frame.image.astype(int) - picture(320, 240, 4 * n)).mean() < 3
        assert frame.problem() is None


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "nv12"])
def test_every_encoding_shows_the_same(
    video: Path, here: DriverPort, encoding: PixelEncoding
) -> None:
    (frame,) = play(video, here, 1, encoding=encoding)
    assert frame.problem() is None
    blue, green, red = picture(320, 240)[10, 300]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    shown = frame.image[10, 300]
    wanted = {
        "rgb8": (red, green, blue),
        "mono8": grey,
        "nv12": 16 + grey * 219 / 255,  # BT.601, limited range, as the kernels read it
    }
    assert np.abs(np.asarray(shown, float) - np.asarray(wanted[encoding], float)).max() < 5


def test_as_soon_as_possible_nobody_waits(video: Path, here: DriverPort) -> None:
    frames = play(video, here, 10, pace="asap")
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [PERIOD_NS] * 9
    assert here.clock.now_ns() == START_NS


def test_a_repeated_recording_goes_on_in_step(video: Path, here: DriverPort) -> None:
    frames = play(video, here, 26, repeat=True)
    assert len(frames) >= 23
    assert set(np.diff([frame.stamp_ns for frame in frames])) == {PERIOD_NS}
    assert here.counters["recording_ended"] == 2
    assert here.counters[RECONNECTS] == 0


def test_the_end_is_a_silent_camera_that_comes_back_with_another_file(
    video: Path, here: DriverPort, tmp_path: Path
) -> None:
    with open_camera(options(video), here) as messages:
        assert len(whole(messages)) == 10
        assert [next(messages) for _ in range(3)] == [None] * 3
        assert here.clock.now_ns() > START_NS + NS_PER_S
        os.replace(write_video(tmp_path / "b.mp4", 5, (640, 480)), video)
        again = next(one for one in itertools.islice(messages, 5) if one is not None)
        assert (again.width, again.stamp_ns) == (640, here.clock.now_ns())
        assert len(whole(messages)) == 4
    assert here.counters[RECONNECTS] == 1


def test_a_recording_that_is_not_there_yet_is_waited_for(
    video: Path, here: DriverPort, tmp_path: Path
) -> None:
    later = tmp_path / "later.mp4"
    with open_camera(options(later), here) as messages:
        assert [next(messages) for _ in range(2)] == [None, None]
        os.replace(video, later)
        assert next(one for one in messages if one is not None).width == 320


def test_damage_is_counted_and_takes_along_only_what_is_predicted_from_it(
    tmp_path: Path, here: DriverPort
) -> None:
    path = write_video(tmp_path / "a.ts", 20, container_format="mpegts")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 900] = np.random.default_rng(1).bytes(900)
    path.write_bytes(data)
    frames = play(path, here, 20)
    assert 8 <= len(frames) < 20
    assert here.counters["damaged_frames"] > 0
    for frame in frames:
        n = round((float(frame.image[0, 0].mean()) - float(picture(320, 240)[0, 0].mean())) / 4)
        assert np.abs(frame.image.astype(int) - picture(320, 240, 4 * n)).mean() < 4


def test_a_cut_file_ends_where_it_was_cut(tmp_path: Path, here: DriverPort) -> None:
    path = write_video(tmp_path / "a.ts", container_format="mpegts")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = play(path, here, 12)
    assert 2 <= len(frames) < 10


@pytest.mark.parametrize(
    "content", [b"", b"no video at all" * 99, b"\0\0\0\x18ftypmp42" + bytes(99)]
)
def test_a_file_that_is_no_video_is_an_error_at_start(
    tmp_path: Path, here: DriverPort, content: bytes
) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(RecordingError, match=r"recording .*a.mp4: expected a? ?video"):
        open_camera(options(tmp_path / "a.mp4"), here)


def test_a_rig_that_says_otherwise_than_the_file_is_an_error_at_start(
    video: Path, here: DriverPort, tmp_path: Path
) -> None:
    with pytest.raises(DriverError, match=r"expected width 1280, got 320 in .*a.mp4"):
        open_camera(options(video, width=1280), here)
    with pytest.raises(
        DriverError, match=r"expected a video file, got the folder .*; for a folder"
    ):
        open_camera(options(tmp_path), here)


def test_odd_sizes_cannot_be_nv12(here: DriverPort, tmp_path: Path) -> None:
    odd = write_video(tmp_path / "odd.mkv", size=(101, 75), codec="ffv1")
    with pytest.raises(DriverError, match="expected even sizes to make nv12 of, got width 101 in"):
        open_camera(options(odd, encoding="nv12"), here)
    (frame,) = play(odd, here, 1)
    assert (frame.width, frame.height) == (101, 75)


def test_without_pyav_the_rig_is_refused_with_the_way_out(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r'expected PyAV to be there; pip install "fusion_rt\[sen'):
        options(video)


def test_endless_and_unpaced_at_once_is_refused(video: Path) -> None:
    with pytest.raises(ValueError, match="expected pace recorded with repeat, got asap"):
        options(video, repeat=True, pace="asap")


def test_the_driver_is_called_file() -> None:
    assert find_driver("file", "camera").options is CameraRecording
