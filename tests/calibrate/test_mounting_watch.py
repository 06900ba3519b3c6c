"""The watch over mountings and stamps, on a simulated drive: the camera turned, or stamped late."""

import contextlib

import cv2
import msgspec
import numpy as np
import pytest

from fusion_rt.calibrate import mounting_watch
from fusion_rt.calibrate.live_pair import Motion, small_grey
from fusion_rt.calibrate.mounting_watch import MountingWatch, checks
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.messages import CameraFrame, GpsFix, MountingCheck
from fusion_rt.rig import find_rig, load_rig
from nodes import mounting
from tests.test_nodes import Published

pytest.importorskip("embreex", reason="the extra sim is not installed")
from fusion_rt.sim.drive import Drive
from fusion_rt.sim.scenario import scenario_named

pytestmark = pytest.mark.timeout(180)
RIG = load_rig(find_rig("sim"))
FRAMES = ("camera_front", "lidar_top")
SEED, SECONDS = 6, 40


@contextlib.contextmanager
def _own(shape, dtype):
    yield np.empty(shape, dtype)


def drive(camera_turned_deg: tuple[float, float, float] = (0, 0, 0)) -> Drive:
    """A drive in which the camera is turned about its own axes since it was calibrated."""
    base_from = dict(RIG.calibration.base_from)
    turn = RigidTransform.from_rotation_vector(np.radians(camera_turned_deg))
    base_from["camera_front"] = base_from["camera_front"] @ turn
    moved = msgspec.structs.replace(RIG.calibration, base_from=base_from)
    rig = msgspec.structs.replace(RIG, calibration=moved)
    return Drive(rig, scenario_named("urban_day", SEED), SEED)


def message(drive: Drive, topic: str, at_ns: int):
    """The message whose measurement lies nearest; its arrays are copies."""
    stream = drive.streams[topic]
    shots = stream.schedule.between(max(at_ns - NS_PER_S, 0), at_ns + NS_PER_S)
    shot = min(shots, key=lambda shot: abs(shot.true_ns - at_ns))
    with stream.message(shot, 0, _own) as made:
        return made


@pytest.fixture(scope="module")
def fixes() -> list[GpsFix]:
    stream = drive().streams["gps/main"]
    found = []
    for shot in stream.schedule.between(0, SECONDS * NS_PER_S):
        with stream.message(shot, 0, _own) as fix:
            found.append(fix)
    return found


def motion_of(fixes: list[GpsFix], until_ns: int) -> Motion:
    motion = Motion()
    for fix in fixes:
        if abs(fix.stamp_ns - until_ns) < 2 * NS_PER_S:
            motion.push(fix)
    return motion


def curves(fixes: list[GpsFix], count: int) -> list[int]:
    """Moments in curves, 0.3 s apart or more."""
    found: list[int] = []
    for fix in fixes[20:]:
        at = motion_of(fixes, fix.stamp_ns).at(fix.stamp_ns)
        is_curve = at is not None and abs(at[1]) > 0.15
        if is_curve and (not found or fix.stamp_ns - found[-1] > 300 * NS_PER_MS):
            found.append(fix.stamp_ns)
    return found[:count]


def watched(
    of: Drive, fixes: list[GpsFix], at_ns: list[int], late_ns: int = 0
) -> list[MountingCheck]:
    watch = MountingWatch("camera/front", "lidar/top", FRAMES, RIG.calibration)
    found = []
    for moment_ns in at_ns:
        sweep = message(of, "lidar/top", moment_ns)
        frame = message(of, "camera/front", moment_ns - 50 * NS_PER_MS - late_ns)
        watch.take_frame(msgspec.structs.replace(frame, stamp_ns=frame.stamp_ns + late_ns))
        check = watch.take_sweep(sweep, motion_of(fixes, moment_ns))
        assert check is not None
        found.append(check)
    return found


def test_a_mounting_that_moved_by_2_degrees_is_warned_of_and_one_that_did_not_is_not(fixes) -> None:
    moments = [k * 2 * NS_PER_S for k in range(2, 10)]
    held = watched(drive(), fixes, moments)
    assert [check.pairs for check in held] == list(range(1, 9))
    assert {check.warning for check in held} == {""}
    moved = watched(drive((0, 2, 0)), fixes, moments)
    assert moved[-1].warning.startswith("camera/front against lidar/top: the mounting moved, yaw +")
    assert moved[-1].turn_deg[1] == pytest.approx(2, abs=0.3)
    assert moved[-1].score < held[-1].score


@pytest.mark.parametrize("late_ms", [0, 200])
def test_stamps_that_are_late_are_told_from_a_mounting_that_moved(fixes, late_ms: int) -> None:
    moments = curves(fixes, 16)
    last = watched(drive(), fixes, moments, late_ms * NS_PER_MS)[-1]
    assert last.late_ns == pytest.approx(late_ms * NS_PER_MS, abs=30 * NS_PER_MS)
    expected = "camera/front against lidar/top: stamped +" if late_ms else ""
    assert last.warning.startswith(expected)
    assert bool(last.warning) is bool(late_ms)


def test_a_sweep_without_an_image_near_it_says_nothing() -> None:
    of, watch = drive(), MountingWatch("camera/front", "lidar/top", FRAMES, RIG.calibration)
    sweep = message(of, "lidar/top", 4 * NS_PER_S)
    assert watch.take_sweep(sweep, Motion()) is None
    watch.take_frame(message(of, "camera/front", 5 * NS_PER_S))
    assert watch.take_sweep(sweep, Motion()) is None


def test_an_image_of_another_size_is_skipped_and_counted() -> None:
    of, watch = drive(), MountingWatch("camera/front", "lidar/top", FRAMES, RIG.calibration)
    sweep = message(of, "lidar/top", 4 * NS_PER_S)
    small = np.zeros((100, 100), np.uint8)
    stamp_ns = sweep.stamp_ns - 50 * NS_PER_MS
    watch.take_frame(
        CameraFrame(stamp_ns=stamp_ns, encoding="mono8", width=100, height=100, image=small)
    )
    check = watch.take_sweep(sweep, Motion())
    assert check is not None
    assert (check.pairs, check.skipped) == (0, 1)


def picture(encoding: str) -> CameraFrame:
    """A ramp in grey, as a camera would give it."""
    grey = np.broadcast_to(np.linspace(40, 200, 1280).astype(np.uint8), (720, 1280)).copy()
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    halves = np.full((360, 1280), 128, np.uint8)
    image = {
        "bgr8": colour,
        "rgb8": colour,
        "mono8": grey,
        "yuyv": np.stack([grey, np.full_like(grey, 128)], axis=-1),
        "nv12": np.vstack([grey, halves]),
        "jpeg": np.asarray(cv2.imencode(".jpg", grey)[1]).ravel(),
    }[encoding]
    return CameraFrame(stamp_ns=0, encoding=encoding, width=1280, height=720, image=image)


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "mono8", "yuyv", "nv12", "jpeg"])
def test_every_encoding_becomes_the_same_small_grey_image(encoding: str) -> None:
    small = small_grey(picture(encoding))
    assert small is not None
    assert small.shape == (360, 640)
    assert np.abs(small.astype(int) - small_grey(picture("mono8")).astype(int)).max() <= 2


def test_a_broken_jpeg_is_no_image() -> None:
    broken = CameraFrame(
        stamp_ns=0, encoding="jpeg", width=8, height=8, image=np.array([255, 216, 0], np.uint8)
    )
    assert small_grey(broken) is None


def fix(at_s: float, course_deg: float | None, speed_mps: float = 10.0) -> GpsFix:
    velocity = (speed_mps, 0.0, 0.0)
    stamp_ns = round(at_s * NS_PER_S)
    return GpsFix(stamp_ns=stamp_ns, fix="3d", velocity_enu_mps=velocity, course_deg=course_deg)


def test_motion_is_speed_and_turn_rate_to_the_left_across_north() -> None:
    motion = Motion()
    assert motion.at(0) is None
    for k in range(10):
        motion.push(fix(10 + k / 10, (5 - 2 * k) % 360))
    speed_mps, turn_radps = motion.at(round(10.5 * NS_PER_S))
    assert speed_mps == 10
    assert turn_radps == pytest.approx(np.radians(20))
    assert motion.at(20 * NS_PER_S) is None
    motion.push(fix(3, None, speed_mps=0.1))  # the clock stepped back; standing
    assert motion.at(3 * NS_PER_S) == (0, 0)


class Arrived(msgspec.Struct):
    """A header and the message behind it."""

    topic: str
    message: object

    @property
    def header(self) -> "Arrived":
        return self


class Arriving:
    """A subscriber that hands out what it is given."""

    def __init__(self, *arrivals: Arrived) -> None:
        self._arrivals = list(arrivals)
        self.opened: list[str] = []

    def arrive(self, *arrivals: Arrived) -> None:
        self._arrivals += arrivals

    def receive_header(self, _: int) -> Arrived | None:
        return self._arrivals.pop(0) if self._arrivals else None

    def open(self, arrival: Arrived) -> Arrived:
        self.opened.append(arrival.topic)
        return arrival


class SettableClock:
    """Goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.ns = 10 * NS_PER_S

    def now_ns(self) -> int:
        return self.ns

    def sleep_until_ns(self, due_ns: int) -> None:
        self.ns = due_ns


def test_the_node_reads_payloads_only_of_the_pair_that_is_due(fixes) -> None:
    of, clock = drive(), SettableClock()
    sweep = Arrived("lidar/top", message(of, "lidar/top", 4 * NS_PER_S))
    image = Arrived("camera/front", message(of, "camera/front", 4 * NS_PER_S - 50 * NS_PER_MS))
    inbox = Arriving(image, sweep, image, sweep, Arrived("gps/main", fixes[0]))
    watch = MountingWatch("camera/front", "lidar/top", FRAMES, RIG.calibration)
    loop, published = checks([watch], inbox, clock), Published()
    mounting.run((check for check in (next(loop) for _ in range(5)) if check), published)
    assert [check.pairs for check in published] == [1]
    assert inbox.opened == ["camera/front", "lidar/top", "gps/main"]
    next(loop)  # nothing waits: it rests
    assert clock.ns == 10 * NS_PER_S + mounting_watch._WAIT_NS


def test_a_pair_whose_camera_is_dead_does_not_keep_the_others_waiting() -> None:
    of, clock = drive(), SettableClock()
    dead = MountingWatch("camera/dead", "lidar/top", FRAMES, RIG.calibration)
    alive = MountingWatch("camera/front", "lidar/top", FRAMES, RIG.calibration)
    inbox = Arriving()
    loop = checks([dead, alive], inbox, clock)
    next(loop)
    clock.ns += 2 * mounting_watch.PERIOD_NS
    next(loop)
    clock.ns += mounting_watch.PERIOD_NS
    image = Arrived("camera/front", message(of, "camera/front", 4 * NS_PER_S - 50 * NS_PER_MS))
    sweep = Arrived("lidar/top", message(of, "lidar/top", 4 * NS_PER_S))
    inbox.arrive(image, sweep)
    assert [next(loop), next(loop).camera] == [None, "camera/front"]
