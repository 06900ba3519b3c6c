"""The things that move or are parked: one mesh each, with the class it counts as.

x forward, y left, z up; the origin lies on the ground below the middle. The box of an object in the
ground truth is exactly the box around its mesh.
"""

import math
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.sim.meshes import Mesh, ball, box, cylinder, join, prism

CLASSES = ("car", "truck", "pedestrian", "cyclist", "emergency")
"""Of ground truth, in the order of their numbers."""


class Model(msgspec.Struct, frozen=True, eq=False):
    """A shape that many objects share."""

    name: str
    class_id: int
    """Into CLASSES."""
    mesh: Mesh
    size_m: tuple[float, float, float]
    """Length, width, height of the box around the mesh."""
    middle_m: tuple[float, float, float]
    """Of that box, from the origin."""


@cache
def models() -> tuple[Model, ...]:
    """All shapes, in the order of their numbers."""
    return tuple(_model(name, kind, make()) for name, kind, make in _SHAPES)


@cache
def models_of(kind: str) -> tuple[int, ...]:
    """Numbers of the shapes of one class."""
    class_id = CLASSES.index(kind)
    return tuple(i for i, model in enumerate(models()) if model.class_id == class_id)


def sizes_m() -> npt.NDArray[np.float64]:
    """(models, 3): length, width, height."""
    return np.array([model.size_m for model in models()])


def middles_m() -> npt.NDArray[np.float64]:
    """(models, 3): middle of each box."""
    return np.array([model.middle_m for model in models()])


def _model(name: str, kind: str, shape: Mesh) -> Model:
    low, high = (limit(shape.vertices_m, axis=0).astype(float) for limit in (np.min, np.max))
    size, middle = (high - low).tolist(), ((high + low) / 2).tolist()
    return Model(name, CLASSES.index(kind), shape, tuple(size), tuple(middle))


def _wheels(xs_m: tuple[float, ...], half_width_m: float, radius_m: float, tyre_m: float) -> Mesh:
    y_m = half_width_m - tyre_m / 2
    return join(
        [
            cylinder((x, side * y_m, radius_m), radius_m, tyre_m, "tyre", axis="y", sides=12)
            for x in xs_m
            for side in (-1, 1)
        ]
    )


def _lamps(front_m: float, rear_m: float, half_width_m: float, z_m: float) -> Mesh:
    """Head lamps, tail lamps and plates, 2 cm proud of the body."""
    inner, outer = half_width_m * 0.60, half_width_m * 0.95
    parts = []
    for sign in (-1, 1):
        y0, y1 = sorted((sign * inner, sign * outer))
        parts += [
            box((front_m - 0.1, y0, z_m - 0.08), (front_m + 0.02, y1, z_m + 0.08), "head_lamp"),
            box((rear_m - 0.02, y0, z_m - 0.06), (rear_m + 0.1, y1, z_m + 0.12), "tail_lamp"),
        ]
    for x0, x1 in ((front_m - 0.1, front_m + 0.02), (rear_m - 0.02, rear_m + 0.1)):
        parts.append(box((x0, -0.26, z_m - 0.28), (x1, 0.26, z_m - 0.17), "plate"))
    return join(parts)


def _car(length_m: float, width_m: float, height_m: float, boot_m: float, bonnet_m: float) -> Mesh:
    """Body, and a cabin that narrows upwards; `boot_m` and `bonnet_m` lie before and behind it."""
    half, x1 = width_m / 2, length_m / 2 - 0.02  # lamps make up the rest
    belt = 0.52 * height_m + 0.1
    body_outline = [(-x1, 0.3), (-x1 + 0.1, 0.2), (x1 - 0.1, 0.2), (x1, 0.35), (x1, belt - 0.2)]
    body_outline += [(x1 - 0.15, belt - 0.1), (x1 - bonnet_m, belt), (-x1, belt)]
    rear, front = -x1 + boot_m, x1 - bonnet_m + 0.15
    cabin_outline = [(rear, belt), (front, belt), (front - 0.75, height_m), (rear + 0.35, height_m)]
    wide, narrow = (half - 0.06, -half + 0.06), (half - 0.22, -half + 0.22)
    roof = [(front - 0.85, height_m - 0.03), (rear + 0.42, height_m - 0.03)]
    roof = [roof[1], roof[0], (front - 0.78, height_m + 0.01), (rear + 0.37, height_m + 0.01)]
    return join(
        [
            prism(body_outline, [(half, -half)] * len(body_outline), "paint"),
            prism(cabin_outline, [wide, wide, narrow, narrow], "glass"),
            prism(roof, [narrow] * 4, "paint"),
            _wheels((-length_m * 0.30, length_m * 0.31), half + 0.01, 0.32, 0.22),
            _lamps(x1, -x1, half, belt - 0.22),
        ]
    )


def _van(length_m: float, width_m: float, height_m: float, stripe: str | None = None) -> Mesh:
    half, x1 = width_m / 2, length_m / 2 - 0.02
    outline = [(-x1, 0.3), (x1, 0.3), (x1, 1.05), (x1 - 0.55, 1.25), (x1 - 1.2, height_m)]
    outline += [(-x1, height_m)]
    screen = [(x1 - 0.60, 1.28), (x1 - 0.54, 1.28), (x1 - 1.10, height_m - 0.2)]
    screen += [(x1 - 1.16, height_m - 0.2)]
    parts = [
        prism(outline, [(half, -half)] * len(outline), "paint"),
        prism(screen, [(half - 0.1, -half + 0.1)] * 4, "glass"),
        box((x1 - 2.1, -half - 0.01, 1.3), (x1 - 1.35, half + 0.01, height_m - 0.35), "glass"),
        _wheels((-length_m * 0.29, length_m * 0.33), half + 0.02, 0.36, 0.24),
        _lamps(x1, -x1, half, 0.85),
    ]
    if stripe is not None:
        parts.append(box((-x1 - 0.01, -half - 0.015, 0.95), (x1, half + 0.015, 1.15), stripe))
        for x in (x1 - 1.5, -x1 + 0.3):
            high = height_m + 0.22
            parts.append(
                box((x - 0.15, -half + 0.2, height_m), (x + 0.15, half - 0.2, high), "beacon")
            )
    return join(parts)


def _lorry(length_m: float) -> Mesh:
    half, x1, high = 1.25, length_m / 2 - 0.02, 3.6
    cab = [(x1 - 2.0, 0.5), (x1, 0.5), (x1, 1.7), (x1 - 0.15, 2.9), (x1 - 2.0, 2.9)]
    screen = [(x1 - 0.10, 1.75), (x1 + 0.015, 1.75), (x1 - 0.1, 2.6), (x1 - 0.2, 2.6)]
    return join(
        [
            prism(cab, [(half - 0.05, -half + 0.05)] * 5, "paint"),
            prism(screen, [(half - 0.15, -half + 0.15)] * 4, "glass"),
            box((-x1, -half, 1.05), (x1 - 2.15, half, high), "paint"),
            box((-x1 + 0.2, -0.5, 0.6), (x1 - 1.8, 0.5, 1.05), "trim"),
            _wheels((-x1 + 1.1, -x1 + 2.3, x1 - 1.3), half, 0.5, 0.3),
            _lamps(x1, -x1, half - 0.05, 0.85),
        ]
    )


def _bus() -> Mesh:
    half, x1 = 1.27, 5.98
    panes = [box((-x1 + 0.4, -half - 0.01, 1.3), (x1 - 1.9, half + 0.01, 2.5), "glass")]
    panes.append(box((x1 - 0.2, -half + 0.1, 1.1), (x1 + 0.01, half - 0.1, 2.6), "glass"))
    body = box((-x1, -half, 0.35), (x1, half, 3.1), "paint")
    wheels = _wheels((-x1 + 3.2, x1 - 2.7), half + 0.01, 0.48, 0.3)
    return join([body, *panes, wheels, _lamps(x1, -x1, half, 0.85)])


def _person(height_m: float) -> Mesh:
    """Standing with one leg before the other; it glides, its legs do not move."""
    k = height_m / 1.75
    return join(
        [
            box((0.05 * k, 0.03 * k, 0.0), (0.21 * k, 0.17 * k, 0.84 * k), "trousers"),
            box((-0.19 * k, -0.17 * k, 0.0), (-0.03 * k, -0.03 * k, 0.84 * k), "trousers"),
            prism(
                [
                    (-0.13 * k, 0.8 * k),
                    (0.14 * k, 0.8 * k),
                    (0.12 * k, 1.46 * k),
                    (-0.1 * k, 1.46 * k),
                ],
                [(0.18 * k, -0.18 * k)] * 2 + [(0.23 * k, -0.23 * k)] * 2,
                "cloth",
            ),
            box((-0.08 * k, 0.22 * k, 0.78 * k), (0.06 * k, 0.32 * k, 1.42 * k), "cloth"),
            box((-0.02 * k, -0.32 * k, 0.78 * k), (0.12 * k, -0.22 * k, 1.42 * k), "cloth"),
            ball((0.02 * k, 0.0, 1.61 * k), (0.11 * k, 0.09 * k, 0.14 * k), "skin"),
        ]
    )


def _rider() -> Mesh:
    wheels = [
        cylinder((x, 0.0, 0.34), 0.34, 0.05, "tyre", axis="y", sides=12) for x in (-0.52, 0.52)
    ]
    lean = [(-0.30, 0.92), (-0.05, 0.92), (0.30, 1.42), (0.08, 1.50)]
    return join(
        [
            *wheels,
            prism(
                [(-0.5, 0.34), (0.0, 0.3), (0.45, 0.82), (-0.15, 0.85)], [(0.03, -0.03)] * 4, "trim"
            ),
            box((0.36, -0.28, 0.95), (0.42, 0.28, 1.0), "trim"),
            prism(
                [(-0.2, 0.35), (-0.05, 0.3), (0.05, 0.7), (-0.2, 0.95)],
                [(0.16, -0.16)] * 4,
                "trousers",
            ),
            prism(lean, [(0.18, -0.18)] * 2 + [(0.22, -0.22)] * 2, "cloth"),
            box((0.1, -0.27, 1.1), (0.42, 0.27, 1.2), "cloth"),
            ball((0.27, 0.0, 1.62), (0.12, 0.09, 0.14), "skin"),
        ]
    )


_SHAPES: tuple[tuple[str, str, Callable[[], Mesh]], ...] = (
    ("hatchback", "car", lambda: _car(4.0, 1.75, 1.48, 0.15, 1.15)),
    ("saloon", "car", lambda: _car(4.75, 1.84, 1.45, 0.85, 1.35)),
    ("off_roader", "car", lambda: _car(4.6, 1.9, 1.75, 0.12, 1.25)),
    ("van", "car", lambda: _van(5.2, 1.96, 2.1)),
    ("lorry", "truck", lambda: _lorry(8.5)),
    ("bus", "truck", _bus),
    ("adult", "pedestrian", lambda: _person(1.75)),
    ("tall_adult", "pedestrian", lambda: _person(1.88)),
    ("child", "pedestrian", lambda: _person(1.25)),
    ("rider", "cyclist", _rider),
    ("ambulance", "emergency", lambda: _van(6.0, 2.06, 2.6, stripe="sign")),
)
MODEL_NUMBERS = {name: number for number, (name, _, _) in enumerate(_SHAPES)}
RADIUS_M = math.hypot(6.0, 1.3)
"""No object reaches farther from its origin, seen from above."""
