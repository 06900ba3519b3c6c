"""Tracking, after fuse: the same number for the same thing, and predictions through short gaps.

One constant-velocity Kalman filter per thing, over x, y, vx, vy in `base`, carried along with our
own motion; boxes find their tracks at the least total distance. Size, height and direction follow
the network's with a little smoothing. Pure: time comes with the boxes.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.arrays import Floats
from fusion_rt.clock import NS_PER_S
from fusion_rt.fusion.assignment import assign
from fusion_rt.fusion.options import TrackerOptions
from fusion_rt.geometry import RigidTransform

_X, _Y, _Z, _YAW, _VX, _VY = 0, 1, 2, 6, 7, 8
_PLACE_M, _SPEED_MPS = 0.35, 1.5
"""Standard deviations of what the network says of a box."""
_PUSH_MPS2 = 2.5
"""Of the accelerations that things undergo."""
_SMOOTHING = 0.4
_CONFIRMED = 3
"""Times a thing must have been seen before it is predicted through a gap."""
_FADE_S = 0.5
"""The score of a prediction falls to 1/e in this time."""
_FAR_M = 1e6
_MAX_TRACKS = 256
_MEASURED = np.diag([_PLACE_M**2, _PLACE_M**2, _SPEED_MPS**2, _SPEED_MPS**2])


class Track(msgspec.Struct, eq=False):
    """One thing."""

    number: int
    class_id: int
    state: npt.NDArray[np.float64]
    """(4,): x, y, vx, vy in `base` at the last time."""
    covariance: npt.NDArray[np.float64]
    box: Floats
    """(9,), its place and velocity as last published."""
    score: float
    seen: int = 1
    unseen_s: float = 0.0


class Tracked(msgspec.Struct, frozen=True, eq=False):
    """The boxes of one reference time with their identities; predictions come last."""

    boxes: Floats
    scores: Floats
    class_ids: npt.NDArray[np.uint8]
    track_ids: npt.NDArray[np.uint32]
    is_predicted: npt.NDArray[np.uint8]
    source: npt.NDArray[np.int64]
    """(N,): index of the box that was given; -1 for a prediction."""


class Tracker:
    """Follows everything that was seen of late."""

    def __init__(self, options: TrackerOptions) -> None:
        self._options = options
        self._tracks: list[Track] = []
        self._time_ns: int | None = None
        self._next_number = 1

    @property
    def time_ns(self) -> int | None:
        """Of the last update."""
        return self._time_ns

    def update(
        self,
        boxes: Floats,
        scores: Floats,
        class_ids: npt.NDArray[np.uint8],
        time_ns: int,
        now_from_before: RigidTransform,
    ) -> Tracked:
        """Boxes (N, 9) in `base` at `time_ns`; `now_from_before` maps `base` of the last update."""
        self._predict(time_ns, now_from_before)
        pairs = self._pairs(boxes, class_ids)
        for place, track in pairs.items():
            _correct(track, boxes[place], float(scores[place]))
        for place in range(len(boxes)):
            if place not in pairs:
                pairs[place] = self._begin(boxes[place], float(scores[place]), class_ids[place])
        seen = {id(track) for track in pairs.values()}
        for track in self._tracks:
            if id(track) not in seen and track.seen < _CONFIRMED:
                track.unseen_s = math.inf  # a flicker, not a thing
        self._forget()
        coasting = [track for track in self._tracks if id(track) not in seen]
        return _tracked([pairs[place] for place in range(len(boxes))], coasting)

    def coast(self, time_ns: int, now_from_before: RigidTransform) -> Tracked:
        """Nobody looked at `time_ns`: everything confirmed, where it was heading."""
        self._predict(time_ns, now_from_before)
        self._forget()
        return _tracked([], [track for track in self._tracks if track.seen >= _CONFIRMED])

    def _forget(self) -> None:
        """What nothing was seen of for too long."""
        coast_s = self._options.coast_s
        self._tracks = [track for track in self._tracks if track.unseen_s <= coast_s]
        del self._tracks[:-_MAX_TRACKS]

    def _predict(self, time_ns: int, now_from_before: RigidTransform) -> None:
        passed_s = 0.0 if self._time_ns is None else (time_ns - self._time_ns) / NS_PER_S
        self._time_ns = time_ns
        if not 0 <= passed_s <= self._options.coast_s + 1:  # the clock stepped, or all is stale
            self._tracks.clear()
            return
        for track in self._tracks:
            _move(track, passed_s, now_from_before)

    def _pairs(self, boxes: Floats, class_ids: npt.NDArray[np.uint8]) -> dict[int, Track]:
        if not len(boxes) or not self._tracks:
            return {}
        places = np.array([track.state[:2] for track in self._tracks])
        costs = np.hypot(
            boxes[:, None, _X] - places[None, :, 0], boxes[:, None, _Y] - places[None, :, 1]
        ).astype(np.float64)
        kinds = np.array([track.class_id for track in self._tracks])
        costs[class_ids[:, None] != kinds[None]] += self._options.gate_m / 2
        costs[costs > self._options.gate_m] = _FAR_M
        found = assign(costs)
        return {row: self._tracks[column] for row, column in found if costs[row, column] < _FAR_M}

    def _begin(self, box: Floats, score: float, class_id: int) -> Track:
        number, self._next_number = self._next_number, self._next_number + 1
        state = box[[_X, _Y, _VX, _VY]].astype(np.float64)
        track = Track(number, int(class_id), state, _MEASURED.copy(), box.copy(), score)
        self._tracks.append(track)
        return track


def _move(track: Track, passed_s: float, now_from_before: RigidTransform) -> None:
    """Along its velocity, then into where `base` is by now."""
    step = np.eye(4)
    step[0, 2] = step[1, 3] = passed_s
    pushed = np.array([[passed_s**2 / 2, 0], [0, passed_s**2 / 2], [passed_s, 0], [0, passed_s]])
    turn = np.kron(np.eye(2), now_from_before.rotation[:2, :2])
    track.state = turn @ step @ track.state
    track.state[:2] += now_from_before.translation_m[:2]
    grown = step @ track.covariance @ step.T + pushed @ pushed.T * _PUSH_MPS2**2
    track.covariance = turn @ grown @ turn.T
    track.unseen_s += passed_s
    box = track.box.copy()
    box[_YAW] = math.remainder(box[_YAW] + now_from_before.yaw_rad, math.tau)
    track.box = _placed(box, track.state)


def _correct(track: Track, box: Floats, score: float) -> None:
    """Kalman's update with a box; the filter's own uncertainty says how much to believe it."""
    gain = track.covariance @ np.linalg.inv(track.covariance + _MEASURED)
    track.state = track.state + gain @ (box[[_X, _Y, _VX, _VY]] - track.state)
    track.covariance = (np.eye(4) - gain) @ track.covariance
    smooth = track.box + np.float32(_SMOOTHING) * (box - track.box)
    turned = math.remainder(float(box[_YAW] - track.box[_YAW]), math.tau)
    if abs(turned) > math.pi / 2:  # front and back were mixed up, now or before
        smooth[_YAW] = box[_YAW]
    else:
        smooth[_YAW] = math.remainder(float(track.box[_YAW]) + _SMOOTHING * turned, math.tau)
    track.box = _placed(smooth, track.state)
    track.score, track.seen, track.unseen_s = score, track.seen + 1, 0.0


def _placed(box: Floats, state: npt.NDArray[np.float64]) -> Floats:
    box[[_X, _Y, _VX, _VY]] = state
    return box


def _tracked(seen: list[Track], coasting: list[Track]) -> Tracked:
    tracks = [*seen, *coasting]
    count = len(tracks)
    faded = [track.score * math.exp(-track.unseen_s / _FADE_S) for track in tracks]
    return Tracked(
        boxes=np.array([track.box for track in tracks], np.float32).reshape(count, 9),
        scores=np.array(faded, np.float32),
        class_ids=np.array([track.class_id for track in tracks], np.uint8),
        track_ids=np.array([track.number for track in tracks], np.uint32),
        is_predicted=np.array([0] * len(seen) + [1] * len(coasting), np.uint8),
        source=np.array([*range(len(seen)), *[-1] * len(coasting)], np.int64),
    )
