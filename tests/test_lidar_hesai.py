from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_rt.lidar.cloud import lost_packets
from fusion_rt.lidar.hesai import HesaiDecoder, read_angles
from fusion_rt.lidar.hesai_models import MODELS
from tests.fuzz.lidar_packets import any_lasers
from tests.lidar_packets import UTC_S, hesai_packets, turn_of
from tests.lidar_recordings import distances_m, read_pcd, recorded, turns, xyz

SINGLE, DUAL, TRIPLE = 0x37, 0x39, 0x3D


def decoder_of(model: str) -> HesaiDecoder:
    return HesaiDecoder(model, any_lasers(MODELS[model].lasers))


@pytest.mark.parametrize(
    ("model", "folder", "packets", "cloud", "index"),
    [
        ("Pandar40P", "40p", "1673400149412331409", "1673400149711850138", 2),
        ("QT64", "qt64", "1673401195788312575", "1673401196087570870", 2),
        ("XT32", "xt32", "1673400677802009732", "1673400678101968885", 3),
    ],
)
def test_the_recorded_cloud_is_met(
    model: str, folder: str, packets: str, cloud: str, index: int
) -> None:
    prefix = "" if model == "Pandar40P" else "Pandar"
    angles = read_angles(
        recorded("nebula", "calibration", f"{prefix}{model}.csv"), MODELS[model].lasers
    )
    maker_xyz = read_pcd(recorded("nebula", folder, f"{cloud}.pcd"))
    reference = np.stack([maker_xyz[:, 1], -maker_xyz[:, 0], maker_xyz[:, 2]], axis=1)
    decoder = HesaiDecoder(model, angles)
    found = decoder.decode(turns(recorded("nebula", folder, packets), decoder)[index])
    assert found is not None
    assert len(found.ring) == pytest.approx(len(reference), rel=0.001)
    for error_m in (distances_m(xyz(found), reference), distances_m(reference, xyz(found))):
        assert np.median(error_m) < 1e-4
        assert np.percentile(error_m, 90) < 1e-3  # they cut a packet earlier or later


@pytest.mark.parametrize("mode", [SINGLE, DUAL])
@pytest.mark.parametrize("model", MODELS)
def test_a_return_lies_along_its_beam(model: str, mode: int) -> None:
    packets = hesai_packets(model, 1, mode=mode)
    cloud = decoder_of(model).decode(turn_of(packets))
    made, lasers = MODELS[model], any_lasers(MODELS[model].lasers)
    data = np.frombuffer(packets[0][: made.layout.itemsize], made.layout)[0]["blocks"]
    range_m = data["units"]["range"].ravel() * 0.004
    azimuth_rad = np.radians(np.repeat(data["azimuth"] / 100, made.lasers))
    elevation_rad = np.tile(lasers.elevation_rad, made.blocks)
    expected = np.stack(
        [
            range_m * np.cos(elevation_rad) * np.cos(azimuth_rad),
            -range_m * np.cos(elevation_rad) * np.sin(azimuth_rad),
            range_m * np.sin(elevation_rad),
        ],
        axis=1,
    )
    assert cloud is not None
    assert xyz(cloud) == pytest.approx(expected, abs=1e-4)
    assert (cloud.ring == np.tile(lasers.ring, made.blocks)).all()
    reflectivity = data["units"]["reflectivity"].ravel()
    assert cloud.intensity == pytest.approx(reflectivity / 255, abs=1e-6)


@pytest.mark.parametrize("mode", [SINGLE, DUAL])
@pytest.mark.parametrize("model", MODELS)
def test_time_runs_on_across_packets(model: str, mode: int) -> None:
    packets = hesai_packets(model, 3, mode=mode)
    decoder = decoder_of(model)
    cloud = decoder.decode(turn_of(packets))
    made = MODELS[model]
    shots = made.blocks // (2 if mode == DUAL else 1)
    assert cloud is not None
    first_of_block = cloud.dt_s[:: made.lasers * (made.blocks // shots)]
    steps_us = np.diff(first_of_block) * 1e6
    assert steps_us == pytest.approx([abs(made.block_us)] * (3 * shots - 1), abs=1.5)
    assert cloud.dt_s.max() == 0
    times = decoder.device_times(packets)
    assert abs(times[0] - (UTC_S * 10**9 + 250_000_000)) < 1_000_000
    assert abs(cloud.end_ns - times[-1]) < 1000


def test_three_returns_of_one_shot_fire_at_once() -> None:
    packets = hesai_packets("XT32M", 3, mode=TRIPLE)
    cloud = decoder_of("XT32M").decode(turn_of(packets))
    assert cloud is not None
    times_us = np.round(cloud.dt_s.reshape(18, 32)[:, 0] * 1e6)
    assert times_us.tolist() == np.repeat(np.arange(-5, 1) * 50 + times_us[-1], 3).tolist()


def test_of_equal_returns_of_one_shot_the_last_is_kept() -> None:
    (packet,) = hesai_packets("XT32M", 1, mode=TRIPLE)
    same = bytearray(packet)
    for block in (1, 2):  # as the first
        same[12 + 130 * block : 142 + 130 * block] = same[12:142]
    cloud = decoder_of("XT32M").decode(turn_of([bytes(same)]))
    assert cloud is not None
    assert len(cloud.ring) == (1 + 3) * 32


def test_blocks_of_a_qt128_fire_by_two_loops() -> None:
    cloud = decoder_of("QT128").decode(turn_of(hesai_packets("QT128", 1)))
    assert cloud is not None
    first_us, second_us = (cloud.dt_s.reshape(2, 128) - cloud.dt_s.min()) * 1e6
    # Beams 65 and 97 as the tables of its manual have them: 1.456 and 25.944, then 0.6 and 26.8.
    assert first_us[96] - first_us[64] == pytest.approx(24.488, abs=0.01)
    assert second_us[96] - second_us[64] == pytest.approx(26.2, abs=0.01)
    assert second_us[64] - first_us[64] == pytest.approx(111.11 + 0.6 - 1.456, abs=0.01)


def test_the_year_counts_from_1900_or_from_2000() -> None:
    (packet,) = hesai_packets("XT32", 1)
    decoder = decoder_of("XT32")
    at = 1052 + 13
    younger = packet[:at] + bytes((packet[at] - 100,)) + packet[at + 1 :]
    assert decoder.device_times([younger]) == decoder.device_times([packet])


def test_a_unit_without_a_date_still_orders_its_packets() -> None:
    packets = hesai_packets("XT32", 4)
    at = 1052 + 13
    dateless = [packet[:at] + bytes(6) + packet[at + 6 :] for packet in packets]
    cloud = decoder_of("XT32").decode(turn_of(dateless))
    assert cloud is not None
    assert (len(cloud.ring), cloud.corrupt) == (4 * 256, 0)


def test_the_unit_of_range_is_read_from_the_packet() -> None:
    near = decoder_of("XT32").decode(turn_of(hesai_packets("XT32", 1, unit_mm=2)))
    far = decoder_of("XT32").decode(turn_of(hesai_packets("XT32", 1, unit_mm=4)))
    assert near is not None
    assert far is not None
    assert xyz(near) * 2 == pytest.approx(xyz(far), rel=1e-5)


@pytest.mark.parametrize("model", ["XT16", "XT32", "XT32M"])
def test_lasers_of_an_xt_need_no_file(model: str) -> None:
    cloud = HesaiDecoder(model).decode(turn_of(hesai_packets(model, 1)))
    assert cloud is not None
    lasers = MODELS[model].lasers
    elevation_deg = np.degrees(np.arctan2(cloud.z_m, np.hypot(cloud.x_m, cloud.y_m)))[:lasers]
    assert elevation_deg == pytest.approx(MODELS[model].elevation_deg, abs=1e-3)
    assert cloud.ring[:lasers].tolist() == list(range(lasers))[::-1]


@pytest.mark.parametrize("model", [model for model in MODELS if MODELS[model].number_at])
def test_lost_packets_show_in_the_count(model: str) -> None:
    packets = hesai_packets(model, 20)
    decoder = decoder_of(model)
    numbers = decoder.numbers(packets[:5] + packets[8:])
    assert lost_packets(numbers, decoder.number_modulus) == 3


def test_lost_packets_show_in_the_time_where_there_is_no_count() -> None:
    packets = [packet[:1262] for packet in hesai_packets("Pandar40P", 20)]
    decoder = decoder_of("Pandar40P")
    numbers = decoder.numbers(packets[:5] + packets[8:])
    assert lost_packets(numbers, decoder.number_modulus) == 3


@pytest.mark.parametrize(
    ("model", "change", "problem"),
    [
        ("XT32", lambda packet: packet[:-1], "foreign_packets"),
        ("XT32", lambda packet: b"\0" + packet[1:], "wrong_model"),
        ("XT32", lambda packet: packet[:6] + b"\x10" + packet[7:], "wrong_model"),
        ("XT32", lambda packet: packet[:12] + b"\xff\xff" + packet[14:], "corrupt_packets"),
        ("Pandar40P", lambda packet: b"\0" + packet[1:], "wrong_model"),
        ("Pandar64", lambda packet: packet, None),
    ],
)
def test_packets_are_checked(model: str, change: Any, problem: str | None) -> None:
    (packet,) = hesai_packets(model, 1)
    assert decoder_of(model).problem(change(packet)) == problem


def test_headings_and_check_sums_of_an_angle_file_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "unit.csv"
    path.write_text("EEFF,1,1\nChannel,Elevation,Azimuth\n1,-2,3\n2,4,-5\n9a7c\n")
    lasers = read_angles(path, 2)
    assert np.degrees(lasers.elevation_rad) == pytest.approx([-2, 4])
    assert np.degrees(lasers.azimuth_rad) == pytest.approx([3, -5])
    assert lasers.ring.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Channel,Elevation,Azimuth\n1,2\n", "expected rows of channel, elevation, azimuth"),
        ("Channel,Elevation,Azimuth\n1,2,3\n", "expected channels 1 to 2, got 1 rows"),
        ("Channel,Elevation,Azimuth\n1,nan,3\n2,0,0\n", "expected finite angles"),
    ],
)
def test_a_bad_angle_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "unit.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"unit.csv: {sentence}"):
        read_angles(path, 2)
