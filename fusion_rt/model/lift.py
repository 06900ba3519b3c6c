"""Where the camera sees each place of the bird's-eye grid: calibration -> GridSample coordinates.

The graph that fuses gets this as an input, so that it holds for any camera, and so that a picture
taken before or after the anchor time is looked up where the places were at that time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_rt.errors import ConfigError
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.preprocess.image_prepare import ImagePlan

Floats = npt.NDArray[np.float32]
_NEAREST_M = 0.5


@dataclass(frozen=True)
class LiftGrid:
    """Places in `base` at the anchor time that features are looked up for.

    Cell (row, column) is the place (x_min_m + (column + 0.5) * cell_m, y_min_m + (row + 0.5) *
    cell_m), at each of the heights: rows run along y and columns along x, as in the LiDAR's raster.
    """

    x_min_m: float = 0.0
    y_min_m: float = -25.6
    cell_m: float = 0.8
    columns: int = 64
    rows: int = 64
    heights_m: tuple[float, ...] = (0.4, 1.4)

    def __post_init__(self) -> None:
        claims = {
            "cell_m > 0": self.cell_m > 0,
            "columns and rows from 1 to 1024": min(self.columns, self.rows) >= 1
            and max(self.columns, self.rows) <= 1024,
            "at least one of heights_m": len(self.heights_m) >= 1,
        }
        for claim, holds in claims.items():
            if not holds:
                raise ConfigError("lift grid", "", f"expected {claim}, got {self}")

    @property
    def size(self) -> int:
        """Number of places: heights, then rows, then columns."""
        return len(self.heights_m) * self.rows * self.columns

    @property
    def places_m(self) -> npt.NDArray[np.float64]:
        """(size, 3) in `base`."""
        y = self.y_min_m + (np.arange(self.rows) + 0.5) * self.cell_m
        x = self.x_min_m + (np.arange(self.columns) + 0.5) * self.cell_m
        z, y, x = np.meshgrid(np.array(self.heights_m), y, x, indexing="ij")
        return np.stack([x, y, z], axis=-1).reshape(-1, 3)


class CameraLift:
    """The grid as one camera sees it, whose frames are prepared by one plan."""

    def __init__(
        self,
        grid: LiftGrid,
        pinhole: Pinhole,
        base_from_camera: RigidTransform,
        plan: ImagePlan,
    ) -> None:
        """`plan` takes whole frames (no crop) of the pinhole's shape, at any resolution."""
        self._places_m = grid.places_m
        self._pinhole = pinhole
        self._camera_from_base = base_from_camera.inverse()
        place, (out_width, out_height) = plan.place, plan.params["out_size"].tolist()
        scale = np.array([place.width / pinhole.width, place.height / pinhole.height])
        out_size = np.array([out_width, out_height])
        # Pixel centres are whole numbers; GridSample counts -1..1 from edge to edge.
        self._scale = 2 * scale / out_size
        self._shift = 2 * (0.5 * scale + (place.left, place.top)) / out_size - 1
        edges = np.array([[-0.5, -0.5], [pinhole.width - 0.5, pinhole.height - 0.5]])
        self._low, self._high = edges * self._scale + self._shift

    def run(self, shot_from_anchor: RigidTransform | None = None) -> tuple[Floats, Floats]:
        """`grid` (1, size, 3) and `valid` (1, size) for the graph.

        The columns of `grid` are u and v of GridSample (align_corners=False) over the prepared
        image, and the depth along the optical axis in metres; all 0 where not valid: out of the
        picture or behind the camera. `shot_from_anchor` maps `base` at the anchor time to `base` at
        the time of the picture; None when we stood still or do not know.
        """
        camera_from_anchor = self._camera_from_base
        if shot_from_anchor is not None:
            camera_from_anchor = camera_from_anchor @ shot_from_anchor
        places = camera_from_anchor.apply(self._places_m)
        with np.errstate(invalid="ignore"):
            uv = self._pinhole.project(places) * self._scale + self._shift
            inside = (uv >= self._low).all(axis=1) & (uv <= self._high).all(axis=1)
        inside &= places[:, 2] > _NEAREST_M
        grid = np.zeros((1, len(places), 3), np.float32)
        grid[0, inside, :2] = uv[inside]
        grid[0, inside, 2] = places[inside, 2]
        return grid, inside[None].astype(np.float32)


def shot_from_anchor(
    speed_mps: float, yaw_rate_radps: float, shot_ns: int, anchor_ns: int
) -> RigidTransform:
    """What `CameraLift.run` takes, from our motion: constant speed along a circle.

    `base` sits on the rear axle, which moves straight ahead.
    """
    passed_s = (shot_ns - anchor_ns) / 1e9
    turned = yaw_rate_radps * passed_s
    half = np.sinc(turned / 2 / np.pi)  # chord over arc
    gone_m = speed_mps * passed_s * half
    anchor_from_shot = RigidTransform.from_yaw(
        turned, (gone_m * np.cos(turned / 2), gone_m * np.sin(turned / 2), 0.0)
    )
    return anchor_from_shot.inverse()
