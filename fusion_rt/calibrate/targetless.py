"""Refines a LiDAR's pose in a camera from ordinary scenes, from a starting guess a few degrees off.

Coarse to fine: first blurred so much that edges a few degrees away attract, then sharper. Both
steps are repeated with the parts of the scene weighted at random (Rubin's Bayesian bootstrap): the
first to find the optima there are, for with all parts it always finds the same one, the last for
the mean, which is the result, and the spread, its uncertainty. One scene rarely fixes the
translation along the optical axis; several scenes, some of them with near objects, do.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibrate.alignment import TILES, Alignment
from fusion_rt.calibrate.search import maximise
from fusion_rt.errors import CalibrationError
from fusion_rt.geometry import RigidTransform

Floats = npt.NDArray[np.float64]
Tracked = Callable[[Iterable[int]], Iterable[int]]

BLUR_OF_FOCAL = (0.006, 0.002)
"""Coarse and middle blur per pixel of focal length, 0.35 and 0.12 degrees; never below the fine."""
FINE_BLUR_PX = (1.5, 2.0, 3.0)
REPEATS = 12
SEARCHES = 6
PRIOR_WEIGHT = 0.1
"""What one standard deviation away from the start costs; true and false optima differ by more."""
MIDDLE_SPREAD = np.array([0.4, 0.4, 0.4, 0.06, 0.06, 0.06])
FINE_SPREAD = np.array([0.2, 0.2, 0.2, 0.04, 0.04, 0.04])
RIVAL_SCORE = 0.1
"""Optima that score this alike cannot be told apart: noise moves them by as much."""
MAX_SD_DEG, MAX_SD_M = 0.5, 0.15
"""A result less certain than this is no better than a tape measure."""
MAX_MOVE = 2.0
"""Times the uncertainty of the start: farther away it is another optimum, not a refinement."""


class Refinement(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A pose found in scenes, and how far it can be trusted; axes are the camera's."""

    camera_from_lidar: RigidTransform
    sd_deg: Floats
    """(3,) standard deviation of the rotation about x, y, z."""
    sd_m: Floats
    """(3,) standard deviation of the translation along x, y, z."""
    score_start: float
    score: float

    def moved(self, start: RigidTransform) -> tuple[float, float]:
        """Degrees and metres between the start and the result."""
        return difference(self.camera_from_lidar, start)


def difference(pose: RigidTransform, other: RigidTransform) -> tuple[float, float]:
    """Degrees between the two rotations, metres between the two translations."""
    turn = RigidTransform(pose.rotation @ other.rotation.T, np.zeros(3))
    distance = float(np.linalg.norm(pose.translation_m - other.translation_m))
    return float(np.degrees(turn.angle_rad)), distance


def refine_camera_from_lidar(
    scenes: Sequence[Alignment],
    start: RigidTransform,
    focal_px: float,
    *,
    start_sd_deg: float = 2.0,
    start_sd_m: float = 0.1,
    seed: int = 0,
    tracked: Tracked = iter,
) -> Refinement:
    """The pose at which sweeps and images agree best, near `start`.

    `tracked` wraps the numbers of the searches and repeats, for a progress bar.
    Raises CalibrationError where the scenes do not determine it.
    """
    rng = np.random.default_rng(seed)
    spread = np.repeat([start_sd_deg, start_sd_m], 3)
    fine = np.minimum(spread, FINE_SPREAD)
    optima: list[Floats] = []
    repeats: list[Floats] = []
    for k in tracked(range(SEARCHES + REPEATS)):
        if k < SEARCHES:
            weight = None if k == 0 else _random_weight(scenes, rng)
            optima.append(_search(scenes, start, spread, focal_px, weight, rng))
            continue
        if k == SEARCHES:
            _sharpen(scenes, FINE_BLUR_PX[1])
            optima = _rivals(optima, [_likely_score(scenes, start, x, spread) for x in optima])
        repeats.append(_repeat(scenes, start, optima[k % len(optima)], fine, rng))
    found = np.array(repeats)
    result, sd = found.mean(axis=0), found.std(axis=0, ddof=1)
    _check(result, sd, spread)
    _sharpen(scenes, FINE_BLUR_PX[1])
    return Refinement(
        camera_from_lidar=_moved(start, result),
        sd_deg=sd[:3],
        sd_m=sd[3:],
        score_start=_score(scenes, start, None),
        score=_score(scenes, _moved(start, result), None),
    )


def _search(
    scenes: Sequence[Alignment],
    start: RigidTransform,
    spread: Floats,
    focal_px: float,
    weight: Floats | None,
    rng: np.random.Generator,
) -> Floats:
    """One optimum, coarse to fine; a false one now and then, so ask with several weights."""
    step = np.zeros(6)
    for blur, around in zip(
        BLUR_OF_FOCAL, (spread, np.minimum(spread, MIDDLE_SPREAD)), strict=True
    ):
        _sharpen(scenes, max(focal_px * blur, FINE_BLUR_PX[-1]))
        step, _ = maximise(
            lambda x: _likely_score(scenes, start, x, spread, weight),
            step,
            around,
            rng,
            rounds=12,
            draws=80,
        )
    return step


def _rivals(optima: list[Floats], scores: list[float]) -> list[Floats]:
    """The best optimum and those as good: where they differ, the scenes leave the pose open."""
    return [x for x, score in zip(optima, scores, strict=True) if score > max(scores) - RIVAL_SCORE]


def _likely_score(
    scenes: Sequence[Alignment],
    start: RigidTransform,
    step: Floats,
    spread: Floats,
    weight: Floats | None = None,
) -> float:
    """Chooses among optima; the start's uncertainty must not bend the result itself."""
    unlikely = float(((step / spread) ** 2).sum()) / 2
    return _score(scenes, _moved(start, step), weight) - PRIOR_WEIGHT * unlikely


def _repeat(
    scenes: Sequence[Alignment],
    start: RigidTransform,
    step: Floats,
    spread: Floats,
    rng: np.random.Generator,
) -> Floats:
    _sharpen(scenes, float(rng.choice(FINE_BLUR_PX)))
    weight = _random_weight(scenes, rng)
    best, _ = maximise(
        lambda x: _score(scenes, _moved(start, x), weight), step, spread, rng, rounds=12, draws=36
    )
    return best


def _random_weight(scenes: Sequence[Alignment], rng: np.random.Generator) -> Floats:
    weight: Floats = rng.exponential(size=(len(scenes), TILES * TILES))
    return weight


def _score(scenes: Sequence[Alignment], pose: RigidTransform, weight: Floats | None) -> float:
    weights = [None] * len(scenes) if weight is None else list(weight)
    scores = [scene.score(pose, w) for scene, w in zip(scenes, weights, strict=True)]
    return sum(scores) / len(scores)


def _sharpen(scenes: Sequence[Alignment], blur_px: float) -> None:
    for scene in scenes:
        scene.sharpen(blur_px)


def _moved(start: RigidTransform, step: Floats) -> RigidTransform:
    """Turned by `step[:3]` degrees about the LiDAR's origin, then shifted by `step[3:]` metres."""
    turn = RigidTransform.from_rotation_vector(np.radians(step[:3]))
    return RigidTransform(turn.rotation @ start.rotation, start.translation_m + step[3:])


def _check(result: Floats, sd: Floats, spread: Floats) -> None:
    if sd[:3].max() > MAX_SD_DEG or sd[3:].max() > MAX_SD_M:
        got = f"{sd[:3].max():.2f} degrees and {sd[3:].max():.2f} m"
        problem = f"expected a result certain to {MAX_SD_DEG} degrees and {MAX_SD_M} m, got {got}"
        way_out = "add scenes with near and far poles, kerbs and markings, or use a board"
        raise CalibrationError("camera-LiDAR", problem, way_out)
    moves = np.linalg.norm(result.reshape(2, 3), axis=1) / spread[[0, 3]]
    if moves.max() > MAX_MOVE:
        problem = f"expected a result near the start, got {moves.max():.1f} times its uncertainty"
        raise CalibrationError("camera-LiDAR", problem, "measure the start more closely")
