import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.calibration_file import load_calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.commands.run import setup_of
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import ConfigErrors
from fusion_rt.faults import FaultFile
from fusion_rt.messages import GpsFix, LidarSweep
from fusion_rt.node import Node
from fusion_rt.rig import Rig, load_rig, shipped_rigs
from fusion_rt.session import start_session
from fusion_rt.time_offsets import MOVED, TimeOffset, in_time, lateness_ns
from fusion_rt.topics import sensor_kinds
from fusion_rt.transport.publisher import Publisher

DEMO = shipped_rigs()["demo"]
LATE_MS = 8000.0
FRAMES = "provenance: {method: m}\ntransforms:\n" + "".join(
    f"  base_from_{frame}: {{translation_m: [0, 0, 0], yaw_deg: 0}}\n" for frame in "abc"
)


def late(against: str, offset_ms: float) -> TimeOffset:
    return TimeOffset(against=against, offset_ms=offset_ms)


def test_a_sensor_is_as_late_as_all_its_chain() -> None:
    offsets = {"a": late("b", 12.5), "b": late("c", -2)}
    assert [lateness_ns(offsets, frame) for frame in "abc"] == [10_500_000, -2_000_000, 0]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a: {against: a, offset_ms: 1}", "expected a chain of sensors that ends, got a -> a"),
        ("a: {against: d, offset_ms: 1}", 'expected a transform that places "d", got none'),
    ],
)
def test_offsets_against_nothing_are_refused(tmp_path: Path, line: str, sentence: str) -> None:
    source = tmp_path / "c.yaml"
    source.write_text(f"{FRAMES}time_offsets:\n  {line}\n")
    with pytest.raises(ConfigErrors, match=f"time_offsets.a.against: {sentence}"):
        load_calibration(source)


def test_stamps_are_moved_and_nothing_else() -> None:
    sweep = LidarSweep(stamp_ns=NS_PER_S, points=np.zeros((1, 5), np.float32))
    early = LidarSweep(stamp_ns=5, points=sweep.points)

    @contextmanager
    def opened(_: DriverPort) -> Iterator[Iterator[LidarSweep | None]]:
        yield iter([sweep, None, early])

    counters: Counter[str] = Counter()
    port = DriverPort("lidar/top", SettableClock(), pytest.fail, counters)
    with in_time(opened, 20 * NS_PER_MS, counters)(port) as messages:
        first, deadline, last = messages
    assert first is not None
    assert last is not None
    assert (first.stamp_ns, deadline, last.stamp_ns) == (NS_PER_S - 20 * NS_PER_MS, None, 0)
    assert first.points is sweep.points
    assert counters == {MOVED: 2}


def late_rig(folder: Path, driver: str) -> Rig:
    """The demo, but a receiver of that driver whose stamps are calibrated as late."""
    demo = load_rig(DEMO)
    entry = f"time_offsets:\n  gps_main: {{against: lidar_top, offset_ms: {LATE_MS}}}\n"
    calibration = folder / demo.calibration.source.name
    calibration.write_bytes(demo.calibration.raw + entry.encode())
    source = folder / "r.yaml"
    source.write_text(
        f"rig: r\ncalibration: {calibration.name}\nsensors: {{gps/main: {{driver: {driver}}}}}\n"
    )
    return load_rig(source)


def test_a_node_takes_the_calibrated_lateness_out_of_its_stamps(tmp_path: Path) -> None:
    setup = setup_of(late_rig(tmp_path, "synthetic"), None, FaultFile(faults=[]))
    with (
        tempfile.TemporaryDirectory() as short,  # tmp_path is too long for the names of sockets
        start_session(Path(short, "run"), "r", setup) as session,
        Publisher("gps/main", session, session.clock()) as publisher,
    ):
        node = Node("gps/main", session, session.clock(), publisher)
        with node.open_driver(GpsFix) as fixes:
            fix = next(fix for fix in fixes if fix is not None)
        assert LATE_MS <= (node.clock.now_ns() - fix.stamp_ns) / NS_PER_MS < LATE_MS + 5000
        assert node.counters[MOVED] == 1


def test_a_simulated_sensor_is_in_time_as_it_is(tmp_path: Path) -> None:
    setup = setup_of(late_rig(tmp_path, "sim"), None, FaultFile(faults=[]))
    assert setup.late_ns == {}


@pytest.mark.parametrize("kind", sensor_kinds())
@pytest.mark.parametrize("driver", ["replay", "player"])
def test_what_was_published_once_is_not_moved_again(driver: str, kind: str) -> None:
    assert find_driver(driver, kind).is_in_time
