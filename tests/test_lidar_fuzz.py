from pathlib import Path

import pytest

from tests.fuzz import lidar_packets as fuzz

PACKETS = 5000


@pytest.mark.parametrize("family", ["velodyne", "hesai", "ouster"])
def test_mutated_packets_never_break_a_decoder(family: str) -> None:
    report = fuzz.fuzz_decoders(family, fuzz.decoders()[family], PACKETS, seed=5)
    assert report.points > 100_000  # many get through to the decoder
    assert sum(report.counted[name] for name in ("foreign_packets", "corrupt_packets")) > 500


def test_mutated_frames_never_break_the_way_to_their_packets() -> None:
    assert fuzz.fuzz_frames(PACKETS, seed=5).points > 500


def test_mutated_recordings_never_break_their_readers(tmp_path: Path) -> None:
    assert fuzz.fuzz_files(PACKETS, 5, tmp_path).points > 500
