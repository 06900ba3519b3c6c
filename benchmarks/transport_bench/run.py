"""One run: one scenario over one transport, from starting its processes to what they measured."""

import contextlib
import fnmatch
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import psutil

from transport_bench.node import (
    NodeReport,
    Plan,
    plan_path,
    ready_path,
    records_path,
    report_path,
    write_atomically,
)
from transport_bench.peer import NodeSpec, Peer, now_ns
from transport_bench.streams import STREAMS, Scenario

_START_PATIENCE_S = 30.0
_END_PATIENCE_S = 8.0
_STOP_PATIENCE_S = 2.0
_SHARED_MEMORY = Path("/dev/shm")
Series = npt.NDArray[np.float64]


class RunError(Exception):
    """A run that gave no numbers, and why."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one run measured. Keys are kinds of stream, with the reader's group where it has one."""

    latency_us: dict[str, Series]
    sent: dict[str, int]
    lost: dict[str, int]
    """Of `sent`: did not reach a reader, superseded ones included."""
    received_hz: dict[str, float]
    """Per reader."""
    torn: int
    skipped: int
    failed: int
    cpu_pct: float
    """Of one core: all processes of the run, the transport's own included."""
    foreign_pct: float
    """Of one core: everything else on the machine."""
    notes: tuple[str, ...] = ()


def run_once(peer: type[Peer], scenario: Scenario, warm_up_s: float, measure_s: float) -> Outcome:
    """Start every node by exec, let them run, collect, and leave no process or file behind."""
    with contextlib.ExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trb_")))
        run_id = f"trb{secrets.token_hex(4)}"
        stack.enter_context(_no_shared_memory_left(peer.leftovers, run_id))
        stack.enter_context(peer.hosted(run_dir))
        specs = _write_specs(peer, scenario, run_dir, run_id)
        processes = peer.launch(specs)
        stack.callback(_stop, processes)
        pids = _await_all_ready(run_dir, specs, processes)
        start_ns = now_ns() + int(peer.settle_s * 1e9)
        measure_ns = start_ns + int(warm_up_s * 1e9)
        plan = Plan(start_ns, measure_ns, measure_ns + int(measure_s * 1e9))
        write_atomically(plan_path(run_dir), msgspec.json.encode(plan))
        cpu_pct, foreign_pct = _watch_cpu(plan, processes)
        reports = _collect(run_dir, specs, pids)
        return _outcome(run_dir, specs, scenario, plan, reports, cpu_pct, foreign_pct)


def _write_specs(
    peer: type[Peer], scenario: Scenario, run_dir: Path, run_id: str
) -> list[NodeSpec]:
    ports = dict(zip(scenario.streams, _free_ports(len(scenario.streams)), strict=True))
    common = {"transport": peer.name, "run_dir": str(run_dir), "run_id": run_id, "ports": ports}
    specs = [
        NodeSpec(
            **common,
            node=f"pub-{name}",
            streams=(name,),
            is_reader=False,
            is_flat_out=scenario.is_flat_out,
        )
        for name in scenario.streams
    ] + [
        NodeSpec(
            **common,
            node=f"sub-{reader.name}",
            streams=scenario.streams,
            is_reader=True,
            work_ms=reader.work_ms,
        )
        for reader in scenario.readers
    ]
    for spec in specs:
        spec.path.write_bytes(msgspec.json.encode(spec))
    return specs


def _await_all_ready(
    run_dir: Path, specs: Sequence[NodeSpec], processes: Sequence["subprocess.Popen[bytes]"]
) -> list[int]:
    deadline = time.monotonic() + _START_PATIENCE_S
    missing = {spec.node for spec in specs}
    while missing:
        if time.monotonic() > deadline or any(process.poll() for process in processes):
            raise RunError(f"did not start: {', '.join(sorted(missing))}{_last_words(run_dir)}")
        time.sleep(0.01)
        missing = {node for node in missing if not ready_path(run_dir, node).exists()}
    return [int(ready_path(run_dir, spec.node).read_bytes()) for spec in specs]


def _watch_cpu(plan: Plan, processes: Sequence["subprocess.Popen[bytes]"]) -> tuple[float, float]:
    """Ours and foreign, in percent of one core, over the measured time."""
    _sleep_until(plan.measure_ns)
    pids = [pid for process in processes for pid in _family(process.pid)]
    own_ns, busy_ns = _cpu_ns(pids), _machine_busy_ns()
    _sleep_until(plan.end_ns)
    elapsed_ns = plan.end_ns - plan.measure_ns
    own_pct = 100 * (_cpu_ns(pids) - own_ns) / elapsed_ns
    busy_pct = 100 * (_machine_busy_ns() - busy_ns) / elapsed_ns
    return own_pct, max(busy_pct - own_pct, 0.0)


def _collect(run_dir: Path, specs: Sequence[NodeSpec], pids: Sequence[int]) -> list[NodeReport]:
    deadline = time.monotonic() + _END_PATIENCE_S
    paths = [report_path(run_dir, spec.node) for spec in specs]
    while not all(path.exists() for path in paths):
        is_dead = [not psutil.pid_exists(pid) for pid in pids]
        if time.monotonic() > deadline or (any(is_dead) and not _settled(paths)):
            late = [path.name.split(".")[0] for path in paths if not path.exists()]
            raise RunError(f"no report from {', '.join(late)}{_last_words(run_dir)}")
        time.sleep(0.02)
    return [msgspec.json.decode(path.read_bytes(), type=NodeReport) for path in paths]


def _outcome(
    run_dir: Path,
    specs: Sequence[NodeSpec],
    scenario: Scenario,
    plan: Plan,
    reports: Sequence[NodeReport],
    cpu_pct: float,
    foreign_pct: float,
) -> Outcome:
    records = {spec.node: np.load(records_path(run_dir, spec.node)) for spec in specs}
    sent_by_stream = {
        spec.streams[0]: _counted(records[spec.node], 1, plan)
        for spec in specs
        if not spec.is_reader
    }
    latency_us: dict[str, list[Series]] = {}
    sent: dict[str, int] = {}
    lost: dict[str, int] = {}
    received: dict[str, int] = {}
    for reader in scenario.readers:
        rows = _counted(records[f"sub-{reader.name}"], 2, plan)
        for index, stream in enumerate(STREAMS.values()):
            if stream.name not in sent_by_stream:
                continue
            key = f"{stream.kind} {reader.group}".strip()
            mine = rows[rows[:, 0] == index]
            latency_us.setdefault(key, []).append((mine[:, 3] - mine[:, 2]) / 1e3)
            count = len(sent_by_stream[stream.name])
            sent[key] = sent.get(key, 0) + count
            lost[key] = lost.get(key, 0) + count - len(np.unique(mine[:, 1]))
            received[key] = received.get(key, 0) + len(mine)
    seconds = (plan.end_ns - plan.measure_ns) / 1e9
    return Outcome(
        latency_us={key: np.concatenate(parts) for key, parts in latency_us.items()},
        sent=sent,
        lost=lost,
        received_hz={
            key: count / seconds / len(latency_us[key]) for key, count in received.items()
        },
        torn=sum(report.torn for report in reports),
        skipped=sum(report.skipped for report in reports),
        failed=sum(report.failed for report in reports),
        cpu_pct=cpu_pct,
        foreign_pct=foreign_pct,
        notes=_notes(specs, reports),
    )


def _notes(specs: Sequence[NodeSpec], reports: Sequence[NodeReport]) -> tuple[str, ...]:
    notes = []
    for spec, report in zip(specs, reports, strict=True):
        counters = {name: n for name, n in report.counters.items() if name != "published"}
        if counters or report.error:
            listed = ", ".join(f"{name} {n}" for name, n in counters.items())
            notes.append(f"{spec.node}: {listed} {report.error}".strip())
    return tuple(notes)


def _counted(records: npt.NDArray[np.int64], sent_column: int, plan: Plan) -> npt.NDArray[np.int64]:
    """The records of messages sent in the measured time."""
    sent_ns = records[:, sent_column]
    return records[(sent_ns >= plan.measure_ns) & (sent_ns < plan.end_ns)]


def _stop(processes: Iterable["subprocess.Popen[bytes]"]) -> None:
    """The whole family of each: nodes that end by themselves have, the rest is killed."""
    families = [
        member
        for process in processes
        for member in _processes(_family(process.pid))
        if member.pid != os.getpid()
    ]
    _, alive = psutil.wait_procs(families, timeout=_STOP_PATIENCE_S)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()


@contextlib.contextmanager
def _no_shared_memory_left(patterns: Sequence[str], run_id: str) -> Iterator[None]:
    """Remove what the run added to shared memory under its transport's names, also when killed."""
    before = set(os.listdir(_SHARED_MEMORY))
    try:
        yield
    finally:
        for name in set(os.listdir(_SHARED_MEMORY)) - before:
            if any(fnmatch.fnmatch(name, pattern.replace("RUN", run_id)) for pattern in patterns):
                (_SHARED_MEMORY / name).unlink(missing_ok=True)


def _family(pid: int) -> list[int]:
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _processes(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield psutil.Process(pid)


def _cpu_ns(pids: Iterable[int]) -> int:
    """Time on a core, of all threads; the scheduler's own count, finer than the 10 ms ticks."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total


def _machine_busy_ns() -> int:
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _last_words(run_dir: Path) -> str:
    """Of each log that has any: its last error, else its last line."""
    words = []
    for path in run_dir.glob("*.log"):
        lines = path.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if "Error" in line]
        words += [f"; {path.stem}: {line}" for line in (errors or lines)[-1:]]
    return "".join(words)


def _settled(paths: Sequence[Path]) -> bool:
    """A node that has just died may have left its report between our two looks."""
    time.sleep(0.1)
    return all(path.exists() for path in paths)


def _sleep_until(due_ns: int) -> None:
    time.sleep(max(due_ns - now_ns(), 0) / 1e9)
