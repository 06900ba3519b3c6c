"""`fusion-rt run`: a rig, from start to Ctrl-C, supervised."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.config import known_names
from fusion_rt.errors import FaultError
from fusion_rt.faults import FUSE, FaultFile, load_fault_file, parse_schedule
from fusion_rt.logs.options import FoxgloveOptions
from fusion_rt.logs.rig import logged_rig
from fusion_rt.node import die_with
from fusion_rt.rig import Rig, find_rig, load_rig
from fusion_rt.session import Session, Setup, TcpSource, default_run_dir, start_session
from fusion_rt.supervisor import Supervisor
from fusion_rt.systemd import Notifier

RigArgument = Annotated[
    str, typer.Argument(help="A rig file, or the name of a rig that comes along: demo, sim.")
]
RunDirOption = Annotated[
    Path | None, typer.Option(help="Directory of this run; default: by the rig's name.")
]


class StopRequest:
    """Counts SIGINT and SIGTERM: the first asks to stop, the second to stop at once."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt


def register(app: typer.Typer) -> None:
    app.command("run")(run_command)


def run_command(
    rig: RigArgument,
    run_dir: RunDirOption = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop by itself after so long.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Folder to keep the latency ledger in, for `report`.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="On purpose, e.g. 'lidar drop 10s..15s'; repeatable.")
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(help="More of them: a YAML file of seed and faults.")
    ] = None,
    foxglove: Annotated[
        bool, typer.Option("--foxglove", help="Serve the Foxglove app on this host.")
    ] = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a rig until Ctrl-C, restarting whatever dies. Watch it with `fusion-rt top`."""
    if parent is not None:
        die_with(parent)
    stop = StopRequest()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    loaded = load_rig(find_rig(rig))
    if foxglove and loaded.foxglove is None:
        loaded = msgspec.structs.replace(loaded, foxglove=FoxgloveOptions())
    schedule = _faults_of(loaded, fault or [], faults)
    run_dir = run_dir or default_run_dir(loaded.name)
    with start_session(run_dir, loaded.name, setup_of(loaded, rows, schedule)) as session:
        clock = session.clock()
        end_ns = None if seconds is None else clock.now_ns() + int(seconds * NS_PER_S)
        _supervise(loaded, session, clock, stop, end_ns)


def _supervise(
    rig: Rig, session: Session, clock: RigClock, stop: StopRequest, end_ns: int | None
) -> None:
    def should_stop() -> bool:
        return stop.count > 0 or (end_ns is not None and clock.now_ns() >= end_ns)

    Supervisor(rig, session, clock, Notifier()).run(should_stop)


def _faults_of(rig: Rig, texts: list[str], path: Path | None) -> FaultFile:
    """What is to be done on purpose; refused when it would befall nobody."""
    written = load_fault_file(path) if path else FaultFile(faults=[])
    both = FaultFile(seed=written.seed, faults=[*written.faults, *texts])
    nodes = [*rig.sensors, *([FUSE] if rig.fusion is not None else [])]
    for fault in parse_schedule(both.faults).faults:
        if not any(fault.concerns(node) for node in nodes):
            known = known_names(fault.who, nodes)
            raise FaultError(fault.who, f"expected a sensor of the rig {rig.name}", known)
    return both


def setup_of(rig: Rig, rows: Path | None, faults: FaultFile) -> Setup:
    """What the rig's processes are started with."""
    remote = rig.remote
    return Setup(
        sensors={topic: msgspec.to_builtins(s.options) for topic, s in rig.sensors.items()},
        calibration=str(rig.calibration.source.resolve()),
        late_ns=rig.late_ns,
        fusion=msgspec.to_builtins(rig.fusion) or {},
        latency=msgspec.to_builtins(rig.latency),
        record=msgspec.to_builtins(rig.record) or {},
        foxglove=msgspec.to_builtins(rig.foxglove) or {},
        watch_mountings=rig.watch_mountings,
        files=dict(logged_rig(rig).files),
        sources=_sources(rig),
        listen=remote.listen if remote else {},
        keys=str(remote.keys) if remote else None,
        rows=str(rows.resolve()) if rows else None,
        faults=tuple(faults.faults),
        fault_seed=faults.seed,
    )


def _sources(rig: Rig) -> dict[str, TcpSource]:
    return {
        topic: TcpSource(at.address, str(at.server_key), str(rig.remote.keys))
        for topic, at in rig.remote_topics.items()
        if rig.remote is not None
    }
