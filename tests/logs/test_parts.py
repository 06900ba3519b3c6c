"""When a part ends, what makes room for the next, and what a full disk does."""

from collections import Counter
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_S, SettableClock
from fusion_rt.errors import LogError
from fusion_rt.logs.entry import entry
from fusion_rt.logs.options import RecordOptions
from fusion_rt.logs.parts import Parts
from fusion_rt.logs.read import LogReader
from fusion_rt.logs.rig import NO_RIG
from fusion_rt.logs.write import encoded
from fusion_rt.messages import CameraFrame
from tests.logs.messages import array, fix

GB = 1_000_000_000


class Bench:
    """Parts on a clock and a disk that tests set."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.clock = SettableClock(1_700_000_000 * NS_PER_S)
        self.free = 100 * GB
        self.counters: Counter[str] = Counter()
        self.folder = folder
        self.count = 0
        self.parts = Parts(
            folder, NO_RIG, RecordOptions(**options), self.clock, self.counters, lambda _: self.free
        )

    def write(self, seconds: float, hz: int = 10) -> None:
        for _ in range(round(seconds * hz)):
            self.clock.advance_ns(NS_PER_S // hz)
            self.parts.write(encoded(fix(self.count), "gps_main"))
            self.parts.tick()
            self.count += 1

    def write_megabytes(self, count: int) -> None:
        image = array((1000, 1000), "u1", 1)
        for number in range(count):
            self.clock.advance_ns(NS_PER_S)
            frame = CameraFrame(
                stamp_ns=number, encoding="mono8", width=1000, height=1000, image=image
            )
            one = entry("camera/front", frame, seq=number, sent_ns=0, recv_ns=number)
            self.parts.write(encoded(one, "camera_front"))
            self.parts.tick()

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.mcap"))


def test_a_part_ends_after_its_time_and_none_is_lost_between(tmp_path: Path) -> None:
    bench = Bench(tmp_path, part_s=2)
    bench.write(7)
    bench.parts.close()
    assert [path.name[-10:] for path in bench.files] == [f".000{n}.mcap" for n in range(4)]
    with LogReader(tmp_path) as log:
        assert log.is_finished
        assert [one.header.seq for one in log.messages()] == list(range(70))


def test_a_part_ends_when_it_is_large(tmp_path: Path) -> None:
    bench = Bench(tmp_path, part_mb=3)
    bench.write_megabytes(10)
    bench.parts.close()
    assert len(bench.files) == 4
    assert all(path.stat().st_size < 4_500_000 for path in bench.files)


def test_a_quiet_stream_is_on_disk_after_the_flush_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, flush_ms=200)
    bench.write(1)
    with LogReader(bench.parts.path) as log:  # while it is being written
        assert not log.is_finished
        assert len(list(log.messages())) >= 8


def test_no_more_is_kept_than_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, part_mb=2, keep_mb=5)
    bench.write_megabytes(12)
    bench.parts.close()
    assert bench.counters["parts_removed"] >= 3
    assert sum(path.stat().st_size for path in bench.files) < 9_000_000
    assert bench.files[-1] == bench.parts.path


def test_a_full_disk_stops_the_recording_and_room_lets_it_go_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, min_free_mb=1000)
    bench.write(2)
    bench.free = GB // 2
    bench.write(2)
    bench.free = 100 * GB
    bench.write(8)
    bench.parts.close()
    with LogReader(tmp_path) as log:
        assert log.is_finished
        kept = [one.header.seq for one in log.messages()]
    lost = set(range(120)) - set(kept)
    assert bench.counters["disk_full"] == len(lost) > 15
    assert bench.counters["recorded"] == len(kept)
    assert lost == set(range(min(lost), max(lost) + 1))


def test_a_full_disk_costs_the_oldest_parts_where_the_rig_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, part_s=1, min_free_mb=1000, when_full="drop_oldest")
    stranger = tmp_path / "other-20200101T000000Z.0000.mcap"
    stranger.touch()
    bench.write(5)
    closed = len(bench.files) - 2
    bench.free = GB // 2
    bench.parts._free_bytes = lambda _: GB // 2 * (1 + (len(bench.files) < 4))
    bench.write(1)
    bench.parts.close()
    assert bench.counters["parts_removed"] >= closed - 2 > 0
    assert bench.counters["disk_full"] == 0
    assert stranger.exists()


def test_a_write_that_fails_leaves_whole_chunks_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.write(2)
    writes = 0

    def failing(*_: object) -> int:
        nonlocal writes
        writes += 1
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", failing)
        bench.write(1)
    assert writes
    bench.write(6)
    bench.parts.close()
    first, second = bench.files
    with LogReader(first) as log:
        assert not log.is_finished
        assert log.damages == []
        assert [one.header.seq for one in log.messages()] == list(range(len(list(log.messages()))))
    with LogReader(second) as log:
        assert log.is_finished
    assert bench.counters["disk_full"] > 0


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match=r"expected a folder to record to .* record\.folder"):
        Bench(tmp_path / "file")


class TestSnapshots:
    def bench(self, folder: Path) -> Bench:
        return Bench(folder, mode="snapshot", snapshot_s=6)

    def age(self, bench: Bench) -> None:
        """Files are stamped by the system, whose clock no test sets."""
        import os

        for path in bench.folder.glob(".*/*.mcap"):
            with LogReader(path) as log:
                end_ns = log.end_ns - 2 + bench.clock.now_ns() - bench.count * NS_PER_S // 10
            os.utime(path, ns=(end_ns, end_ns))

    def test_the_last_seconds_are_kept_and_no_more(self, tmp_path: Path) -> None:
        bench = self.bench(tmp_path)
        for _ in range(30):
            bench.write(1)
            self.age(bench)
        saved = bench.parts.save("minimal")
        assert saved is not None
        assert saved.name.startswith("log-2023")
        assert saved.name.endswith("-minimal")
        with LogReader(saved) as log:
            kept = [one.header.seq for one in log.messages()]
        assert kept == list(range(kept[0], 300))
        assert 60 <= len(kept) <= 85

    def test_it_goes_on_after_a_save_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        bench = self.bench(tmp_path)
        bench.write(2)
        first = bench.parts.save("asked")
        bench.write(2)
        second = bench.parts.save("asked")
        bench.write(2)
        bench.parts.close()
        bench.parts.discard_ring()
        assert first is not None
        assert second is not None
        with LogReader(second) as log:
            assert [one.header.seq for one in log.messages()] == list(range(20, 40))
        assert sorted(tmp_path.iterdir()) == sorted([first, second])

    def test_there_is_nothing_to_save_before_the_first_message(self, tmp_path: Path) -> None:
        assert self.bench(tmp_path).parts.save("asked") is None
