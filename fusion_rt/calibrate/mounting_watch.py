"""Watches the mountings of a running rig: picks a pair now and then, and says what it shows."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.drift import LATE_S, MountingDrift, MountingMonitor
from fusion_rt.calibrate.live_pair import Motion, SweepView, small_camera, small_grey
from fusion_rt.calibration_file import Calibration, load_calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S, Clock
from fusion_rt.errors import CalibrationError
from fusion_rt.messages import CameraFrame, GpsFix, LidarSweep, Message, MountingCheck
from fusion_rt.sensors import default_frame, kind_name
from fusion_rt.session import Session
from fusion_rt.transport.subscriber import Subscriber

PERIOD_NS = 3 * NS_PER_S
"""One pair in so long, whichever camera's turn it is: 60 ms of work each are 2 % of a core."""
MAX_APART_NS = 60 * NS_PER_MS
"""How far an image may be from the LiDAR's look at the same place: a 10 Hz camera has no nearer."""
_WAIT_NS = 200 * NS_PER_MS
_KEPT_FRAMES = 8


class MountingWatch:
    """One camera and one LiDAR by topic; messages go in, checks come out."""

    def __init__(
        self, camera_topic: str, lidar_topic: str, frames: tuple[str, str], calibration: Calibration
    ) -> None:
        """`frames` are those of the two topics."""
        camera_frame, lidar_frame = frames
        self.camera_topic, self.lidar_topic = camera_topic, lidar_topic
        camera = small_camera(calibration.cameras[camera_frame])
        pose = calibration.transform(camera_frame, lidar_frame)
        self._view = SweepView(camera, pose, calibration.base_from[lidar_frame])
        self._monitor = MountingMonitor(camera_topic, lidar_topic, camera, pose)
        self._images: deque[tuple[int, npt.NDArray[np.uint8]]] = deque(maxlen=_KEPT_FRAMES)

    def take_frame(self, frame: CameraFrame) -> None:
        grey = small_grey(frame)
        if grey is not None:
            self._images.append((frame.stamp_ns, grey))

    def take_sweep(self, sweep: LidarSweep, motion: Motion) -> MountingCheck | None:
        """What this sweep says with the image nearest to it; None while none is near enough."""
        looked_ns = self._view.seen_ns(sweep)
        if looked_ns is None or not self._images:
            return None
        image_ns, grey = min(self._images, key=lambda image: abs(image[0] - looked_ns))
        if abs(image_ns - looked_ns) > MAX_APART_NS:
            return None
        self._images.clear()
        return self._check(sweep, image_ns, grey, motion.at(image_ns))

    def _check(
        self,
        sweep: LidarSweep,
        image_ns: int,
        grey: npt.NDArray[np.uint8],
        motion: tuple[float, float] | None,
    ) -> MountingCheck:
        try:
            edges = self._view.still_edges(sweep, image_ns, motion or (0.0, 0.0))
            drift = self._monitor.push(grey, edges, self._view.late_poses(LATE_S, motion))
        except CalibrationError:  # too few points to tell the rings, or an image of another size
            self._monitor.skipped += 1
            drift = self._monitor.state()
        return self._message(image_ns, drift)

    def _message(self, image_ns: int, drift: MountingDrift) -> MountingCheck:
        late_s = drift.late_s
        return MountingCheck(
            stamp_ns=image_ns,
            camera=self.camera_topic,
            lidar=self.lidar_topic,
            pairs=drift.pairs,
            skipped=self._monitor.skipped,
            score=drift.score,
            turn_deg=drift.turn_deg,
            late_ns=None if late_s is None else round(late_s * NS_PER_S),
            warning=drift.warning,
        )


def watches_of(session: Session) -> list[MountingWatch]:
    """One for each pair that the rig names, as its calibration says now."""
    calibration = load_calibration(Path(session.calibration or ""))
    return [
        MountingWatch(camera, lidar, (_frame(session, camera), _frame(session, lidar)), calibration)
        for camera, lidar in session.watch_mountings.items()
    ]


def topics_of(session: Session) -> list[str]:
    """What the watch listens to: the pairs, and GPS for the vehicle's motion."""
    pairs = session.watch_mountings
    gps = [topic for topic in session.sensors if kind_name(topic) == "gps"]
    return [*dict.fromkeys([*pairs.keys(), *pairs.values(), *gps])]


def checks(
    watches: Sequence[MountingWatch], inbox: Subscriber, clock: Clock
) -> Iterator[MountingCheck | None]:
    """A check of each watch in turn, without end; None whenever there is nothing to say yet.

    Payloads are left unread but for the pair that is due.
    """
    motion, turns = Motion(), cycle(watches)
    watch, due_ns = next(turns), clock.now_ns()
    while True:
        now_ns = clock.now_ns()
        is_due = now_ns >= due_ns
        arrival = inbox.receive_header(_WAIT_NS if is_due else 0)
        check = None
        if arrival is not None and _is_wanted(arrival.header.topic, watch, is_due):
            received = inbox.open(arrival)
            check = None if received is None else _taken(received.message, watch, motion)
        is_hopeless = now_ns > due_ns + PERIOD_NS  # its camera is dead: the next, please
        if check is not None or is_hopeless:
            watch, due_ns = next(turns), clock.now_ns() + PERIOD_NS
        if arrival is None and not is_due:  # waking for every header would cost more than the pairs
            clock.sleep_until_ns(min(due_ns, now_ns + _WAIT_NS))
        yield check


def _is_wanted(topic: str, watch: MountingWatch, is_due: bool) -> bool:
    return kind_name(topic) == "gps" or (
        is_due and topic in (watch.camera_topic, watch.lidar_topic)
    )


def _taken(message: Message, watch: MountingWatch, motion: Motion) -> MountingCheck | None:
    match message:
        case GpsFix():
            motion.push(message)
        case CameraFrame():
            watch.take_frame(message)
        case LidarSweep():
            return watch.take_sweep(message, motion)
    return None


def _frame(session: Session, topic: str) -> str:
    return session.sensors[topic].get("frame") or default_frame(topic)
