import datetime
import struct
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.calibrate.result_file import (
    digest_of,
    made_from,
    read_calibration_file,
    today,
    with_camera,
    with_microphones,
    with_time_offset,
    with_transform,
    write_calibration_file,
)
from fusion_rt.calibrate.signal_file import read_signal
from fusion_rt.calibrate.sweep_file import read_sweep
from fusion_rt.calibration_file import (
    CalibrationFile,
    Made,
    Residuals,
    TimeOffset,
    load_calibration,
)
from fusion_rt.clock import NS_PER_S, SettableClock
from fusion_rt.errors import CalibrationError, ConfigErrors
from fusion_rt.geometry import Fisheye, Pinhole, RigidTransform
from tests.calibrate.real_data import recording

CLOCK = SettableClock(1_790_000_000 * NS_PER_S)
POINTS = np.random.default_rng(0).normal(size=(50, 4)).astype("<f4")
PINHOLE = Pinhole(width=640, height=480, fx_px=500, fy_px=501, cx_px=320, cy_px=240)
FISHEYE = Fisheye(
    width=640, height=480, fx_px=200, fy_px=201, cx_px=320, cy_px=240, distortion=(0.1, 0.0, 0.0, 0)
)


def made(tmp_path: Path) -> Made:
    (tmp_path / "in.txt").write_text("input")
    return made_from("a test", [tmp_path / "in.txt"], CLOCK, Residuals(rms_px=0.25), 90)


def test_results_are_written_and_read_back(tmp_path: Path) -> None:
    target = tmp_path / "car.calibration.yaml"
    pose = RigidTransform.from_yaw(0.3, [1, 2, 0.5])
    file = read_calibration_file(target)
    file = with_camera(file, "camera_front", FISHEYE, made(tmp_path))
    file = with_transform(file, "base", "camera_front", pose, made(tmp_path))
    file = with_transform(file, "base", "audio_array", pose, made(tmp_path))
    file = with_microphones(file, "audio_array", np.eye(3).tolist(), made(tmp_path))
    offset = TimeOffset(against="camera_front", offset_ms=12.5)
    file = with_time_offset(file, "audio_array", offset, made(tmp_path))
    write_calibration_file(file, target)
    loaded = load_calibration(target)
    assert loaded.cameras == {"camera_front": FISHEYE}
    assert loaded.base_from["camera_front"].matrix == pytest.approx(pose.matrix, abs=1e-8)
    assert loaded.microphones_m["audio_array"].tolist() == np.eye(3).tolist()
    assert loaded.time_offsets == {"audio_array": offset}
    record = loaded.provenance.results["cameras.camera_front"]
    assert record.date == datetime.date(2026, 9, 21) == today(CLOCK)
    assert record.data_sha256 == digest_of([tmp_path / "in.txt"])
    assert record.residuals.rms_px == 0.25
    assert record.valid_days == 90


def test_a_new_place_replaces_the_old_and_its_record(tmp_path: Path) -> None:
    file = read_calibration_file(tmp_path / "none.yaml")
    start = RigidTransform.identity()
    file = with_transform(file, "base", "lidar_top", start, made(tmp_path))
    file = with_transform(file, "base", "camera_front", start, made(tmp_path))
    file = with_transform(file, "lidar_top", "camera_front", start, made(tmp_path))
    assert list(file.transforms) == ["base_from_lidar_top", "lidar_top_from_camera_front"]
    assert "transforms.base_from_camera_front" not in file.provenance.results


def test_a_frame_placed_through_the_other_stays_in_one_tree(tmp_path: Path) -> None:
    pose = RigidTransform.from_yaw(0.3, [1, 2, 0.5])
    file = read_calibration_file(tmp_path / "none.yaml")
    file = with_transform(file, "base", "camera_front", pose, made(tmp_path))
    file = with_transform(file, "camera_front", "lidar_top", pose, made(tmp_path))
    file = with_transform(file, "lidar_top", "camera_front", pose, made(tmp_path))
    write_calibration_file(file, tmp_path / "a.yaml")
    loaded = load_calibration(tmp_path / "a.yaml")
    assert loaded.transform("lidar_top", "camera_front").matrix == pytest.approx(
        pose.matrix, abs=1e-8
    )


def test_a_pinhole_is_told_from_a_fisheye_by_its_model(tmp_path: Path) -> None:
    text = "width: 640, height: 480, fx_px: 500, fy_px: 500, cx_px: 320, cy_px: 240"
    path = tmp_path / "a.yaml"
    path.write_text(
        f"provenance: {{method: x}}\ncameras:\n  a: {{{text}}}\n"
        f"  b: {{model: fisheye, {text}, distortion: [0.1, 0, 0, 0]}}\n"
        "transforms: {base_from_a: {translation_m: [0,0,0], yaw_deg: 0},"
        " base_from_b: {translation_m: [0,0,0], yaw_deg: 0}}\n"
    )
    cameras = load_calibration(path).cameras
    assert isinstance(cameras["a"], Pinhole)
    assert isinstance(cameras["b"], Fisheye)
    path.write_text(path.read_text().replace("0.1, 0, 0, 0", "0.1, 0, 0, 0, 0"))
    with pytest.raises(ConfigErrors, match="distortion: expected 4 for a fisheye, got 5"):
        load_calibration(path)


def test_a_damaged_calibration_file_is_not_overwritten_by_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("provenance: {method: x}\ncamera: {}\n")
    with pytest.raises(ConfigErrors, match="unknown field"):
        read_calibration_file(path)


def pcd(kind: str, body: bytes, count: int = 50) -> bytes:
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n"
        f"COUNT 1 1 1 1\nWIDTH {count}\nHEIGHT 1\nPOINTS {count}\nDATA {kind}\n"
    )
    return header.encode() + body


def literal_lzf(plain: bytes) -> bytes:
    """The simplest valid stream: literal runs only."""
    pieces = [plain[k : k + 32] for k in range(0, len(plain), 32)]
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


def stored_as(kind: str, folder: Path) -> Path:
    columns = np.ascontiguousarray(POINTS.T).tobytes()
    packed = literal_lzf(columns)
    files = {
        "a.pcd": pcd("ascii", "\n".join(" ".join(map(str, row)) for row in POINTS).encode()),
        "b.pcd": pcd("binary", POINTS.tobytes()),
        "c.pcd": pcd("binary_compressed", struct.pack("<II", len(packed), len(columns)) + packed),
        "d.bin": POINTS.tobytes(),
    }
    path = folder / kind
    if kind == "e.npy":
        np.save(path, POINTS)
    else:
        path.write_bytes(files[kind])
    return path


@pytest.mark.parametrize("kind", ["a.pcd", "b.pcd", "c.pcd", "d.bin", "e.npy"])
def test_a_sweep_is_read_however_it_is_stored(kind: str, tmp_path: Path) -> None:
    sweep = read_sweep(stored_as(kind, tmp_path))
    assert sweep.points_m == pytest.approx(POINTS[:, :3], abs=1e-6)
    assert sweep.ring is None
    assert sweep.intensity.min() >= 0
    assert sweep.intensity.max() <= 1


def test_copies_in_compressed_sweeps_are_followed(tmp_path: Path) -> None:
    plain = bytes(4 * 4 * 50)
    body = bytes([0, 0]) + bytes([7 << 5, 255, 0]) * 3 + bytes([7 << 5, 0, 0])
    (tmp_path / "a.pcd").write_bytes(
        pcd("binary_compressed", struct.pack("<II", len(body), len(plain)) + body)
    )
    with pytest.raises(CalibrationError, match="leads nowhere"):
        read_sweep(tmp_path / "a.pcd")
    body = bytes([0, 0]) + bytes([7 << 5, 255, 0]) * 3 + bytes([5 << 5, 0])
    (tmp_path / "a.pcd").write_bytes(
        pcd("binary_compressed", struct.pack("<II", len(body), len(plain)) + body)
    )
    assert read_sweep(tmp_path / "a.pcd").points_m.tolist() == np.zeros((50, 3)).tolist()


def test_a_recorded_compressed_sweep_is_read() -> None:
    sweep = read_sweep(recording("calibration/lidar2camera_ours/1/calib.pcd"))
    assert len(sweep.points_m) == 101_340
    assert sweep.ring is not None
    assert np.unique(sweep.ring).tolist() == list(range(64))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pcd", b"hello", "got a damaged file: no DATA line"),
        ("a.pcd", pcd("binary", b"short"), "got a damaged file"),
        ("a.pcd", pcd("binary_compressed", b"\xff" * 40), "got a damaged file"),
        ("a.pcd", pcd("ascii", b"1 2 3"), "got a damaged file"),
        ("a.pcd", pcd("binary", POINTS.tobytes()).replace(b"x y z", b"a b c"), "fields x, y, z"),
        ("a.pcd", pcd("binary", b"").replace(b"COUNT 1", b"COUNT 3"), "several elements"),
        ("a.bin", b"12345", "got a damaged file"),
        ("a.txt", b"1", "expected .pcd, .bin or .npy, got .txt"),
        ("a.pcd", b"", "got none or more"),
    ],
)
def test_what_is_no_sweep_is_refused(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=words):
        read_sweep(tmp_path / name)


def test_a_missing_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="expected a readable file, got: No such file"):
        read_sweep(tmp_path / "none.pcd")


def test_signals_are_read_in_either_unit(tmp_path: Path) -> None:
    rows = "".join(f"{k * 100_000_000},{k}\n" for k in range(30))
    (tmp_path / "imu.csv").write_text("stamp_ns,value\n" + rows)
    rows = "".join(f"{k / 10},{k}\n" for k in range(30))
    (tmp_path / "gps.csv").write_text("stamp_s,value\n" + rows)
    imu, gps = read_signal(tmp_path / "imu.csv"), read_signal(tmp_path / "gps.csv")
    assert imu.stamps_ns.tolist() == gps.stamps_ns.tolist()
    assert imu.values.tolist() == gps.values.tolist()
    assert (imu.name, gps.name) == ("imu", "gps")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,v\n1,2\n", "expected the header stamp_ns,value, got time,v"),
        ("stamp_ns,value\n1,x\n", "expected numbers, got"),
        ("stamp_ns,value\n", "expected 1 to 5000000 rows, got 1"),
        ("stamp_ns\n1\n2\n", "expected 3 events, got 2"),
    ],
)
def test_what_is_no_signal_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(CalibrationError, match=words):
        read_signal(tmp_path / "a.csv")


def test_a_missing_signal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="expected a table, got"):
        read_signal(tmp_path / "none.csv")


def test_an_empty_file_says_nothing() -> None:
    assert isinstance(read_calibration_file(Path("does/not/exist.yaml")), CalibrationFile)
