import hashlib
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fusion_rt.lidar.cloud import lost_packets
from fusion_rt.lidar.crc64 import find_crc64
from fusion_rt.lidar.ouster import OusterDecoder, beam_tables
from fusion_rt.lidar.ouster_metadata import read_metadata
from fusion_rt.lidar.ouster_packet import PROFILES, PacketLayout
from tests.lidar_packets import ouster_packets, ouster_unit, turn_of
from tests.lidar_recordings import recorded, turns, xyz

DIGESTED = ["OS-0-32-U1_v2.2.0_1024x10", "OS-2-32-U0_v2.0.0_1024x10"]
DUAL = "RNG19_RFL8_SIG16_NIR16_DUAL"
SINGLE = "RNG19_RFL8_SIG16_NIR16"


def md5(array: Any, kind: str) -> str:
    return hashlib.md5(np.ascontiguousarray(array.astype(kind)).tobytes()).hexdigest()


def recorded_frame(name: str) -> tuple[OusterDecoder, np.ndarray[Any, Any]]:
    """A decoder and the (packets,) structured array of the only frame of a recording."""
    decoder = OusterDecoder(read_metadata(recorded("ouster", f"{name}.json")))
    (turn,) = turns(recorded("ouster", f"{name}.pcap"), decoder)
    return decoder, np.frombuffer(b"".join(turn.packets), decoder.layout.packet)


@pytest.mark.parametrize("name", DIGESTED)
def test_every_field_of_the_recorded_packets_has_the_known_digest(name: str) -> None:
    known = json.loads(recorded("ouster", f"{name}_digest.json").read_text())["packet_hash"]
    decoder, data = recorded_frame(name)
    columns = data["columns"]
    absent = np.zeros(columns.shape)  # only LEGACY columns carry these
    kinds = {"TIMESTAMP": "u8", "STATUS": "u4", "MEASUREMENT_ID": "u2"}
    found = {field: md5(columns[field], kind) for field, kind in kinds.items()}
    for field, kind in (("ENCODER_COUNT", "u4"), ("FRAME_ID", "u2")):
        values = columns[field] if field in (columns.dtype.names or ()) else absent
        found[field] = md5(values, kind)
    for field in set(known) - set(found):
        values = decoder.layout.field(data, field).swapaxes(1, 2)
        found[field] = md5(values, values.dtype.str)
    assert found == known


@pytest.mark.parametrize("name", DIGESTED)
def test_every_field_of_the_recorded_frame_has_the_known_digest(name: str) -> None:
    (known,) = json.loads(recorded("ouster", f"{name}_digest.json").read_text())["scans"]
    decoder, data = recorded_frame(name)
    for field in set(known) & set(decoder.layout.fields):
        image = decoder.layout.field(data, field).reshape(1024, -1).T
        assert md5(image, image.dtype.str) == known[field], field


def test_a_low_bandwidth_recording_gives_three_whole_frames() -> None:
    decoder = OusterDecoder(read_metadata(recorded("ouster", "OS-1-128_v2.3.0_1024x10.json")))
    counters: Counter[str] = Counter()
    path = recorded("ouster", "OS-1-128_v2.3.0_1024x10_lb_n3.pcap")
    clouds = [decoder.decode(turn) for turn in turns(path, decoder, counters)]
    assert [len(cloud.ring) for cloud in clouds if cloud] == [107_647, 107_357, 107_532]
    assert counters == {"packets": 192, "foreign_packets": 30}


def test_checksums_of_a_recording_hold_and_catch_a_changed_byte() -> None:
    if find_crc64() is None:
        pytest.skip("no liblzma here")
    decoder = OusterDecoder(read_metadata(recorded("ouster", "crc_test.json")))
    counters: Counter[str] = Counter()
    turn, _ = turns(recorded("ouster", "crc_test.pcap"), decoder, counters)
    assert counters["corrupt_packets"] == 0
    changed = bytearray(turn.packets[0])
    changed[4000] ^= 1
    assert decoder.problem(bytes(changed)) == "corrupt_packets"


def test_fragments_and_aliens_of_recordings() -> None:
    counters: Counter[str] = Counter()
    decoder = OusterDecoder(read_metadata(recorded("ouster", "duplicate_id.json")))
    turns(recorded("ouster", "duplicate_id.pcap"), decoder, counters)
    assert counters == {"packets": 1}
    turns(recorded("ouster", "VLI-16-one-packet.pcap"), decoder, counters)
    assert counters == {"packets": 1, "foreign_packets": 1}


@pytest.mark.parametrize("profile", PROFILES)
def test_returns_lie_on_their_beams(profile: str) -> None:
    unit = ouster_unit(profile)
    packets = ouster_packets(unit, 1)
    decoder = OusterDecoder(unit)
    assert {decoder.problem(packet) for packet in packets} == {None}
    cloud = decoder.decode(turn_of(packets))
    data = np.frombuffer(b"".join(packets), decoder.layout.packet)
    vector, origin_m = beam_tables(unit)
    expected = []
    for field in ("RANGE", "RANGE2"):
        if field in decoder.layout.fields:
            range_m = decoder.layout.field(data, field).ravel() / 1000
            expected.append((vector * range_m + origin_m).T[range_m > 0])
    assert cloud is not None
    points = np.concatenate(expected)
    assert xyz(cloud) == pytest.approx(points, rel=1e-5, abs=1e-3)
    assert cloud.dt_s.min() == pytest.approx(-0.1 * 63 / 64, abs=1e-6)
    assert cloud.dt_s.max() == 0


def test_a_beam_leaves_where_the_manual_says() -> None:
    unit = msgspec.structs.replace(
        ouster_unit(SINGLE), altitude_rad=(0.0,), azimuth_rad=(0.0,), beam_m=(0.015, 0.0)
    )
    vector, origin_m = beam_tables(unit)
    # Column 0 looks along x of the lidar frame, which is -x of the sensor's.
    assert vector[:, 0] == pytest.approx([-1, 0, 0], abs=1e-6)
    assert origin_m[:, 0] == pytest.approx([0, 0, 0.036], abs=1e-6)
    assert vector[:, 16] == pytest.approx([0, 1, 0], abs=1e-6)  # a quarter on, clockwise


def test_the_frame_number_tells_lost_packets_even_across_frames() -> None:
    unit = ouster_unit(DUAL)
    decoder, packets = OusterDecoder(unit), ouster_packets(unit, 6)
    numbers = decoder.numbers(packets[:2] + packets[3:9] + packets[11:])
    assert lost_packets(numbers, decoder.number_modulus) == 3


def test_a_window_of_columns_loses_nothing() -> None:
    unit = msgspec.structs.replace(ouster_unit(DUAL), window=(48, 15))
    packets = [packet for n, packet in enumerate(ouster_packets(unit, 6)) if n % 4 in (0, 3)]
    decoder = OusterDecoder(unit)
    assert lost_packets(decoder.numbers(packets), decoder.number_modulus) == 0


def test_columns_marked_invalid_give_no_points() -> None:
    unit = ouster_unit(SINGLE)
    (packet, *_) = ouster_packets(unit, 1)
    layout = PacketLayout(unit)
    marked = bytearray(packet)
    marked[layout.head_bytes + 10 : layout.head_bytes + 12] = b"\0\0"
    decoder = OusterDecoder(unit)
    whole, less = decoder.decode(turn_of([packet])), decoder.decode(turn_of([bytes(marked)]))
    assert whole is not None
    assert less is not None
    assert len(whole.ring) - len(less.ring) == layout.beams


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda packet: packet[:-1], "foreign_packets"),
        (lambda packet: b"\2" + packet[1:], "foreign_packets"),
        (lambda packet: packet[:40] + b"\xff\xff" + packet[42:], "corrupt_packets"),
        (lambda packet: packet[:7] + b"\1" + packet[8:], "foreign_packets"),
        (lambda packet: packet, None),
    ],
)
def test_packets_are_checked(change: Any, problem: str | None) -> None:
    unit = msgspec.structs.replace(ouster_unit(SINGLE), serial=1234)
    (packet, *_) = ouster_packets(unit, 1)
    own = packet[:7] + struct.pack("<Q", unit.serial)[:5] + packet[12:]
    assert OusterDecoder(unit).problem(change(own)) == problem


METADATA = {
    "beam_altitude_angles": [1.0, -1.0],
    "beam_azimuth_angles": [0.0, 0.0],
    "lidar_mode": "512x10",
}


def test_first_generation_metadata_needs_only_angles_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "unit.json"
    path.write_text(json.dumps(METADATA))
    unit = read_metadata(path)
    assert (unit.profile, unit.columns, unit.columns_per_packet) == ("LEGACY", 512, 16)
    assert unit.beam_m == (pytest.approx(0.012163), 0.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"beam_azimuth_angles": [0.0]},
            "expected as many altitude as azimuth angles, got 2 and 1",
        ),
        ({"lidar_mode": "fast"}, 'expected columns_per_frame, or lidar_mode .*got "fast"'),
        ({"data_format": {"columns_per_packet": 9}}, "expected whole packets per turn"),
        ({"data_format": {"column_window": [0, 600]}}, r"expected column_window in 0\.\.511"),
        ({"beam_altitude_angles": "up"}, "expected the metadata of an Ouster sensor"),
    ],
)
def test_bad_metadata_is_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = tmp_path / "unit.json"
    path.write_text(json.dumps({**METADATA, **change}))
    with pytest.raises(ValueError, match=f"unit.json: {sentence}"):
        read_metadata(path)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match=r'expected a profile we know \(LEGACY, .*got "RNG99"'):
        OusterDecoder(ouster_unit("RNG99"))
