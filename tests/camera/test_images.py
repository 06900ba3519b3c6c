import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort
from fusion_rt.errors import DriverError, RecordingError
from fusion_rt.messages import CameraFrame
from tests.camera.fake_camera import picture
from tests.gnss.ports import START_NS, port

pytest.importorskip("av")
pytest.importorskip("simplejpeg")
import simplejpeg

from fusion_rt.camera.picture_list import pictures, read_timestamps
from fusion_rt.drivers.images import ImagesOptions, open_camera
from tests.camera.videos import write_png

SHARED = Path(__file__).parents[3] / "shared/data"


@pytest.fixture
def here() -> DriverPort:
    return port("camera/front")


def write_jpeg(path: Path, seed: int = 0) -> Path:
    path.write_bytes(simplejpeg.encode_jpeg(picture(64, 48, seed), 95, "BGR"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three JPEGs whose names sort otherwise as text."""
    made = tmp_path / "data"
    made.mkdir()
    for n in (2, 10, 9):
        write_jpeg(made / f"frame{n}.jpg", seed=n)
    (made / "Thumbs.db").write_bytes(b"no picture")
    return made


def options(path: Path, **more: object) -> ImagesOptions:
    return ImagesOptions(driver="images", path=str(path), **more)


def whole(messages: Iterator[CameraFrame | None], here: DriverPort) -> list[CameraFrame]:
    """Up to the next end of the folder."""
    ended, frames = here.counters["recording_ended"], []
    while here.counters["recording_ended"] == ended:
        frames.append(next(messages))
    return [one for one in frames if one is not None]


def play(path: Path, here: DriverPort, **more: object) -> list[CameraFrame]:
    with open_camera(options(path, **more), here) as messages:
        return whole(messages, here)


def test_numbered_pictures_come_in_order_at_the_rate_of_the_rig(
    folder: Path, here: DriverPort
) -> None:
    frames = play(folder, here, rate_hz=20)
    step_ns = 50 * NS_PER_MS
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, step_ns, 2 * step_ns]
    for frame, seed in zip(frames, (2, 9, 10), strict=True):
        assert np.abs(frame.image.astype(int) - picture(64, 48, seed)).mean() < 2


@pytest.mark.parametrize(
    ("lines", "steps_ms"),
    [
        # KITTI raw
        (["2011-09-26 13:02:25.951199337", "2011-09-26 13:02:25.954", "2011-09-26 13:02:26"], None),
        # KITTI odometry
        (["0.000000e+00", "1.036224e-01", "2.072500e-01"], (103.6224, 103.6276)),
        # EuRoC
        (
            [
                "#timestamp [ns],filename",
                "1403636579763555584,frame10.jpg",
                "1403636579813555456,frame2.jpg",
                "1403636579963555584,frame9.jpg",
            ],
            (49.999872, 150.000128),
        ),
        # TUM RGB-D
        (
            [
                "# color images",
                "1305031102.175304 data/frame2.jpg",
                "1305031102.275326 data/frame9.jpg",
            ],
            (100.022,),
        ),
        (["1403636579763555", "1403636579813555", "1403636579963555"], (50, 150)),
        (["1403636579763", "1403636579813", "1403636579963"], (50, 150)),
        (["5", "6", "8"], (1000, 2000)),
    ],
)
def test_the_usual_lists_of_times_are_understood(
    folder: Path, here: DriverPort, lines: list[str], steps_ms: tuple[float, ...] | None
) -> None:
    (folder.parent / "times.txt").write_text("\n".join(lines) + "\n")
    frames = play(folder, here, timestamps=str(folder.parent / "times.txt"))
    steps = np.diff([frame.stamp_ns for frame in frames]) / NS_PER_MS
    assert steps == pytest.approx(steps_ms or (2.800663, 46), abs=1e-6)
    assert frames[0].stamp_ns == START_NS


def test_lists_that_name_pictures_give_their_order(folder: Path) -> None:
    times = folder.parent / "data.csv"
    times.write_text("3.0,frame2.jpg\n1.0,frame9.jpg\n2.0,frame10.jpg\n")
    found = pictures(folder, times)
    assert [one.path.name for one in found] == ["frame9.jpg", "frame10.jpg", "frame2.jpg"]
    assert [one.time_ns for one in found] == [NS_PER_S, 2 * NS_PER_S, 3 * NS_PER_S]


def test_unpaced_pictures_keep_their_recorded_times(folder: Path, here: DriverPort) -> None:
    (folder.parent / "times.txt").write_text("1305031102.1\n1305031102.2\n1305031102.3\n")
    frames = play(folder, here, timestamps=str(folder.parent / "times.txt"), pace="asap")
    stamps = [1_305_031_102_100_000_000 + n * 100 * NS_PER_MS for n in range(3)]
    assert [frame.stamp_ns for frame in frames] == stamps
    assert here.clock.now_ns() <= START_NS + READ_DEADLINE_NS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0\n2.0\n", "expected as many times as pictures, 2 times in times.txt for 3"),
        ("1.0\nsoon\n2\n", "expected a time in the first column, got 'soon' in line 2"),
        ("1e400\n2\n3\n", "expected a time in the first column, got '1e400' in line 1"),
        ("2011-99-99 13:02:25\n2\n3\n", "expected a time in the first column, got '2011-99-99"),
    ],
)
def test_a_list_that_does_not_fit_is_an_error_at_start(
    folder: Path, here: DriverPort, text: str, expected: str
) -> None:
    (folder.parent / "times.txt").write_text(text)
    with pytest.raises(RecordingError, match=expected):
        open_camera(options(folder, timestamps=str(folder.parent / "times.txt")), here)


def test_garbage_for_a_list_of_times_is_refused_not_raised_over(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        (tmp_path / "times").write_bytes(random.bytes(60).replace(b"#", b"1"))
        try:
            assert all(0 <= time < 2**63 for time, _ in read_timestamps(tmp_path / "times"))
        except RecordingError:
            continue


def test_pictures_of_other_formats_are_read_too(tmp_path: Path, here: DriverPort) -> None:
    write_png(tmp_path / "1.png", picture(64, 48))
    write_png(tmp_path / "2.png", picture(64, 48)[..., 1].copy())
    colour, grey = play(tmp_path, here)
    assert np.array_equal(colour.image, picture(64, 48))
    assert np.ptp(grey.image, axis=2).max() == 0
    assert np.abs(grey.image[..., 0].astype(int) - picture(64, 48)[..., 1]).max() <= 1


def test_jpegs_are_passed_on_undecoded_when_asked(folder: Path, here: DriverPort) -> None:
    first, *_ = play(folder, here, encoding="jpeg")
    assert first.image.tobytes() == (folder / "frame2.jpg").read_bytes()
    write_png(folder / "x.png", picture(64, 48))
    with pytest.raises(DriverError, match=r"expected JPEGs, .*, got x.png; leave encoding out"):
        open_camera(options(folder, encoding="jpeg"), here)


def test_damaged_and_missing_pictures_are_counted(folder: Path, here: DriverPort) -> None:
    whole_png = write_png(folder / "frame3.png", picture(64, 48)).read_bytes()
    damaged = bytearray(whole_png)
    damaged[len(damaged) // 2] ^= 1
    (folder / "frame1.png").write_bytes(damaged)
    (folder / "frame9.jpg").write_bytes((folder / "frame9.jpg").read_bytes()[:400])
    (folder / "frame10.jpg").write_bytes(b"")
    (folder.parent / "list").write_text(
        "".join(f"{n} {name}\n" for n, name in enumerate(sorted(os.listdir(folder))))
        + "9 gone.jpg\n"
    )
    frames = play(folder, here, timestamps=str(folder.parent / "list"))
    assert len(frames) == 2
    assert here.counters["missing_pictures"] == 1
    assert here.counters["damaged_frames"] == 4  # with Thumbs.db


def test_the_end_is_a_silent_camera_until_more_pictures_come(
    folder: Path, here: DriverPort
) -> None:
    with open_camera(options(folder), here) as messages:
        assert len(whole(messages, here)) == 3
        assert [next(messages) for _ in range(3)] == [None] * 3
        write_jpeg(folder / "frame11.jpg", seed=11)
        (more,) = whole(messages, here)
        assert np.abs(more.image.astype(int) - picture(64, 48, 11)).mean() < 2


def test_a_repeated_folder_goes_on_in_step(folder: Path, here: DriverPort) -> None:
    with open_camera(options(folder, repeat=True, rate_hz=10), here) as messages:
        frames = [one for one in itertools.islice(messages, 12) if one is not None]
    assert set(np.diff([frame.stamp_ns for frame in frames])) == {NS_PER_S // 10}


def test_a_repeated_folder_of_nothing_but_damage_does_not_spin(
    folder: Path, here: DriverPort
) -> None:
    for path in folder.glob("*.jpg"):
        path.write_bytes(b"\xff\xd8")
    with open_camera(options(folder, repeat=True), here) as messages:
        assert [next(messages) for _ in range(4)] == [None] * 4
    assert here.counters["damaged_frames"] == 3


def test_a_folder_that_is_removed_and_comes_back_is_played_again(
    folder: Path, here: DriverPort
) -> None:
    with open_camera(options(folder, repeat=True), here) as messages:
        assert next(messages) is not None
        folder.rename(folder.parent / "away")
        while next(messages) is not None:
            pass
        assert [next(messages) for _ in range(3)] == [None] * 3
        (folder.parent / "away").rename(folder)
        assert next(one for one in itertools.islice(messages, 5) if one is not None)


def test_what_is_no_folder_of_pictures_is_an_error_at_start(
    folder: Path, here: DriverPort, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=r"expected pictures \(\.bmp .*\), found none"):
        open_camera(options(tmp_path / "empty"), here)
    with pytest.raises(DriverError, match=r"expected a folder, got the file .*; for a video file"):
        open_camera(options(folder / "frame2.jpg"), here)
    with pytest.raises(ValueError, match="expected pace recorded with repeat, got asap"):
        options(folder, repeat=True, pace="asap")


@pytest.mark.skipif(not SHARED.exists(), reason=f"no recordings in {SHARED}")
def test_real_pictures_are_decoded(here: DriverPort) -> None:
    frames = play(SHARED / "kitti/training/image_2", here)
    assert [re.sub(r"\D", "", str((one.width, one.height))) for one in frames] == ["1224370"]
    assert here.counters["other_size"] == 1  # the two come from different drives
    nuscenes = play(SHARED / "nuscenes", port("camera/front"))
    assert [(one.width, one.height) for one in nuscenes] == [(1600, 900)] * 6
    chessboard = play(SHARED / "calibration/chessboard_1920x1200", port("camera/front"))
    assert len(chessboard) == 6
