"""What surfaces are made of, as camera and LiDAR see it: one table for both.

Colours are linear reflectances; LiDAR reflectivities are those of 905 nm light, which paint and
foliage return well whatever their colour, and tyres and asphalt hardly at all.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Texture(IntEnum):
    """How the camera shades a surface; `native/shade.h` holds the same numbers."""

    PLAIN = 0
    PAINT = 1
    GLASS = 2
    FACADE = 3
    FOLIAGE = 4
    HEAD_LAMP = 5
    TAIL_LAMP = 6
    STREET_LAMP = 7
    BEACON = 8
    CLOTH = 9


class Material(NamedTuple):
    """One kind of surface."""

    name: str
    texture: Texture
    colour: tuple[float, float, float]
    """Red, green, blue in 0..1, where neither object nor building brings its own."""
    reflectivity: float
    """Of 905 nm light, 0..1; above it for retro-reflectors."""


_TABLE = (
    Material("paint", Texture.PAINT, (0.5, 0.5, 0.5), 0.60),
    Material("glass", Texture.GLASS, (0.02, 0.03, 0.04), 0.05),
    Material("tyre", Texture.PLAIN, (0.02, 0.02, 0.02), 0.04),
    Material("trim", Texture.PLAIN, (0.05, 0.05, 0.06), 0.08),
    Material("plate", Texture.PLAIN, (0.70, 0.70, 0.68), 3.0),
    Material("head_lamp", Texture.HEAD_LAMP, (0.80, 0.80, 0.82), 0.30),
    Material("tail_lamp", Texture.TAIL_LAMP, (0.30, 0.02, 0.02), 0.80),
    Material("skin", Texture.PLAIN, (0.45, 0.28, 0.20), 0.45),
    Material("cloth", Texture.CLOTH, (0.30, 0.30, 0.30), 0.40),
    Material("trousers", Texture.CLOTH, (0.06, 0.07, 0.12), 0.25),
    Material("facade", Texture.FACADE, (0.40, 0.36, 0.30), 0.35),
    Material("roof", Texture.PLAIN, (0.15, 0.12, 0.11), 0.20),
    Material("pole", Texture.PLAIN, (0.22, 0.23, 0.24), 0.35),
    Material("foliage", Texture.FOLIAGE, (0.06, 0.12, 0.03), 0.45),
    Material("bark", Texture.PLAIN, (0.10, 0.07, 0.05), 0.30),
    Material("concrete", Texture.PLAIN, (0.32, 0.31, 0.29), 0.30),
    Material("street_lamp", Texture.STREET_LAMP, (0.60, 0.58, 0.50), 0.30),
    Material("beacon", Texture.BEACON, (0.03, 0.08, 0.45), 0.30),
    Material("sign", Texture.PLAIN, (0.60, 0.05, 0.05), 4.0),
    Material("asphalt", Texture.PLAIN, (0.075, 0.075, 0.08), 0.10),
    Material("marking", Texture.PLAIN, (0.62, 0.62, 0.60), 0.55),
    Material("pavement", Texture.PLAIN, (0.26, 0.25, 0.24), 0.22),
    Material("cycle_track", Texture.PLAIN, (0.24, 0.09, 0.07), 0.14),
    Material("soil", Texture.PLAIN, (0.10, 0.12, 0.05), 0.30),
)
MATERIALS: dict[str, int] = {row.name: number for number, row in enumerate(_TABLE)}
"""Number of each material, by name."""
FIRST_GROUND = MATERIALS["asphalt"]
"""The ground's materials are the last of the table, in the order of `native/ground.h`."""
PAINT = MATERIALS["paint"]
CLOTH = MATERIALS["cloth"]


def textures() -> npt.NDArray[np.uint8]:
    """(materials,)"""
    return np.array([row.texture for row in _TABLE], np.uint8)


def colours() -> npt.NDArray[np.float32]:
    """(materials, 3), linear RGB."""
    return np.array([row.colour for row in _TABLE], np.float32)


def reflectivities() -> npt.NDArray[np.float32]:
    """(materials,)"""
    return np.array([row.reflectivity for row in _TABLE], np.float32)
