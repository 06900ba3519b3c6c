"""`fusion-rt demo`: a rig, all its processes, sensors that fail on purpose, and a live view."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live

from fusion_rt.calibration_file import load_calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.commands.beside import attached, end_of, supervised
from fusion_rt.commands.run import RigArgument
from fusion_rt.errors import DemoError
from fusion_rt.fusion.options import FUSION_TOPIC, FusionPlan
from fusion_rt.fusion_view import AnswerView
from fusion_rt.health_view import health_line, health_table
from fusion_rt.latency.budgets import LatencyOptions
from fusion_rt.messages import CameraFrame, Detections, Health, LidarSweep
from fusion_rt.session import Session
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.inbox import Arrival
from fusion_rt.transport.subscriber import Subscriber

_SHOW_NS = 250 * NS_PER_MS
_QUICK_S = 20.0
_LOSSES = (("camera", 20, 35), ("lidar", 40, 50))
"""Kind, and when it is lost, of a run of 60 s; shorter runs lose it for as large a share."""
_SCENES = (
    ("all sensors", 18),
    ("camera lost", 30),
    ("camera back", 38),
    ("LiDAR lost", 47),
    ("LiDAR back", 56),
)
_WHOLE_S = 60.0


def register(app: typer.Typer) -> None:
    app.command("demo")(demo_command)


def demo_command(
    rig: RigArgument = "demo",
    seconds: Annotated[float, typer.Option(min=1, help="How long; Ctrl-C ends it sooner.")] = 60,
    quick: Annotated[bool, typer.Option("--quick", help=f"The same in {_QUICK_S:g} s.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the report, where the rig fuses.")
    ] = Path("demo-report"),
) -> None:
    """Run a rig with simulated sensors and watch it lose some. Needs no device.

    A rig that fuses loses its camera, then its LiDAR, and leaves a report with pictures.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both leave nothing running
    with tempfile.TemporaryDirectory(prefix="fusion_rt-") as directory:
        show = _Show(Path(directory), rig, min(seconds, _QUICK_S) if quick else seconds)
        show.run()
        show.check()
        if show.answers is not None:
            typer.echo(f"report in {show.write_report(output)}")
    if show.health is not None:
        Console().print(health_table(show.health))


class _Show:
    """One run of the demo."""

    def __init__(self, directory: Path, rig: str, seconds: float) -> None:
        self.health: Health | None = None
        self.answers: AnswerView | None = None
        self._rig = rig
        self._seconds = seconds
        self._run_dir, self._rows = directory / "run", directory / "rows"
        self._log = directory / "log"
        self._clock = RigClock.starting_now()

    def run(self) -> None:
        """Until time is up, Ctrl-C, or the rig's own end."""
        with supervised(self._rig, self._run_dir, self._log, self._options()) as supervisor:
            session = attached(self._run_dir, supervisor, self._clock, self._log)
            self._started_ns = session.start_ns
            end_ns = self._clock.now_ns() + int(self._seconds * NS_PER_S)
            topics = [HEALTH_TOPIC]
            self._photographer = None
            if session.fusion:
                limits = msgspec.convert(session.latency, LatencyOptions).budgets
                self.answers = AnswerView(limits.get("end_to_end"))
                self._photographer = _Photographer(session, self._seconds / _WHOLE_S)
                topics += [FUSION_TOPIC, *self._photographer.topics]
            with (
                contextlib.suppress(KeyboardInterrupt),
                Subscriber(topics, session, session.clock()) as inbox,
                _screen() as screen,
            ):
                while self._clock.now_ns() < end_ns and supervisor.poll() is None:
                    self._watch(inbox)
                    self._draw(screen)

    def check(self) -> None:
        """Raise when there was nothing to see."""
        streams = self.health.streams if self.health else ()
        silent = [stream.topic for stream in streams if not stream.received]
        if self.answers is not None and not self.answers.answers:
            silent.append(FUSION_TOPIC)
        if self.health is None or silent:
            missing = ", ".join(silent) or "the rig"
            raise DemoError(f"nothing was heard of {missing}", end_of(self._log))

    def write_report(self, folder: Path) -> Path:
        from fusion_rt.demo_report import write_report

        assert self.answers is not None
        scenes = self._photographer.scenes if self._photographer else []
        return write_report(folder, self._rows, self.answers, scenes, self._started_ns)

    def _options(self) -> list[str]:
        words = ["--rows", str(self._rows)]
        if _fuses(self._rig):
            share = self._seconds / _WHOLE_S
            for kind, begin_s, end_s in _LOSSES:
                words += ["--fault", f"{kind} drop {begin_s * share:g}s..{end_s * share:g}s"]
        return words

    def _watch(self, inbox: Subscriber) -> None:
        """What comes until the next look at the screen."""
        due_ns = self._clock.now_ns() + _SHOW_NS
        while (left_ns := due_ns - self._clock.now_ns()) > 0:
            arrival = inbox.receive_header(left_ns)
            if arrival is None:
                return
            if self._photographer and not self._photographer.wants(arrival):
                continue
            received = inbox.open(arrival)
            message = received.message if received else None
            if isinstance(message, Health):
                self.health = message
            elif isinstance(message, Detections) and self.answers is not None:
                self.answers.add(message, arrival.header.sent_ns)
            if message is not None and self._photographer:
                self._photographer.see(message)

    def _draw(self, screen: Live | None) -> None:
        if self.health is None:
            return
        if screen is None:
            typer.echo(health_line(self.health))
            if self.answers is not None:
                typer.echo(self.answers.line())
        elif self.answers is None:
            screen.update(health_table(self.health), refresh=True)
        else:
            both = Group(health_table(self.health), self.answers.table())
            screen.update(both, refresh=True)


class _Photographer:
    """Keeps a picture of every scene at its time."""

    def __init__(self, session: Session, share: float) -> None:
        from fusion_rt.demo_report import Scene, SceneDrawer

        plan = msgspec.convert(session.fusion, FusionPlan)
        self._drawer = SceneDrawer(plan, load_calibration(Path(session.calibration or "")))
        self.topics = [topic for topic in (self._drawer.camera, self._drawer.lidar) if topic]
        self.scenes: list[Scene] = []
        self._due = [
            (title, session.start_ns + round(at_s * share * NS_PER_S)) for title, at_s in _SCENES
        ]
        self._frame: CameraFrame | None = None
        self._sweep: LidarSweep | None = None

    def wants(self, arrival: Arrival) -> bool:
        """Sensors' messages only shortly before a picture is due: they are large."""
        if arrival.header.topic not in self.topics:
            return True
        return bool(self._due) and arrival.header.stamp_ns > self._due[0][1] - NS_PER_S // 2

    def see(self, message: object) -> None:
        from fusion_rt.demo_report import Scene

        if isinstance(message, CameraFrame):  # copies: a view would hold a slot of the ring
            self._frame = msgspec.structs.replace(message, image=message.image.copy())
        elif isinstance(message, LidarSweep):
            points = message.points.copy()
            self._sweep = LidarSweep(stamp_ns=message.stamp_ns, points=points)
        elif isinstance(message, Detections) and self._due and message.stamp_ns > self._due[0][1]:
            title, _ = self._due.pop(0)
            picture = self._drawer.draw(message, self._frame, self._sweep)
            self.scenes.append(Scene(title, message, picture))
            self._frame = self._sweep = None


def _fuses(rig: str) -> bool:
    from fusion_rt.rig import find_rig, load_rig

    return load_rig(find_rig(rig)).fusion is not None


@contextlib.contextmanager
def _screen() -> Iterator[Live | None]:
    """None where there is no terminal."""
    if not sys.stdout.isatty():
        yield None
        return
    with Live(auto_refresh=False, console=Console(), transient=True) as live:
        yield live
