import msgpack
import msgspec
import pytest

from fusion_rt.errors import RecordingError
from fusion_rt.latency.row_file import OLD_FILE, ROWS_FILE, RowWriter, read_info, read_rows
from fusion_rt.latency.rows import AlarmRow, FrameRow, NoteRow, RunInfo, TotalsRow
from tests.latency.samples import CAMERA, LIDAR, arrive, ledger_with_rows, times


class FullDisk:
    def write(self, _data):
        raise OSError(28, "No space left on device")

    def close(self):
        pass


INFO = RunInfo(rig="demo", started_ns=5, topics=(CAMERA, LIDAR))
NOTE = NoteRow(at_ns=1, subject="rig", kind="mode", text="NORMAL")
ALARM = AlarmRow(
    budget="reaction",
    kind="misses",
    is_raised=True,
    at_ns=1,
    value_ns=2,
    limit_ns=1,
    answer=3,
    text="late",
)


def sample_rows():
    ledger, rows = ledger_with_rows()
    ledger.answered(times(0), {LIDAR: [arrive(ledger, LIDAR, 1, 0)]}, {CAMERA: "silent"})
    ledger.count_inbox(CAMERA, {"lost": 2}, 9)
    ledger.close(10)
    return [*rows, ALARM, NOTE, TotalsRow(topic="x/y", received=1, lost=0, outcomes={"used": 1})]


def write(folder, rows, **options):
    with RowWriter(folder, INFO, **options) as writer:
        for row in rows:
            writer.put(row)
    return writer


def test_rows_come_back_as_they_were_put(tmp_path):
    rows = sample_rows()
    write(tmp_path / "run", rows)
    assert list(read_rows(tmp_path / "run")) == rows
    assert read_info(tmp_path / "run") == INFO


def test_any_msgpack_library_reads_a_row(tmp_path):
    write(tmp_path, [NOTE])
    data = (tmp_path / ROWS_FILE).read_bytes()
    assert int.from_bytes(data[:4], "little") == len(data) - 4
    assert msgpack.unpackb(data[4:]) == ["note", 1, "rig", "mode", "NORMAL", 0]


def test_a_torn_row_at_the_end_is_left_out_and_the_next_process_goes_on_behind_the_last_whole_one(
    tmp_path,
):
    rows = sample_rows()
    write(tmp_path, rows)
    path = tmp_path / ROWS_FILE
    path.write_bytes(path.read_bytes()[:-3])
    assert list(read_rows(tmp_path)) == rows[:-1]
    write(tmp_path, [NOTE])
    assert list(read_rows(tmp_path)) == [*rows[:-1], NOTE]


def test_the_next_process_numbers_its_answers_on(tmp_path):
    rows = [row for row in sample_rows() if row != ALARM]
    assert write(tmp_path, rows).next_answer == 0
    with RowWriter(tmp_path, INFO) as writer:
        assert writer.next_answer == 1
        writer.put(msgspec.structs.replace(ALARM, answer=6))
    (tmp_path / ROWS_FILE).replace(tmp_path / OLD_FILE)  # as it stands just after a turn-over
    (tmp_path / ROWS_FILE).write_bytes(b"")
    assert write(tmp_path, []).next_answer == 7


def test_a_damaged_row_does_not_keep_the_next_process_from_starting(tmp_path):
    write(tmp_path, sample_rows())
    path = tmp_path / ROWS_FILE
    path.write_bytes(path.read_bytes() + b"\x01\x00\x00\x00\xc1")
    assert write(tmp_path, []).next_answer == 4


def test_another_run_in_the_same_folder_begins_anew(tmp_path):
    write(tmp_path, [NOTE])
    with RowWriter(tmp_path, msgspec.structs.replace(INFO, started_ns=6)):
        pass
    assert list(read_rows(tmp_path)) == []


def test_the_oldest_half_goes_when_the_rows_outgrow_their_room(tmp_path):
    with RowWriter(tmp_path, INFO, keep_bytes=400) as writer:
        for number in range(40):
            writer.put(msgspec.structs.replace(NOTE, at_ns=number))
            writer._flush()  # what the thread does ten times a second
    kept = [row.at_ns for row in read_rows(tmp_path)]
    assert kept == list(range(kept[0], 40))
    assert (tmp_path / OLD_FILE).stat().st_size + (tmp_path / ROWS_FILE).stat().st_size <= 440
    assert len(kept) < 40


def test_rows_that_find_no_room_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("fusion_rt.latency.row_file.MAX_WAITING", 0)
    assert write(tmp_path, [NOTE, NOTE]).unwritten == 2


def test_a_disk_that_fails_costs_rows_not_the_run(tmp_path):
    with RowWriter(tmp_path, INFO) as writer:
        writer._file.close()
        writer._file = FullDisk()
        writer.put(NOTE)
    assert writer.unwritten == 1
    assert "No space left" in writer.problem


def test_a_folder_without_a_run_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(RecordingError, match=r"expected run.json, found none; name the folder"):
        read_info(tmp_path)


def test_a_damaged_run_is_refused(tmp_path):
    write(tmp_path, [NOTE])
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RecordingError, match=r"run.json is damaged"):
        read_info(tmp_path)
    (tmp_path / ROWS_FILE).write_bytes(b"\x02\x00\x00\x00\xc1\xc1")
    with pytest.raises(RecordingError, match="a row is damaged"):
        list(read_rows(tmp_path))
    (tmp_path / ROWS_FILE).write_bytes(b"\xff\xff\xff\xff\xc1\xc1")
    with pytest.raises(RecordingError, match="expected a row, got one of 4294967295 bytes"):
        list(read_rows(tmp_path))


def test_rows_of_a_frame_keep_its_defaults(tmp_path):
    row = FrameRow(topic=CAMERA, outcome="lost", place="transport", at_ns=4)
    write(tmp_path, [row])
    assert list(read_rows(tmp_path)) == [row]
