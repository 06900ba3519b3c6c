"""Runs a rig as a person would, `fusion-rt run` in a process of its own, and reads its ledger."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.errors import BenchError, SessionError
from fusion_rt.session import Session, attach_session
from fusion_rt.transport.subscriber import Subscriber

_START_NS = 60 * NS_PER_S
_LOOK_NS = 20 * NS_PER_MS
_LISTEN_NS = 200 * NS_PER_MS
_STOP_S = 20.0
_LOG_LINES = 20
_LOG_FILE = "log"


class RigRun:
    """A rig that runs: its session, its process, its folder of rows."""

    def __init__(self, session: Session, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.session = session
        self.clock = session.clock()
        self.rows = folder / "rows"
        self._process = process
        self._folder = folder

    def wait(self, seconds: float) -> None:
        """Let it run for so long; raises BenchError when it ends before."""
        due_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        while (left_ns := due_ns - self.clock.now_ns()) > 0:
            try:
                self._process.wait(left_ns / NS_PER_S)
            except subprocess.TimeoutExpired:
                return
            raise self._ended()

    def wait_for_answer(self, topic: str) -> None:
        """Until the first message of `topic`: nodes have started, engines are loaded."""
        due_ns = self.clock.now_ns() + _START_NS
        with Subscriber([topic], self.session, self.clock) as subscriber:
            while subscriber.receive_header(_LISTEN_NS) is None:
                self.check()
                if self.clock.now_ns() > due_ns:
                    raise BenchError(f"the rig gave no answers on {topic}", log_end(self._folder))

    def check(self) -> None:
        """Raises BenchError when it has ended."""
        if self._process.poll() is not None:
            raise self._ended()

    def _ended(self) -> BenchError:
        return BenchError("the rig ended by itself", log_end(self._folder))


@contextlib.contextmanager
def running(rig: Path, folder: Path, words: Sequence[str] = ()) -> Iterator[RigRun]:
    """The rig, from start to an orderly end; its rows are in `folder`/rows afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rig-") as short:  # a socket's path has little room
        run_dir = Path(short, "run")
        process = _started(rig, run_dir, folder, words)
        try:
            yield RigRun(_attach(run_dir, folder, process), process, folder)
        finally:
            _stop(process)


def log_end(folder: Path) -> str:
    """The last lines of the rig's log."""
    lines = (folder / _LOG_FILE).read_text(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


def _started(
    rig: Path, run_dir: Path, folder: Path, words: Sequence[str]
) -> "subprocess.Popen[bytes]":
    arguments = [
        "run",
        str(rig),
        "--run-dir",
        str(run_dir),
        "--rows",
        str(folder / "rows"),
        "--parent",
        str(os.getpid()),
        *words,
    ]
    with (folder / _LOG_FILE).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fusion_rt", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _attach(run_dir: Path, folder: Path, process: "subprocess.Popen[bytes]") -> Session:
    clock = RigClock.starting_now()
    due_ns = clock.now_ns() + _START_NS
    while clock.now_ns() < due_ns and process.poll() is None:
        with contextlib.suppress(SessionError):
            return attach_session(run_dir)
        clock.sleep_until_ns(clock.now_ns() + _LOOK_NS)
    raise BenchError("the rig did not start", log_end(folder))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
