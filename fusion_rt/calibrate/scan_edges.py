"""Finds in a LiDAR sweep what a camera would see as edges; for targetless camera-LiDAR calibration.

Beams sample a turn every tenth of a degree or two, so an edge lies somewhere between two of them:
edges are placed half way, and left and right sides of an object err in opposite directions.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MIN_RINGS, MAX_RINGS = 8, 256
RANGE_JUMP = 0.1
"""Neighbours whose ranges differ by more than this share are on different surfaces."""
SAME_SURFACE = 0.05
INTENSITY_STEP = 0.06
"""Of full scale: paint on asphalt differs by several times as much, its grain by less."""
STEP_OVER_GRAIN = 3.0
"""Times the median step: some sensors' intensities are grainier than that."""
WIDEST_STEP_RAD = np.radians(0.5)
"""Neighbours in a ring farther apart than this have lost returns between them."""
_MAX_RING_STEP_RAD = np.radians(1.2)


class ScanEdges(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Edge points of one sweep, (N, 3) float64 metres each, in the LiDAR's frame."""

    depth_across: Floats
    """On the nearer surface where the range jumps along a ring: upright edges in an image."""
    depth_along: Floats
    """The same from one ring to the next, ground seen at a grazing angle aside: level edges."""
    paint_across: Floats
    """Where the intensity jumps along a ring on one surface."""
    points: Floats
    """All points, for what compares intensities."""
    intensity: Floats
    """(N,), 0..1."""


def scan_edges(points_m: Floats, intensity: Floats, ring: Indices | None = None) -> ScanEdges:
    """Edges of a sweep (N, 3) with intensity (N,) in 0..1; rings are worked out where not given.

    Raises CalibrationError where neither elevation nor the order of points tells the rings.
    """
    is_valid = np.isfinite(points_m).all(axis=1) & (np.linalg.norm(points_m, axis=1) > 0.5)
    points_m, intensity = points_m[is_valid].astype(np.float64), intensity[is_valid]
    rings = rings_of(points_m) if ring is None else ring[is_valid].astype(np.int64)
    order = np.lexsort((_azimuth(points_m), rings))
    points_m, intensity, rings = points_m[order], intensity[order], rings[order]
    first, second = _neighbours_in_ring(points_m, rings)
    lower, upper = _neighbours_between_rings(points_m, rings)
    ends = _ends_of_returns(points_m, rings)
    return ScanEdges(
        depth_across=np.vstack([_depth_edges(points_m, first, second), ends]),
        depth_along=np.vstack(
            [_level_edges(points_m, lower, upper), _level_edges(points_m, upper, lower)]
        ),
        paint_across=_paint_edges(points_m, intensity, first),
        points=points_m,
        intensity=intensity,
    )


def rings_of(points_m: Floats) -> Indices:
    """(N,) ring of each point, from clusters of elevation or, failing that, from their order.

    Uncorrected sweeps have one elevation per ring. Corrected ones do not, but are usually stored
    ring by ring: a new ring starts where the azimuth comes round.
    """
    elevation = np.arctan2(points_m[:, 2], np.hypot(points_m[:, 0], points_m[:, 1]))
    steps = np.round(elevation / np.radians(0.02)).astype(np.int64)
    used = np.unique(steps)
    cluster = np.cumsum(np.diff(used, prepend=used[:1]) > 2)
    count = int(cluster[-1]) + 1 if len(used) else 0
    if MIN_RINGS <= count <= MAX_RINGS and len(used) < 4 * count:
        return np.asarray(cluster[np.searchsorted(used, steps)], dtype=np.int64)
    turns = np.abs(np.diff(_azimuth(points_m) % (2 * np.pi), prepend=0.0)) > np.pi
    by_order = np.cumsum(turns).astype(np.int64)
    if len(points_m) == 0 or not MIN_RINGS <= by_order[-1] + 1 <= MAX_RINGS:
        problem = f"expected {MIN_RINGS} to {MAX_RINGS} rings, found {count} by elevation"
        raise CalibrationError("LiDAR sweep", problem, "give the ring of each point")
    return by_order


def _azimuth(points_m: Floats) -> Floats:
    azimuth: Floats = np.arctan2(points_m[:, 1], points_m[:, 0])
    return azimuth


def _neighbours_in_ring(points_m: Floats, rings: Indices) -> tuple[Indices, Indices]:
    step = np.diff(_azimuth(points_m))
    first = np.flatnonzero((rings[1:] == rings[:-1]) & (step < WIDEST_STEP_RAD))
    return first, first + 1


def _neighbours_between_rings(points_m: Floats, rings: Indices) -> tuple[Indices, Indices]:
    """Each point with the one of the next ring that is nearest in azimuth."""
    azimuth = _azimuth(points_m)
    names, starts = np.unique(rings, return_index=True)
    bounds = [*starts.tolist(), len(rings)]
    lower, upper = [], []
    for k in range(len(names) - 1):
        mine = np.arange(bounds[k], bounds[k + 1])
        theirs = azimuth[bounds[k + 1] : bounds[k + 2]]
        nearest = np.clip(np.searchsorted(theirs, azimuth[mine]), 0, len(theirs) - 1)
        is_left = np.abs(theirs[np.maximum(nearest - 1, 0)] - azimuth[mine]) < np.abs(
            theirs[nearest] - azimuth[mine]
        )
        nearest = np.maximum(nearest - is_left, 0)
        is_near = np.abs(theirs[nearest] - azimuth[mine]) < WIDEST_STEP_RAD / 2
        lower.append(mine[is_near])
        upper.append(bounds[k + 1] + nearest[is_near])
    if not lower:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    pairs = np.concatenate(lower), np.concatenate(upper)
    directions = points_m / np.linalg.norm(points_m, axis=1, keepdims=True)
    cosine = (directions[pairs[0]] * directions[pairs[1]]).sum(axis=1)
    is_close = cosine > np.cos(_MAX_RING_STEP_RAD)
    return pairs[0][is_close], pairs[1][is_close]


def _depth_edges(points_m: Floats, first: Indices, second: Indices) -> Floats:
    ranges = np.linalg.norm(points_m, axis=1)
    nearer = np.minimum(ranges[first], ranges[second])
    jumps = np.abs(ranges[first] - ranges[second]) > RANGE_JUMP * nearer
    return _half_way(points_m, first[jumps], second[jumps])


def _half_way(points_m: Floats, first: Indices, second: Indices) -> Floats:
    """Between two beams, at the nearer range."""
    ranges = np.linalg.norm(points_m, axis=1)
    nearer = np.minimum(ranges[first], ranges[second])
    between = points_m[first] / ranges[first, None] + points_m[second] / ranges[second, None]
    edges: Floats = between / np.linalg.norm(between, axis=1, keepdims=True) * nearer[:, None]
    return edges


def _level_edges(points_m: Floats, near: Indices, far: Indices) -> Floats:
    """Where the surface of two rings, the last of them `near`, ends before `far` on the next.

    Rings on the ground lie far apart in range: it is an edge only where `far` lies behind where
    the surface would go on. On a plane the inverse range is linear, all but, in the elevation.
    """
    before = np.full(len(points_m), -1)
    before[far] = near
    has_before = before[near] >= 0
    near, far = near[has_before], far[has_before]
    before = before[near]
    closeness = 1 / np.linalg.norm(points_m, axis=1)
    elevation = np.arctan2(points_m[:, 2], np.hypot(points_m[:, 0], points_m[:, 1]))
    last_step = elevation[near] - elevation[before]
    step = (elevation[far] - elevation[near]) / np.where(last_step == 0, np.inf, last_step)
    slope = closeness[near] - closeness[before]
    expected = closeness[near] + slope * np.clip(step, 0, 2)
    is_surface = np.abs(slope) < RANGE_JUMP * closeness[near]
    is_behind = closeness[far] < (1 - RANGE_JUMP) * np.minimum(expected, closeness[near])
    kept = is_surface & is_behind
    return _half_way(points_m, near[kept], far[kept])


def _ends_of_returns(points_m: Floats, rings: Indices) -> Floats:
    """Where a ring's returns end before the sky or a hole: half a beam step beyond the last."""
    step = np.diff(_azimuth(points_m))
    is_end = (rings[1:] != rings[:-1]) | (step >= WIDEST_STEP_RAD)
    half = float(np.median(step[~is_end])) / 2 if (~is_end).any() else 0.0
    before, after = points_m[:-1][is_end], points_m[1:][is_end]
    return np.vstack([_turned(before, half), _turned(after, -half)])


def _turned(points_m: Floats, angle_rad: float) -> Floats:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    turned: Floats = points_m @ turn.T
    return turned


def _paint_edges(points_m: Floats, intensity: Floats, first: Indices) -> Floats:
    """Between the second and third of four beams on one surface, where the step is steepest."""
    ranges = np.linalg.norm(points_m, axis=1)
    nearer = np.minimum(ranges[first], ranges[first + 1])
    is_joined = np.zeros(len(points_m), dtype=bool)
    is_joined[first] = np.abs(ranges[first] - ranges[first + 1]) < SAME_SURFACE * nearer
    second = 1 + np.flatnonzero(is_joined[:-2] & is_joined[1:-1] & is_joined[2:])
    pair = intensity[:-1] + intensity[1:]
    step = np.zeros(len(points_m))
    step[second] = np.abs(pair[second + 1] - pair[second - 1]) / 2
    grain = float(np.median(step[second])) if len(second) else 0.0
    is_steep = step[second] > max(INTENSITY_STEP, STEP_OVER_GRAIN * grain)
    is_peak = (step[second] >= step[second - 1]) & (step[second] >= step[second + 1])
    kept = second[is_steep & is_peak]
    edges: Floats = (points_m[kept] + points_m[kept + 1]) / 2
    return edges
