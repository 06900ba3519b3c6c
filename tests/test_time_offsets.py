import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.calibration_file import load_calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S, SettableClock
from fusion_rt.drivers.port import DriverPort
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import ConfigErrors
from fusion_rt.messages import GpsFix, LidarSweep
from fusion_rt.node import Node
from fusion_rt.rig import load_rig, shipped_rigs
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


@pytest.fixture
def late_gps(tmp_path: Path) -> Path:
    """The demo's calibration, of a receiver whose stamps are late."""
    calibration = load_rig(DEMO).calibration
    target = tmp_path / "late.calibration.yaml"
    entry = f"time_offsets:\n  gps_main: {{against: lidar_top, offset_ms: {LATE_MS}}}\n"
    target.write_text(calibration.raw.decode() + entry)
    return target


def first_age_ns(driver: str, calibration: Path) -> int:
    """How old the first fix of a node is by its stamp."""
    options = {"driver": driver}
    with (
        tempfile.TemporaryDirectory() as short,  # tmp_path is too long for the names of sockets
        start_session(
            Path(short, "run"), "r", sensors={"gps/main": options}, calibration=str(calibration)
        ) as session,
        Publisher("gps/main", session, session.clock()) as publisher,
    ):
        node = Node("gps/main", session, session.clock(), publisher)
        with node.open_driver(GpsFix) as fixes:
            fix = next(fix for fix in fixes if fix is not None)
        assert node.counters[MOVED] == (driver != "sim")
        return node.clock.now_ns() - fix.stamp_ns


def test_a_node_takes_the_calibrated_lateness_out_of_its_stamps(late_gps: Path) -> None:
    assert LATE_MS <= first_age_ns("synthetic", late_gps) / NS_PER_MS < LATE_MS + 5000


def test_a_simulated_sensor_is_in_time_as_it_is(late_gps: Path) -> None:
    assert first_age_ns("sim", late_gps) / NS_PER_MS < 5000


@pytest.mark.parametrize("kind", sensor_kinds())
@pytest.mark.parametrize("driver", ["replay", "player"])
def test_what_was_published_once_is_not_moved_again(driver: str, kind: str) -> None:
    assert find_driver(driver, kind).is_in_time
