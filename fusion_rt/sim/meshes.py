"""Triangle meshes that camera and LiDAR share: a few solids, put together by `join`.

Every solid is convex and closed. A triangle shows the side from which its corners turn
anticlockwise, which is outwards, and the camera draws no other.
"""

import math
from collections.abc import Sequence
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.sim.materials import MATERIALS, colours

Vector = tuple[float, float, float]
_COLOURS = colours()


class Mesh(msgspec.Struct, frozen=True, eq=False):
    """Triangles with a material and a colour each."""

    vertices_m: npt.NDArray[np.float32]
    """(V, 3)"""
    triangles: npt.NDArray[np.int32]
    """(T, 3), into `vertices_m`."""
    materials: npt.NDArray[np.uint8]
    """(T,), into `materials.MATERIALS`."""
    colours: npt.NDArray[np.float32]
    """(T, 3), linear RGB; paint and cloth take the colour of their owner instead."""

    def moved(self, x_m: float, y_m: float, z_m: float = 0.0, yaw_rad: float = 0.0) -> "Mesh":
        """The same, turned about z, then shifted."""
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        vertices = self.vertices_m @ turn + (x_m, y_m, z_m)
        return msgspec.structs.replace(self, vertices_m=vertices.astype(np.float32))

    def normals(self) -> npt.NDArray[np.float32]:
        """(T, 3), outwards, of length 1."""
        a, b, c = (self.vertices_m[self.triangles[:, i]].astype(np.float64) for i in range(3))
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return normal.astype(np.float32)


def mesh(
    vertices_m: npt.ArrayLike,
    triangles: npt.ArrayLike,
    material: str,
    colour: Sequence[float] | None = None,
) -> Mesh:
    """A mesh of one material; its colour is the material's where none is given."""
    corners = np.asarray(triangles, np.int32)
    number = MATERIALS[material]
    rgb = _COLOURS[number] if colour is None else np.asarray(colour, np.float32)
    return Mesh(
        vertices_m=np.asarray(vertices_m, np.float32),
        triangles=corners,
        materials=np.full(len(corners), number, np.uint8),
        colours=np.tile(rgb, (len(corners), 1)),
    )


def join(parts: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    firsts = np.cumsum([0, *(len(part.vertices_m) for part in parts)])
    triangles = [part.triangles + first for part, first in zip(parts, firsts, strict=False)]
    return Mesh(
        vertices_m=np.concatenate([part.vertices_m for part in parts]),
        triangles=np.concatenate(triangles).astype(np.int32),
        materials=np.concatenate([part.materials for part in parts]),
        colours=np.concatenate([part.colours for part in parts]),
    )


def box(low: Vector, high: Vector, material: str, colour: Sequence[float] | None = None) -> Mesh:
    """An upright box between two opposite corners."""
    unit = _cube()
    size = np.subtract(high, low)
    return mesh(unit.vertices_m * size + low, unit.triangles, material, colour)


@cache
def _cube() -> Mesh:
    return prism([(0, 0), (1, 0), (1, 1), (0, 1)], [(1, 0)] * 4, "paint")


def prism(
    outline: Sequence[tuple[float, float]],
    sides_m: Sequence[tuple[float, float]],
    material: str,
    colour: Sequence[float] | None = None,
) -> Mesh:
    """A convex outline of (x, z) swept across y, from left to right side at each of its corners."""
    count = len(outline)
    left = [(x, side[0], z) for (x, z), side in zip(outline, sides_m, strict=True)]
    right = [(x, side[1], z) for (x, z), side in zip(outline, sides_m, strict=True)]
    fan = [(0, i, i + 1) for i in range(1, count - 1)]
    triangles = fan + [(a + count, b + count, c + count) for a, b, c in fan]
    for i in range(count):
        j = (i + 1) % count
        triangles += [(i, j, j + count), (i, j + count, i + count)]
    return _facing_out(mesh(left + right, triangles, material, colour))


def cylinder(
    centre: Vector, radius_m: float, length_m: float, material: str, axis: str = "z", sides: int = 8
) -> Mesh:
    """A closed cylinder along y or z around `centre`."""
    return _cylinder(radius_m, length_m, material, axis, sides).moved(*centre)


@cache
def _cylinder(radius_m: float, length_m: float, material: str, axis: str, sides: int) -> Mesh:
    angle = np.arange(sides) * (math.tau / sides)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], axis=1) * radius_m
    ends = np.array([[0, 0, -length_m / 2], [0, 0, length_m / 2]])
    vertices = np.concatenate([ring + ends[0], ring + ends[1]])
    if axis == "y":
        vertices = vertices[:, [0, 2, 1]]
    fan = [(0, i, i + 1) for i in range(1, sides - 1)]
    triangles = fan + [(a + sides, b + sides, c + sides) for a, b, c in fan]
    for i in range(sides):
        j = (i + 1) % sides
        triangles += [(i, j, j + sides), (i, j + sides, i + sides)]
    return _facing_out(mesh(vertices, triangles, material))


def ball(centre: Vector, radii_m: Vector, material: str, colour: Sequence[float] = ()) -> Mesh:
    """An ellipsoid of 42 corners: an icosahedron split once."""
    sphere = _sphere()
    return mesh(
        sphere.vertices_m * np.array(radii_m) + centre, sphere.triangles, material, colour or None
    )


@cache
def _sphere() -> Mesh:
    vertices, triangles = _icosahedron()
    edges: dict[tuple[int, int], int] = {}
    points, split = list(vertices), []
    for a, b, c in triangles:
        middles = []
        for pair in ((a, b), (b, c), (c, a)):
            key = (min(pair), max(pair))
            if key not in edges:
                edges[key] = len(points)
                points.append((points[key[0]] + points[key[1]]) / 2)
            middles.append(edges[key])
        ab, bc, ca = middles
        split += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    sphere = np.array([point / np.linalg.norm(point) for point in points])
    return _facing_out(mesh(sphere, split, "foliage"))


def _icosahedron() -> tuple[list[npt.NDArray[np.float64]], list[tuple[int, int, int]]]:
    golden = (1 + math.sqrt(5)) / 2
    plane = [(-1.0, golden), (1.0, golden), (-1.0, -golden), (1.0, -golden)]
    vertices = [(x, y, 0.0) for x, y in plane]
    vertices += [(0.0, x, y) for x, y in plane]
    vertices += [(y, 0.0, x) for x, y in plane]
    triangles = [
        (0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11),
        (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8),
        (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9),
        (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1),
    ]  # fmt: skip
    return [np.array(vertex) for vertex in vertices], triangles


def _facing_out(solid: Mesh) -> Mesh:
    """A convex solid with every triangle turned to show its outside."""
    corners = solid.vertices_m[solid.triangles]
    outwards = corners.mean(axis=1) - solid.vertices_m.mean(axis=0)
    is_inwards = (solid.normals() * outwards).sum(axis=1) < 0
    triangles = solid.triangles.copy()
    triangles[is_inwards] = triangles[is_inwards][:, ::-1]
    return msgspec.structs.replace(solid, triangles=triangles)
