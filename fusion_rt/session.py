"""One run of a rig: its private directory, in which its processes find each other, and its clock.

Endpoints derive from the directory and the topic, so there is no discovery service to be down.
The directory belongs to one user, mode 0700; a lock file, freed by the kernel, tells a running rig
from what a killed one left behind.
"""

import contextlib
import fcntl
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from fusion_rt.clock import RigClock
from fusion_rt.errors import SessionError

_FILE = "session.json"
_NEW_FILE = "session.json.new"
_LOCK = "supervisor.lock"
_LOCK_TRIES = 8
_FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len (0: all), l_pid
_WRITE_LOCK = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_MAX_SOCKET_PATH = 107  # sun_path of <sys/un.h>, less its final NUL


class TcpSource(msgspec.Struct, frozen=True):
    """Where a topic of another host is had."""

    address: str
    server_key: str
    """The other host's public key file."""
    keys: str
    """Our own key directory."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a rig is run with: all that its processes take from files and the command line.

    Sections of the rig file are kept as plain values, so that a node loads the types of its own
    section alone.
    """

    sensors: dict[str, dict[str, Any]] = {}
    """The rig's entry of each sensor topic as it was at the start; edits wait for the next one."""
    calibration: str | None = None
    """Path of the rig's calibration, where there is one."""
    late_ns: dict[str, int] = {}
    """By sensor topic, what is taken off its stamps, where the calibration has them late."""
    fusion: dict[str, Any] = {}
    """What the rig's section of that name comes to (`fusion_rt.fusion.options.FusionPlan`)."""
    latency: dict[str, Any] = {}
    """The rig's section of that name (`fusion_rt.latency.budgets.LatencyOptions`)."""
    record: dict[str, Any] = {}
    """The rig's section of that name (`fusion_rt.logs.options.RecordOptions`)."""
    foxglove: dict[str, Any] = {}
    """The rig's section of that name (`fusion_rt.logs.options.FoxgloveOptions`)."""
    watch_mountings: dict[str, str] = {}
    """Camera topics, each with the LiDAR it is watched against."""
    files: dict[str, bytes] = {}
    """Rig file and calibration as they were at the start (`fusion_rt.logs.rig`)."""
    sources: dict[str, TcpSource] = {}
    """Topics had from other hosts."""
    listen: dict[str, str] = {}
    """Topics offered to other hosts, and where."""
    keys: str | None = None
    """Directory of the CURVE keys, where there is one."""
    rows: str | None = None
    """Folder for the ledger's rows, where they are kept."""
    faults: tuple[str, ...] = ()
    """To be done on purpose (`fusion_rt.faults`)."""
    fault_seed: int = 0


class Session(Setup, frozen=True):
    """What every process of a running rig must agree on."""

    run_dir: str
    rig: str
    """Name of the rig."""
    clock_offset_ns: int
    """Of rig time to CLOCK_MONOTONIC (`fusion_rt.clock.RigClock`)."""
    supervisor_pid: int
    start_ns: int = 0
    """Rig time at which it started."""

    def clock(self) -> RigClock:
        return RigClock(self.clock_offset_ns)

    def endpoint(self, topic: str) -> str:
        """ZeroMQ endpoint of the topic's publisher."""
        return f"ipc://{self.socket_path(topic)}"

    def socket_path(self, topic: str) -> Path:
        return Path(self.run_dir, f"{_flat(topic)}.sock")

    def lock_path(self, topic: str) -> Path:
        """Held by the topic's one publisher."""
        return Path(self.run_dir, f"{_flat(topic)}.lock")


def default_run_dir(rig: str) -> Path:
    """Where a rig of this name runs when nobody says otherwise."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime, "fusion_rt", rig)
    return Path(tempfile.gettempdir(), f"fusion_rt-{os.getuid()}", rig)


@contextlib.contextmanager
def start_session(run_dir: Path, rig: str, setup: Setup | None = None) -> Iterator[Session]:
    """Own the directory until exit: refuse a second rig, clear what a killed one left."""
    clock = RigClock.starting_now()
    session = Session(
        run_dir=str(run_dir),
        rig=rig,
        clock_offset_ns=clock.offset_ns,
        supervisor_pid=os.getpid(),
        start_ns=clock.now_ns(),
        **msgspec.structs.asdict(setup or Setup()),
    )
    _check_socket_paths(session)
    with _locked(run_dir):
        try:
            _clear(run_dir)
            _write_atomically(run_dir / _FILE, msgspec.json.encode(session))
            yield session
        finally:
            _clear(run_dir)
            (run_dir / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: somebody else's files
                run_dir.rmdir()


def attach_session(run_dir: Path) -> Session:
    """The session of the rig that runs in `run_dir`."""
    way_out = "start one with `fusion-rt run RIG`, or name its directory with --run-dir"
    try:
        return msgspec.json.decode((run_dir / _FILE).read_bytes(), type=Session)
    except FileNotFoundError:
        raise SessionError(str(run_dir), "no rig runs here", way_out) from None
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: not UTF-8
        raise SessionError(str(run_dir), f"{_FILE} is damaged ({error})", way_out) from error


def is_running(run_dir: Path) -> bool:
    """Whether a supervisor holds the directory now. Asks without locking: a start may go on."""
    try:
        with (run_dir / _LOCK).open() as lock:
            answer = fcntl.fcntl(lock, fcntl.F_OFD_GETLK, _WRITE_LOCK)
    except OSError:
        return False
    kind, *_ = _FLOCK.unpack(answer)
    return bool(kind != fcntl.F_UNLCK)


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    with _open_locked(run_dir) as lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _open_locked(run_dir: Path) -> IO[str]:
    """The lock file, locked by us; the lock ends with the file."""
    path = run_dir / _LOCK
    for _ in range(_LOCK_TRIES):
        _make_private(run_dir)
        # The last owner removes file and directory as it leaves, perhaps at this very moment.
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as undo:
            lock = undo.enter_context(path.open("a+"))
            _lock(lock, run_dir)
            # A lock on an unlinked file protects nothing.
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                undo.pop_all()
                return lock
    raise SessionError(str(run_dir), "keeps being removed", "choose another --run-dir")


def _lock(lock: IO[str], run_dir: Path) -> None:
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _WRITE_LOCK)
    except BlockingIOError:
        lock.seek(0)
        problem = f"a rig already runs here (supervisor pid {lock.read().strip() or 'unknown'})"
        raise SessionError(str(run_dir), problem, "stop it, or choose another --run-dir") from None


def _make_private(run_dir: Path) -> None:
    for directory in (run_dir.parent, run_dir):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
    way_out = "choose another --run-dir"
    # Whoever can write to the parent, as in a shared /tmp, could swap the directory under us.
    parent = run_dir.parent.stat()
    is_shared = parent.st_mode & 0o022 and not parent.st_mode & stat.S_ISVTX
    if parent.st_uid not in {os.getuid(), 0} or is_shared:
        owner = f"user {parent.st_uid}, mode {stat.S_IMODE(parent.st_mode):04o}"
        problem = f"expected a parent that only user {os.getuid()} can change, got {owner}"
        raise SessionError(str(run_dir), problem, way_out)
    status = run_dir.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        problem = f"expected a directory of user {os.getuid()}, got one of user {status.st_uid}"
        raise SessionError(str(run_dir), problem, way_out)
    run_dir.chmod(0o700)


def _clear(run_dir: Path) -> None:
    """Remove what dead publishers left, and the last session; a living publisher keeps its own."""
    for lock_path in run_dir.glob("*=*.lock"):
        with lock_path.open("a") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock_path.with_suffix(".sock").unlink(missing_ok=True)
            lock_path.unlink()
    for name in (_FILE, _NEW_FILE):
        (run_dir / name).unlink(missing_ok=True)


def _check_socket_paths(session: Session) -> None:
    longest = session.socket_path("heartbeat/" + "x" * 32)
    if len(os.fsencode(longest)) > _MAX_SOCKET_PATH:
        problem = f"path too long for sockets ({_MAX_SOCKET_PATH} bytes at most)"
        raise SessionError(session.run_dir, problem, "choose a shorter --run-dir")


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(_NEW_FILE)
    temporary.write_bytes(data)
    temporary.replace(path)


def _flat(topic: str) -> str:
    """A topic as a file name; topics hold no '=' (`fusion_rt.topics`)."""
    return topic.replace("/", "=")
