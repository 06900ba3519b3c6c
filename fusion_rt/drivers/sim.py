"""Simulated sensors, live: four processes, one world, nothing between them but seed and time.

The world's time is rig time since the session started, so that every process, and every process
started again, is at the same moment of the same drive. After `loop_s` the drive begins anew.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from fusion_rt.calibration_file import load_calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import (
    READ_DEADLINE_NS,
    Driver,
    DriverPort,
    Messages,
    SensorOptions,
)
from fusion_rt.errors import DriverError
from fusion_rt.messages import Message
from fusion_rt.sim.scenario import scenario_named
from fusion_rt.sim.schedule import Schedule, Shot
from fusion_rt.sim.streams import OPTIONS, open_stream
from fusion_rt.sim.world import World

SKIPPED = "skipped"
"""Counter of messages whose time had passed before their turn came: the process was held up."""


def simulated(options: Any, port: DriverPort) -> Generator[Message | None, None, None]:
    """Messages of the sensor at `port`, each when it would leave the device."""
    if port.calibration is None:
        way_out = "run it from a rig file"
        raise DriverError("sim", "expected a calibration, got none", way_out)
    world = World(scenario_named(options.scenario, options.seed), options.seed)
    stream = open_stream(port.topic, options, world, load_calibration(port.calibration))
    loop_ns = round(world.scenario.loop_s * NS_PER_S)
    for origin_ns, shot in _shots(stream.schedule, port, loop_ns):
        with stream.message(shot, origin_ns, port.loan) as message:
            yield from _wait(port, origin_ns + shot.sent_ns)
            yield message


def _shots(schedule: Schedule, port: DriverPort, loop_ns: int) -> Iterator[tuple[int, Shot]]:
    """The shots still to come, with the start of the drive they belong to."""
    start_ns = port.session_start_ns
    drive, into_ns = divmod(max(0, port.clock.now_ns() - start_ns), loop_ns)
    while True:
        origin_ns = start_ns + drive * loop_ns
        for shot in schedule.between(into_ns, loop_ns):
            if origin_ns + shot.sent_ns < port.clock.now_ns():
                port.counters[SKIPPED] += 1
            else:
                yield origin_ns, shot
        drive, into_ns = drive + 1, 0


def _wait(port: DriverPort, due_ns: int) -> Generator[None, None, None]:
    """Sleep until then, looking up at every read deadline."""
    while due_ns - port.clock.now_ns() > READ_DEADLINE_NS:
        port.clock.sleep_until_ns(port.clock.now_ns() + READ_DEADLINE_NS)
        yield None
    port.clock.sleep_until_ns(due_ns)


def _opened() -> Callable[[Any, DriverPort], Messages]:
    """Closing the generator gives back the loan it may be holding."""
    return lambda options, port: closing(simulated(options, port))


def _driver(options: type[SensorOptions]) -> Driver:
    return Driver(options, _opened(), is_in_time=True)


DRIVERS = {kind: _driver(options) for kind, options in OPTIONS.items()}
