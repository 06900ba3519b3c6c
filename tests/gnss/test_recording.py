import itertools
import os
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_S, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import DriverError
from fusion_rt.gnss.recording import GAPS, GpsRecording, open_gps
from fusion_rt.messages import GpsFix
from fusion_rt.reconnect import RECONNECTS
from tests.gnss.ports import START_NS, port
from tests.gnss.receivers import rmc

NOON_NS = 1_774_267_200 * NS_PER_S
TIMES = ("120000.00", "120000.20", "120000.40", "120003.00", "120100.00")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    recording = tmp_path / "drive.nmea"
    recording.write_bytes(b"# a drive\r\n" + b"".join(rmc(time) for time in TIMES))
    return recording


def play(path: Path, here: DriverPort, until: int, **options: object) -> list[GpsFix]:
    recording = GpsRecording(driver="file", path=str(path), **options)  # type: ignore[arg-type]
    with open_gps(recording, here) as messages:
        fixes = (message for message in itertools.islice(messages, 500) if message is not None)
        return list(itertools.islice(fixes, until))


def test_the_driver_is_called_file() -> None:
    assert find_driver("file", "gps").options is GpsRecording


def test_at_recorded_pace_fixes_come_when_they_did_and_are_stamped_now(path: Path) -> None:
    here = port()
    stamps = [fix.stamp_ns - START_NS for fix in play(path, here, 4)]
    assert stamps == [0, NS_PER_S // 5, 2 * NS_PER_S // 5, 3 * NS_PER_S]
    assert here.clock.now_ns() >= START_NS + 3 * NS_PER_S


def test_a_gap_is_counted_and_not_waited_for(path: Path) -> None:
    here = port()
    last = play(path, here, 5)[-1]
    assert last.stamp_ns < START_NS + 7 * NS_PER_S
    assert here.counters[GAPS] == 1


def test_as_soon_as_possible_fixes_carry_the_receiver_s_time(path: Path) -> None:
    here = port()
    fixes = play(path, here, 4, pace="asap")
    assert [fix.stamp_ns - NOON_NS for fix in fixes] == [0, 200_000_000, 400_000_000, 3 * NS_PER_S]
    assert here.clock.now_ns() == START_NS


def test_solutions_without_time_come_at_the_stated_rate(path: Path) -> None:
    path.write_bytes(b"$GPGLL,4807.0380,N,01131.0000,E\r\n" * 4)
    stamps = [fix.stamp_ns - START_NS for fix in play(path, port(), 3, rate_hz=4)]
    assert stamps == [0, NS_PER_S // 4, NS_PER_S // 2]


def test_an_ended_recording_yields_none_at_each_read_deadline(path: Path) -> None:
    recording = GpsRecording(driver="file", path=str(path), pace="asap")
    with open_gps(recording, port()) as messages:
        assert len(list(itertools.takewhile(lambda one: one is not None, messages))) == 5
        assert [next(messages) for _ in range(3)] == [None] * 3


def test_what_is_still_being_written_is_followed(path: Path) -> None:
    recording = GpsRecording(driver="file", path=str(path), pace="asap")
    with open_gps(recording, port()) as messages:
        list(itertools.takewhile(lambda one: one is not None, messages))
        with path.open("ab") as file:
            file.write(rmc("120101.00") + rmc("120102.00"))
        grown = list(itertools.islice(messages, 20))
    assert [one.utc_ns for one in grown if one is not None] == [
        NOON_NS + second * NS_PER_S for second in (61, 62)
    ]


def test_a_replaced_recording_begins_anew(path: Path) -> None:
    here = port()
    recording = GpsRecording(driver="file", path=str(path), pace="asap")
    with open_gps(recording, here) as messages:
        list(itertools.takewhile(lambda one: one is not None, messages))
        other = path.with_suffix(".new")
        other.write_bytes(rmc("130000.00") + rmc("130001.00"))
        os.replace(other, path)
        again = [one for one in itertools.islice(messages, 20) if one is not None]
    assert len(again) == 2
    assert here.counters[RECONNECTS] == 1


def test_a_recording_that_is_not_there_yet_is_waited_for(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = path.read_bytes()
    path.unlink()
    recording = GpsRecording(driver="file", path=str(path), pace="asap")
    with open_gps(recording, port()) as messages:
        assert [next(messages) for _ in range(2)] == [None, None]
        path.write_bytes(content)
        assert next(one for one in messages if one is not None).fix == "3d"
    assert "drive.nmea" in caplog.text


def test_a_repeated_recording_starts_over(path: Path) -> None:
    fixes = play(path, port(), 12, repeat=True)
    assert len(fixes) == 12
    stamps = [fix.stamp_ns for fix in fixes]
    assert stamps == sorted(set(stamps))


def test_a_folder_is_an_error_at_start_that_names_what_is_in_it(path: Path) -> None:
    folder = GpsRecording(driver="file", path=str(path.parent))
    with pytest.raises(DriverError, match=r"expected a recording, got the folder .*drive\.nmea"):
        open_gps(folder, port())


def test_endless_and_unpaced_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pace recorded with repeat, got asap"):
        GpsRecording(driver="file", path="x", repeat=True, pace="asap")


def test_a_process_held_up_plays_on_from_now(path: Path) -> None:
    clock = SettableClock(START_NS)
    recording = GpsRecording(driver="file", path=str(path))
    with open_gps(recording, port(clock=clock)) as messages:
        next(messages)
        clock.advance_ns(30 * NS_PER_S)
        late = next(one for one in messages if one is not None)
    assert late.stamp_ns >= START_NS + 30 * NS_PER_S
