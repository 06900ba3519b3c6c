import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fusion_rt.lidar.hdl64 import read_calibration
from fusion_rt.lidar.velodyne import VelodyneDecoder
from fusion_rt.lidar.velodyne_models import MODELS
from tests.lidar_packets import turn_of, velodyne_packets
from tests.lidar_recordings import distances_m, read_pcd, recorded, turns, xyz

THEIR_NAMES = {
    "VLP-16": "VLP16",
    "Puck-Hi-Res": "PuckHiRes",
    "VLP-32C": "VLP32C",
    "HDL-32E": "HDL32E",
    "HDL-64E-S2": "HDL64E_S2",
    "HDL-64E-S3": "HDL64E_S3",
    "VLS-128": "VLS128",
}


def velodyne_decoder() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("velodyne_decoder")


def oracle(model: str, calibration: Path, packets: list[bytes]) -> Any:
    """What another decoder makes of the packets: x, y, z, intensity, time, column, ring, ..."""
    theirs = velodyne_decoder()
    known = theirs.Calibration.read(str(calibration))
    config = theirs.Config(
        model=getattr(theirs.Model, THEIR_NAMES[model]), calibration=known, max_range=1000
    )
    scan = theirs.PacketVector([theirs.VelodynePacket(0.0, packet) for packet in packets])
    _, points = theirs.ScanDecoder(config).decode(scan)
    return points


def calibration_file(path: Path, model: str) -> Path:
    """The angles of a model, which another decoder corrects by millimetres; any for an HDL-64E."""
    made = MODELS[model]
    rng = np.random.default_rng(3)
    lasers: list[dict[str, float]] = [
        {
            "laser_id": laser,
            "vert_correction": math.radians(elevation_deg),
            "rot_correction": -math.radians(azimuth_deg),
        }
        for laser, (elevation_deg, azimuth_deg) in enumerate(
            zip(made.elevation_deg, made.azimuth_deg, strict=True)
        )
    ]
    for laser in range(0 if lasers else 64):
        entry = {
            "laser_id": laser,
            "vert_correction": -0.43 + 0.0073 * (laser * 17 % 64),
            "rot_correction": rng.uniform(-0.09, 0.09),
            "dist_correction": rng.uniform(1.0, 1.5),
            "dist_correction_x": rng.uniform(1.0, 1.5),
            "dist_correction_y": rng.uniform(1.0, 1.5),
            "vert_offset_correction": rng.uniform(0.1, 0.2),
            "horiz_offset_correction": 0.026 * (-1) ** laser,
            "focal_distance": rng.uniform(5, 20),
            "focal_slope": rng.uniform(1, 2),
            "min_intensity": 10,
            "max_intensity": 240,
        }
        lasers.append(entry)
    tree = {"distance_resolution": made.range_unit_m, "num_lasers": made.lasers, "lasers": lasers}
    path.write_text(yaml.safe_dump(tree))
    return path


def in_one_order(range_m: Any, ring: Any, time_s: Any) -> Any:
    """Two decoders list the two returns of a shot in different orders."""
    return np.lexsort((range_m, time_s, ring))


@pytest.mark.parametrize("is_dual", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_decodes_as_another_decoder_does(
    model: str, is_dual: bool, tmp_path: Path
) -> None:
    packets = velodyne_packets(model, 24, is_dual=is_dual)
    path = calibration_file(tmp_path / "unit.yaml", model)
    decoder = VelodyneDecoder(model, *read_calibration(path, MODELS[model].lasers))
    cloud = decoder.decode(turn_of(packets))
    theirs = oracle(model, path, packets)
    assert cloud is not None
    assert len(cloud.ring) == len(theirs)
    ours = xyz(cloud)
    our_order = in_one_order(np.linalg.norm(ours, axis=1), cloud.ring, cloud.dt_s)
    range_m = np.linalg.norm(theirs[:, :3], axis=1)
    order = in_one_order(range_m, theirs[:, 6] % 512, theirs[:, 4])
    assert (cloud.ring[our_order] == theirs[order, 6] % 512).all()
    assert cloud.intensity[our_order] == pytest.approx(theirs[order, 3] / 255, abs=1e-3)
    error_m = np.linalg.norm(ours[our_order] - theirs[order, :3], axis=1)
    # Their VLS-128 does not know in the first packet how fast it turns.
    is_known = theirs[order, 4] > theirs[:, 4].min() + 2e-4
    off_rad = 4e-4 if model == "VLS-128" else 2e-4  # they round to 0.01 degrees
    assert (error_m < off_rad * range_m[order] + 1e-3)[is_known].all()
    since = theirs[order, 4] - theirs[order[0], 4]
    within_s = 2e-5 if model == "VLS-128" else 1e-6  # the manual and they disagree on its cycle
    assert cloud.dt_s[our_order] - cloud.dt_s[our_order[0]] == pytest.approx(since, abs=within_s)


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("VLP-16", "VLP-16.yml"),
        ("Puck-Hi-Res", "Puck Hi-Res.yml"),
        ("VLP-32C", "VLP-32C.yml"),
        ("HDL-32E", "HDL-32E.yml"),
        ("VLS-128", "Alpha Prime.yml"),
    ],
)
def test_the_angles_are_those_another_decoder_knows(model: str, file: str) -> None:
    path = Path(velodyne_decoder().__file__).parent / "calibrations" / file
    lasers, _ = read_calibration(path, MODELS[model].lasers)
    made = MODELS[model]
    assert np.degrees(lasers.elevation_rad) == pytest.approx(made.elevation_deg, abs=0.005)
    assert np.degrees(lasers.azimuth_rad) == pytest.approx(made.azimuth_deg, abs=0.005)


@pytest.mark.parametrize("is_dual", [False, True])
@pytest.mark.parametrize("model", [model for model in MODELS if not model.startswith("HDL-64")])
def test_time_runs_back_from_the_last_firing(model: str, is_dual: bool) -> None:
    packets = velodyne_packets(model, 10, is_dual=is_dual)
    decoder = VelodyneDecoder(model)
    cloud = decoder.decode(turn_of(packets))
    assert cloud is not None
    assert cloud.dt_s.max() == 0
    assert cloud.end_ns == decoder.device_times(packets)[-1]
    assert cloud.dt_s[0] == pytest.approx((5_000_000_000 - cloud.end_ns) / 1e9, abs=1e-5)


def test_the_recorded_cloud_is_met() -> None:
    path = recorded("nebula", "vlp16", "1673400471837873222")
    reference = read_pcd(recorded("nebula", "vlp16", "1673400472138016708.pcd"))
    decoder = VelodyneDecoder("VLP-16")
    cloud = decoder.decode(turns(path, decoder)[3])
    assert cloud is not None
    assert len(cloud.ring) == pytest.approx(len(reference), rel=0.01)
    for error_m in (distances_m(xyz(cloud), reference), distances_m(reference, xyz(cloud))):
        assert np.median(error_m) <= 0.001
        assert np.percentile(error_m, 95) <= 0.015


def test_the_calibration_file_of_a_recording_says_what_the_manual_says() -> None:
    path = recorded("nebula", "calibration", "VLP16.yaml")
    lasers, correction = read_calibration(path, 16)
    assert correction is None
    assert np.degrees(lasers.elevation_rad) == pytest.approx(MODELS["VLP-16"].elevation_deg)


def test_the_hour_turns_within_a_sweep() -> None:
    packets = velodyne_packets("VLP-16", 10, start_us=3_599_995_000)
    cloud = VelodyneDecoder("VLP-16").decode(turn_of(packets))
    assert cloud is not None
    assert cloud.corrupt == 0
    assert -0.03 < cloud.dt_s.min() < -0.01


def test_a_shot_with_one_surface_gives_one_point() -> None:
    (packet,) = velodyne_packets("VLP-16", 1, is_dual=True)
    alike = bytearray(packet)
    for block in range(0, 12, 2):
        alike[100 * block + 100 : 100 * block + 200] = alike[100 * block : 100 * block + 100]
    decoder = VelodyneDecoder("VLP-16")
    both, one = decoder.decode(turn_of([packet])), decoder.decode(turn_of([bytes(alike)]))
    assert both is not None
    assert one is not None
    assert (len(both.ring), len(one.ring)) == (384, 192)


def test_near_returns_are_left_out_on_request() -> None:
    packets = velodyne_packets("VLP-16", 4)
    cloud = VelodyneDecoder("VLP-16", least_range_m=4.0).decode(turn_of(packets))
    assert cloud is not None
    assert 0 < len(cloud.ring) < 4 * 384
    assert np.linalg.norm(xyz(cloud), axis=1).min() >= 3.9999


def test_a_packet_from_another_time_is_left_out_and_counted() -> None:
    packets = velodyne_packets("VLP-16", 9)
    packets[4] = packets[4][:1200] + b"\0\0\0\x80" + packets[4][1204:]
    cloud = VelodyneDecoder("VLP-16").decode(turn_of(packets))
    assert cloud is not None
    assert (cloud.corrupt, len(cloud.ring)) == (1, 8 * 384)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda packet: packet[:-1], "foreign_packets"),
        (lambda packet: packet + b"\0", "foreign_packets"),
        (lambda packet: b"\0\0" + packet[2:], "corrupt_packets"),
        (lambda packet: packet[:1102] + b"\xa0\x8c" + packet[1104:], "corrupt_packets"),
        (lambda packet: packet[:-1] + b"\x28", "wrong_model"),
        (lambda packet: packet, None),
    ],
)
def test_packets_are_checked(change: Any, problem: str | None) -> None:
    (packet,) = velodyne_packets("VLP-16", 1)
    assert VelodyneDecoder("VLP-16").problem(change(packet)) == problem


def test_a_calibration_of_too_few_lasers_is_refused(tmp_path: Path) -> None:
    path = calibration_file(tmp_path / "unit.yaml", "HDL-64E-S3")
    with pytest.raises(ValueError, match=r"unit.yaml: expected lasers 0 to 31, got 64 entries"):
        read_calibration(path, 32)


def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "unit.yaml"
    path.write_text("lasers: [{laser_id: 0, vert_correction: up}]")
    with pytest.raises(ValueError, match=r"unit.yaml: expected `lasers:` with angles .*\$.lasers"):
        read_calibration(path, 16)
