"""A rig's directory: private, owned by one rig at a time, and empty afterwards."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from fusion_rt.errors import SessionError
from fusion_rt.session import (
    Session,
    attach_session,
    default_run_dir,
    is_running,
    start_session,
)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    # Not tmp_path: its name may be longer than a socket's path can be.
    with tempfile.TemporaryDirectory() as parent:
        yield Path(parent, "run")


def start(run_dir: Path) -> None:
    with start_session(run_dir, "test"):
        pass


def test_every_process_finds_the_same_session(run_dir: Path) -> None:
    with start_session(run_dir, "demo") as session:
        assert attach_session(run_dir) == session
        assert (session.rig, session.supervisor_pid) == ("demo", os.getpid())
        ours, theirs = session.clock(), attach_session(run_dir).clock()
        assert ours.offset_ns == theirs.offset_ns


def test_nothing_is_left_afterwards(run_dir: Path) -> None:
    with start_session(run_dir, "test") as session:
        session.socket_path("camera/front").touch()
        session.lock_path("camera/front").touch()
    assert not run_dir.exists()


def test_somebody_elses_files_are_left_alone(run_dir: Path) -> None:
    with start_session(run_dir, "test"):
        (run_dir / "notes.txt").touch()
    assert [path.name for path in run_dir.iterdir()] == ["notes.txt"]


def test_the_directory_is_private(run_dir: Path) -> None:
    run_dir.mkdir(mode=0o755)
    with start_session(run_dir, "test"):
        assert run_dir.stat().st_mode & 0o777 == 0o700


def test_a_second_rig_is_refused_and_the_first_goes_on(run_dir: Path) -> None:
    with start_session(run_dir, "test") as session:
        expected = rf"a rig already runs here \(supervisor pid {os.getpid()}\); stop it, or choose"
        with pytest.raises(SessionError, match=expected):
            start(run_dir)
        assert attach_session(run_dir) == session
        assert is_running(run_dir)
    assert not is_running(run_dir)


def test_asking_whether_a_rig_runs_locks_nothing(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lock taken for a moment by whoever asks would refuse a rig that starts at that moment.
    commands = []

    def noted(file: IO[str], command: int, request: bytes) -> bytes:
        commands.append(command)
        return call(file, command, request)

    with start_session(run_dir, "test"):
        call = fcntl.fcntl
        monkeypatch.setattr(fcntl, "fcntl", noted)
        monkeypatch.delattr(fcntl, "flock")
        assert is_running(run_dir)
        monkeypatch.undo()
    assert commands == [fcntl.F_OFD_GETLK]


def test_no_rig_is_an_error_with_a_way_out(run_dir: Path) -> None:
    with pytest.raises(SessionError, match=r"no rig runs here; start one with `fusion-rt run RIG`"):
        attach_session(run_dir)
    assert not is_running(run_dir)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_dir": "\xff"}', b'{"rig": 1}'])
def test_a_damaged_session_is_an_error(run_dir: Path, content: bytes) -> None:
    run_dir.mkdir()
    (run_dir / "session.json").write_bytes(content)
    with pytest.raises(SessionError, match=r"session.json is damaged \("):
        attach_session(run_dir)


def test_a_path_too_long_for_sockets_is_refused_before_anything_is_made(run_dir: Path) -> None:
    with pytest.raises(SessionError, match=r"path too long for sockets \(107 bytes at most\)"):
        start(run_dir / ("x" * 80))
    assert not run_dir.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_directory_of_another_user_is_refused(run_dir: Path) -> None:
    run_dir.mkdir()
    os.chown(run_dir, 65534, 65534)
    with pytest.raises(SessionError, match="expected a directory of user 0, got one of user 65534"):
        start(run_dir)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_parent_of_another_user_is_refused(run_dir: Path) -> None:
    run_dir.mkdir()
    os.chown(run_dir, 65534, 65534)
    expected = "expected a parent that only user 0 can change, got user 65534, mode 07"
    with pytest.raises(SessionError, match=expected):
        start(run_dir / "rig")


def test_a_parent_that_others_can_change_is_refused(run_dir: Path) -> None:
    run_dir.mkdir()
    run_dir.chmod(0o777)
    with pytest.raises(SessionError, match=r"expected a parent that only user .* mode 0777"):
        start(run_dir / "rig")
    run_dir.chmod(0o1777)  # like /tmp: nobody can rename what is not theirs
    start(run_dir / "rig")


def test_a_link_in_place_of_the_directory_is_refused(run_dir: Path) -> None:
    elsewhere = run_dir.with_name("elsewhere")
    elsewhere.mkdir()
    run_dir.symlink_to(elsewhere)
    with pytest.raises(SessionError, match="expected a directory of user"):
        start(run_dir)


_KILLED = """
import os, signal, sys
from pathlib import Path
from fusion_rt.clock import RigClock
from fusion_rt.session import start_session
from fusion_rt.transport.publisher import Publisher
with start_session(Path(sys.argv[1]), "killed") as session:
    publisher = Publisher("camera/front", session, session.clock())
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.process
def test_what_a_killed_rig_left_is_cleared(run_dir: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(run_dir)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {path.suffix for path in run_dir.iterdir()} >= {".sock", ".lock", ".json"}
    assert not is_running(run_dir)
    with start_session(run_dir, "next") as session:
        names = {path.name for path in run_dir.iterdir()}
        assert names == {"session.json", "supervisor.lock"}
        assert attach_session(run_dir) == session


def test_a_lock_on_a_file_that_its_owner_removed_is_taken_anew(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, removed = fcntl.fcntl, []

    def remove_first(file: IO[str], command: int, request: bytes) -> bytes:
        if not removed:  # as the last owner does between our opening and our locking
            removed.append((run_dir / "supervisor.lock").unlink())
        return lock(file, command, request)

    monkeypatch.setattr(fcntl, "fcntl", remove_first)
    with start_session(run_dir, "test"):
        monkeypatch.undo()
        with pytest.raises(SessionError, match="a rig already runs here"):
            start(run_dir)


def test_a_directory_that_keeps_being_removed_is_an_error(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = (run_dir / "supervisor.lock").unlink
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: remove())
    with pytest.raises(SessionError, match="keeps being removed; choose another --run-dir"):
        start(run_dir)


def test_topics_have_files_of_their_own() -> None:
    session = Session("/run/demo", "demo", 0, 1)
    assert session.endpoint("camera/front") == "ipc:///run/demo/camera=front.sock"
    assert session.lock_path("camera/front") == Path("/run/demo/camera=front.lock")


def test_the_default_directory_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        assert default_run_dir("demo") == Path(runtime, "fusion_rt", "demo")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    expected = Path(tempfile.gettempdir(), f"fusion_rt-{os.getuid()}", "demo")
    assert default_run_dir("demo") == expected
