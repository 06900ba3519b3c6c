import itertools
import struct
from collections import Counter
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.packets.datagram import Datagram, RecordingError
from fusion_rt.packets.recording import Player, check_recording
from tests.test_packets_pcap import ethernet, ipv4, udp

START_NS = 1_800_000_000 * NS_PER_S


def recording(path: Path, stamps_ms: list[int]) -> Path:
    frame = ethernet(ipv4(udp()))
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    records = (
        struct.pack("<IIII", ms // 1000, ms % 1000 * 1000, len(frame), len(frame)) + frame
        for ms in stamps_ms
    )
    path.write_bytes(head + b"".join(records))
    return path


class Played:
    """A player on a clock that jumps to whatever it waits for."""

    def __init__(self, path: Path, *, speed: float = 1, repeat: bool = False) -> None:
        self.clock = SettableClock(START_NS)
        self.counters: Counter[str] = Counter()
        self.packets = iter(
            Player(path, None, self.clock, self.counters, speed=speed, repeat=repeat)
        )

    def offsets_ms(self, count: int) -> list[float | None]:
        """When each of the next packets was due, None for a read deadline."""
        return [_offset_ms(packet) for packet in itertools.islice(self.packets, count)]


def _offset_ms(packet: Datagram | None) -> float | None:
    return None if packet is None else (packet.stamp_ns - START_NS) / NS_PER_MS


def test_packets_come_at_the_recorded_pace(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [1000, 1010, 1300]))
    assert played.offsets_ms(3) == [0, 10, 300]
    assert played.clock.now_ns() == START_NS + 300 * NS_PER_MS


def test_speed_scales_the_pace(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [1000, 1010, 1300]), speed=2)
    assert played.offsets_ms(3) == [0, 5, 150]


def test_a_pause_yields_read_deadlines(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [0, 1200]))
    assert played.offsets_ms(4) == [0, None, None, 1200]


def test_a_night_between_two_drives_is_left_out(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [0, 40_000_000, 40_000_010]))
    assert played.offsets_ms(3) == [0, 0, 10]


def test_stamps_never_run_back(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [1000, 1010, 900, 1020]))
    assert played.offsets_ms(4) == [0, 10, 10, 20]


def test_the_end_is_silence_until_there_is_another_file(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.pcap", [0, 10])
    played = Played(path)
    assert played.offsets_ms(6) == [0, 10, None, None, None, None]
    path.unlink()
    assert played.offsets_ms(2) == [None, None]
    recording(path, [0, 10, 20])
    found = [offset for offset in played.offsets_ms(4) if offset is not None]
    assert [offset - found[0] for offset in found] == [0, 10, 20]
    assert played.counters["reconnects"] == 1


def test_a_recording_can_be_played_again_and_again(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [0, 10]), repeat=True)
    assert played.offsets_ms(6) == [0, 10, None, 110, 120, None]
    assert played.counters["recording_ended"] == 2


def test_a_player_that_was_held_up_goes_on_from_there(tmp_path: Path) -> None:
    played = Played(recording(tmp_path / "a.pcap", [0, 10, 20]))
    played.offsets_ms(1)
    played.clock.advance_ns(3 * NS_PER_S)
    assert played.offsets_ms(2) == [3000, 3010]
    assert played.counters["player_held_up"] == 1


def test_a_file_replaced_by_rubbish_is_counted_and_waited_for(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.pcap", [0])
    played = Played(path)
    played.offsets_ms(2)
    path.write_bytes(b"rubbish")
    assert played.offsets_ms(3) == [None, None, None]
    assert played.counters["unreadable_recordings"] == 1


def test_a_missing_file_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "other.pcap").touch()
    with pytest.raises(RecordingError, match=r"a.pcap: expected a recording, .* holds other.pcap"):
        check_recording(tmp_path / "a.pcap", None)


def test_a_file_without_packets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"a.pcap: expected UDP packets, got none"):
        check_recording(recording(tmp_path / "a.pcap", []), None)
