"""Says which views of a board a set still lacks; for intrinsics."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRID = 4
"""The image is cut into 4 x 4 cells; corners must be seen in a good part of them."""
MIN_CELLS = 6
ENOUGH_CELLS = 13
MIN_TILT_SPREAD_DEG = 10.0
"""Views nearly parallel to each other leave focal length and distance undetermined."""
ENOUGH_TILT_SPREAD_DEG = 25.0
ENOUGH_VIEWS = 12
_ROW_NAMES = ("top", "upper middle", "lower middle", "bottom")
_COLUMN_NAMES = ("left", "middle left", "middle right", "right")


class Coverage(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where corners were seen and how differently the board was held."""

    counts: npt.NDArray[np.int64]
    """(GRID, GRID) corners per cell, from the top left."""
    tilt_spread_deg: float
    """Largest angle between the planes of two views."""
    views: int

    @property
    def fault(self) -> str | None:
        """Why the set cannot determine a camera; None when it can."""
        cells = int((self.counts > 0).sum())
        if cells < MIN_CELLS:
            return (
                f"expected corners in {MIN_CELLS} of {GRID * GRID} parts of the image, got {cells}"
            )
        if self.tilt_spread_deg < MIN_TILT_SPREAD_DEG:
            got = f"{self.tilt_spread_deg:.0f}"
            return f"expected boards tilted {MIN_TILT_SPREAD_DEG:.0f} degrees apart, got {got}"
        return None

    @property
    def advice(self) -> list[str]:
        """Which views to add, the most useful first; empty when there is nothing to wish for."""
        advice = []
        if self.tilt_spread_deg < ENOUGH_TILT_SPREAD_DEG:
            advice.append("tilt the board by 20 to 40 degrees, to the left, right, up and down")
        empty = [
            f"{_ROW_NAMES[row]} {_COLUMN_NAMES[column]}"
            for row, column in np.argwhere(self.counts == 0).tolist()
        ]
        if GRID * GRID - len(empty) < ENOUGH_CELLS:
            advice.append(f"show the board in the {', '.join(empty)} of the image")
        if self.views < ENOUGH_VIEWS:
            advice.append(f"add views: {self.views} of the {ENOUGH_VIEWS} that make a good set")
        return advice


def coverage_of(
    pixels: Sequence[Floats], rotations: Sequence[Floats], size: tuple[int, int]
) -> Coverage:
    """Coverage of views with corners (N, 2) and camera-from-board rotations (3, 3)."""
    cell = np.floor(np.vstack(pixels) / size * GRID).clip(0, GRID - 1).astype(np.int64)
    counts = np.zeros((GRID, GRID), dtype=np.int64)
    np.add.at(counts, (cell[:, 1], cell[:, 0]), 1)
    normals = np.array([rotation[:, 2] for rotation in rotations])
    cosines = np.clip(normals @ normals.T, -1, 1)
    return Coverage(
        counts=counts,
        tilt_spread_deg=float(np.degrees(np.arccos(cosines.min()))),
        views=len(pixels),
    )
