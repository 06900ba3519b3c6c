"""What stands still: buildings, lamps, trees, signs, tunnels and parked cars, block by block."""

import math
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.sim.meshes import Mesh, ball, box, cylinder, join
from fusion_rt.sim.models import models_of
from fusion_rt.sim.route import Pose
from fusion_rt.sim.scenario import Layout
from fusion_rt.sim.streets import (
    FRONT_M,
    HEADINGS,
    LAMP_HEIGHT_M,
    PARKED_M,
    TREE_M,
    TUNNEL_HEIGHT_M,
    TUNNEL_MOUTH_M,
    Link,
    heading_rad,
    lamps_per_block,
    node_before,
)

_FACADES = (
    (0.42, 0.36, 0.28), (0.34, 0.20, 0.15), (0.50, 0.47, 0.40), (0.28, 0.28, 0.30),
    (0.45, 0.40, 0.22), (0.38, 0.30, 0.27), (0.52, 0.50, 0.48), (0.24, 0.21, 0.19),
)  # fmt: skip
_DEPTH_M = 12.0
_LAMP_ARM_M = 0.6
_PLACE_M = 6.4
_ZEBRA_FREE_M = 8.0
_CORNER_FREE_M = 18.0


class Parked(msgspec.Struct, frozen=True):
    """A vehicle that nobody moves."""

    model: int
    pose: Pose


class City(msgspec.Struct, frozen=True, eq=False):
    """Everything that stands still, in the city frame."""

    block_m: float
    blocks: tuple[Mesh, ...]
    """One mesh per block of houses, its pavements included."""
    centres_m: npt.NDArray[np.float64]
    """(blocks, 2)"""
    buildings_m: npt.NDArray[np.float64]
    """(buildings, 5): lowest and highest x, lowest and highest y, height."""
    tunnels_m: npt.NDArray[np.float64]
    """(tunnels, 4): lowest and highest x, lowest and highest y of the covered street."""
    parked: tuple[Parked, ...]
    lamps_m: npt.NDArray[np.float64]
    """(lamps, 3): the heads of the street lamps."""

    def is_in_tunnel(self, x_m: float, y_m: float) -> bool:
        x0, x1, y0, y1 = self.tunnels_m.T
        return bool(((x0 < x_m) & (x_m < x1) & (y0 < y_m) & (y_m < y1)).any())

    def is_hidden(
        self, origins_m: npt.NDArray[np.float64], targets_m: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """(N,): whether a building stands between each of (N, 3) or (1, 3) and of (N, 3)."""
        x0, x1, y0, y1, height = self.buildings_m.T
        low = np.stack([x0, y0, np.zeros_like(x0)], axis=-1)[None]
        high = np.stack([x1, y1, height], axis=-1)[None]
        way = (targets_m - origins_m)[:, None, :]
        way = np.where(np.abs(way) < 1e-9, 1e-9, way)
        start = origins_m[:, None, :]
        to_low, to_high = (low - start) / way, (high - start) / way
        enters = np.minimum(to_low, to_high).max(axis=-1)
        leaves = np.maximum(to_low, to_high).min(axis=-1)
        hidden: npt.NDArray[np.bool_] = ((enters < leaves) & (leaves > 0) & (enters < 1)).any(
            axis=1
        )
        return hidden


def build_city(layout: Layout, tunnel_links: list[Link], seed: int) -> City:
    """The city of a seed; streets in `tunnel_links` are covered."""
    tunnels = [_tunnel_area(link, layout.block_m) for link in tunnel_links]
    tunnels_m = np.array(tunnels, np.float64).reshape(-1, 4)
    numbers = range(-1, layout.nodes)
    places = [(i, j) for i in numbers for j in numbers]
    blocks, buildings, lamps = [], [], []
    for i, j in places:
        rng = np.random.default_rng([seed, 0xC171, i + 1, j + 1])
        boxes = list(_buildings(i, j, layout, rng))
        buildings += [corners for corners, _ in boxes]
        parts = [_building(corners, facade) for corners, facade in boxes]
        heads = list(_lamp_heads(i, j, layout.block_m, tunnels_m))
        lamps += heads
        parts += [_lamp(*head) for head in heads]
        parts += list(_trees_and_signs(i, j, layout, tunnels_m, rng))
        blocks.append(join(parts))
    walls = [(corners, 3) for corners in _end_walls(layout)]
    blocks += [join([_building(corners, facade) for corners, facade in walls])]
    blocks += [_tunnel(area) for area in tunnels]
    centres = [((i + 0.5) * layout.block_m, (j + 0.5) * layout.block_m) for i, j in places]
    return City(
        block_m=layout.block_m,
        blocks=tuple(blocks),
        centres_m=np.array(centres),
        buildings_m=np.array(buildings + [corners for corners, _ in walls]),
        tunnels_m=tunnels_m,
        parked=tuple(_parked(layout, tunnels_m, seed)),
        lamps_m=np.array([(x_m, y_m, LAMP_HEIGHT_M) for x_m, y_m, _ in lamps]).reshape(-1, 3),
    )


_Corners = tuple[float, float, float, float, float]


def _building(corners: _Corners, facade: int) -> Mesh:
    x0, x1, y0, y1, high = corners
    walls = box((x0, y0, -0.2), (x1, y1, high), "facade", _FACADES[facade])
    is_roof = walls.normals()[:, 2] > 0.5
    roof = box((x0, y0, high - 0.1), (x1, y1, high), "roof")
    return join([_without(walls, is_roof), _without(roof, ~(roof.normals()[:, 2] > 0.5))])


def _without(whole: Mesh, is_dropped: npt.NDArray[np.bool_]) -> Mesh:
    return msgspec.structs.replace(
        whole,
        triangles=whole.triangles[~is_dropped],
        materials=whole.materials[~is_dropped],
        colours=whole.colours[~is_dropped],
    )


def _buildings(
    i: int, j: int, layout: Layout, rng: np.random.Generator
) -> Iterator[tuple[_Corners, int]]:
    """Houses along all four sides of a block, with their facades' numbers."""
    block_m = layout.block_m
    left, low = i * block_m + FRONT_M, j * block_m + FRONT_M
    side_m = block_m - 2 * FRONT_M
    for side in range(4):
        at_m = 0.0 if side % 2 == 0 else _DEPTH_M  # corners belong to the north and south sides
        end_m = side_m - at_m
        while end_m - at_m > 5:
            width_m = min(float(rng.uniform(9, 22)), end_m - at_m)
            high_m, facade = float(rng.uniform(*layout.building_height_m)), int(rng.integers(8))
            if rng.random() >= layout.gaps:
                x0, x1 = (at_m, at_m + width_m)
                y0, y1 = (0.0, _DEPTH_M) if side < 2 else (side_m - _DEPTH_M, side_m)
                if side % 2:
                    x0, x1, y0, y1 = y0, y1, x0, x1
                yield (left + x0, left + x1, low + y0, low + y1, high_m), facade
            at_m += width_m


def _end_walls(layout: Layout) -> Iterator[_Corners]:
    """Houses across the ends of all streets, where the city ends."""
    near = -layout.block_m
    far = layout.nodes * layout.block_m
    for low, high in ((near - 12, near), (far, far + 12)):
        yield low, high, near - 12, far + 12, 14.0
        yield near - 12, far + 12, low, high, 14.0


_Lamp = tuple[float, float, tuple[int, int]]
"""x and y of its head, and which way that stands out from the pole."""


def _along_sides(
    i: int, j: int, block_m: float, from_middle_m: float
) -> Iterator[tuple[float, float, tuple[int, int]]]:
    """The place beside each of the four streets so far from the middle of the block's side."""
    inner_m = block_m / 2 - TREE_M
    for side in range(4):
        (ax, ay), out = HEADINGS[side], HEADINGS[(side + 3) % 4]
        x_m = (i + 0.5) * block_m + out[0] * inner_m + ax * from_middle_m
        yield x_m, (j + 0.5) * block_m + out[1] * inner_m + ay * from_middle_m, out


def _lamp_heads(
    i: int, j: int, block_m: float, tunnels_m: npt.NDArray[np.float64]
) -> Iterator[_Lamp]:
    """`native/shade.h` knows this lattice."""
    count = lamps_per_block(block_m)
    for k in range(count):
        from_middle_m = ((k + 0.25) / count - 0.5) * block_m
        if abs(from_middle_m) > block_m / 2 - TREE_M - 4:
            continue
        for x_m, y_m, out in _along_sides(i, j, block_m, from_middle_m):
            if not _covers(tunnels_m, x_m, y_m):
                yield x_m + out[0] * _LAMP_ARM_M, y_m + out[1] * _LAMP_ARM_M, out


def _trees_and_signs(
    i: int,
    j: int,
    layout: Layout,
    tunnels_m: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> Iterator[Mesh]:
    """Trees between the lamps, and a sign at each end of each side."""
    block_m = layout.block_m
    count, corner_m = lamps_per_block(block_m), block_m / 2 - TREE_M
    for k in range(count):
        from_middle_m = ((k + 0.75) / count - 0.5) * block_m
        for x_m, y_m, _ in _along_sides(i, j, block_m, from_middle_m):
            has_tree = rng.random() < layout.trees and abs(from_middle_m) < corner_m - 4
            if has_tree and not _covers(tunnels_m, x_m, y_m):
                yield _tree(x_m, y_m, rng)
    for x_m, y_m, _ in _along_sides(i, j, block_m, corner_m - 0.3):
        if not _covers(tunnels_m, x_m, y_m):
            yield _sign(x_m, y_m)


def _covers(tunnels_m: npt.NDArray[np.float64], x_m: float, y_m: float, by_m: float = 2.0) -> bool:
    x0, x1, y0, y1 = tunnels_m.T
    inside = (x0 - by_m < x_m) & (x_m < x1 + by_m) & (y0 - by_m < y_m) & (y_m < y1 + by_m)
    return bool(inside.any())


def _lamp(x_m: float, y_m: float, out: tuple[int, int]) -> Mesh:
    foot = (x_m - out[0] * _LAMP_ARM_M, y_m - out[1] * _LAMP_ARM_M, LAMP_HEIGHT_M / 2)
    low = (x_m - 0.35, y_m - 0.35, LAMP_HEIGHT_M - 0.12)
    head = box(low, (x_m + 0.35, y_m + 0.35, LAMP_HEIGHT_M), "street_lamp")
    return join([cylinder(foot, 0.09, LAMP_HEIGHT_M, "pole", sides=6), head])


def _tree(x_m: float, y_m: float, rng: np.random.Generator) -> Mesh:
    trunk_m = float(rng.uniform(2.2, 3.2))
    wide_m, high_m = float(rng.uniform(1.3, 2.4)), float(rng.uniform(1.5, 2.8))
    shade = float(rng.uniform(0.7, 1.4))
    crown = ball(
        (x_m, y_m, trunk_m + high_m * 0.8),
        (wide_m, wide_m, high_m),
        "foliage",
        (0.06 * shade, 0.12 * shade, 0.03 * shade),
    )
    trunk = cylinder((x_m, y_m, trunk_m / 2), 0.17, trunk_m + 0.6, "bark", sides=6)
    return join([trunk, crown])


def _sign(x_m: float, y_m: float) -> Mesh:
    pole = cylinder((x_m, y_m, 1.2), 0.04, 2.4, "pole", sides=6)
    plate = box((x_m - 0.3, y_m - 0.3, 2.0), (x_m + 0.3, y_m + 0.3, 2.6), "sign")
    return join([pole, plate])


def _tunnel_area(link: Link, block_m: float) -> tuple[float, float, float, float]:
    i, j, heading = link
    back_i, back_j = node_before((i, j), heading)
    x0, x1 = sorted((i * block_m, back_i * block_m))
    y0, y1 = sorted((j * block_m, back_j * block_m))
    if heading % 2 == 0:
        return x0 + TUNNEL_MOUTH_M, x1 - TUNNEL_MOUTH_M, y0 - FRONT_M, y1 + FRONT_M
    return x0 - FRONT_M, x1 + FRONT_M, y0 + TUNNEL_MOUTH_M, y1 - TUNNEL_MOUTH_M


def _tunnel(area: tuple[float, float, float, float]) -> Mesh:
    x0, x1, y0, y1 = area
    high, thick = TUNNEL_HEIGHT_M + 0.8, 0.4
    roof = box((x0, y0, TUNNEL_HEIGHT_M), (x1, y1, high), "concrete")
    if x1 - x0 > y1 - y0:
        walls = [((x0, y0, -0.2), (x1, y0 + thick, high)), ((x0, y1 - thick, -0.2), (x1, y1, high))]
    else:
        walls = [((x0, y0, -0.2), (x0 + thick, y1, high)), ((x1 - thick, y0, -0.2), (x1, y1, high))]
    return join([roof, *(box(low, top, "concrete") for low, top in walls)])


def _parked(layout: Layout, tunnels_m: npt.NDArray[np.float64], seed: int) -> Iterator[Parked]:
    """Cars at the kerb of both sides of every street, clear of crossings and zebras."""
    block_m, rng = layout.block_m, np.random.default_rng([seed, 0x9A2C])
    cars = models_of("car")
    for i in range(layout.nodes):
        for j in range(layout.nodes):
            for heading, (hx, hy) in enumerate(HEADINGS):
                place_m = _CORNER_FREE_M
                while place_m < block_m - _CORNER_FREE_M:
                    is_taken, model = rng.random() < layout.parked, int(rng.choice(cars))
                    aside, turned = rng.uniform(-0.15, 0.15), rng.normal(0, 0.015)
                    is_zebra = abs(place_m - block_m / 2) < _ZEBRA_FREE_M
                    offset_m = PARKED_M + float(aside)
                    x_m = i * block_m - hx * place_m + hy * offset_m
                    y_m = j * block_m - hy * place_m - hx * offset_m
                    place_m += _PLACE_M
                    if is_taken and not is_zebra and not _covers(tunnels_m, x_m, y_m, 4.0):
                        yaw = heading_rad(heading) + float(turned)
                        yield Parked(model, Pose(x_m, y_m, math.remainder(yaw, math.tau)))
