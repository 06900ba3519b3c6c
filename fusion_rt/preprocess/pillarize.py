"""LiDAR sweep -> bird's-eye raster for the encoder: range filter, de-skew, sums per cell (CPU)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_rt import _kernels
from fusion_rt.arrays import AnyArray, Floats, TensorSpec, aligned_empty
from fusion_rt.errors import ArrayError, ConfigError

RASTER_CHANNELS = 16
CELL_BYTES = 64
MAX_SWEEP_POINTS = (1 << 20) - 1  # the sums of a cell hold no more

# Layout shared with PillarParams in kernels/pillarize.cuh.
PILLAR_PARAMS = np.dtype(
    [
        ("base_from_lidar", np.float32, (3, 4)),
        ("linear_mps", np.float32, 3),
        ("angular_radps", np.float32, 3),
        ("x_min", np.float32),
        ("y_min", np.float32),
        ("z_min", np.float32),
        ("cells_per_m", np.float32),
        ("inverse_height", np.float32),
        ("intensity_scale", np.float32),
        ("min_range_squared", np.float32),
        ("max_range_squared", np.float32),
        ("columns", np.int32),
        ("rows", np.int32),
    ]
)
POINTS = TensorSpec("points_lidar", (-1, 5), np.dtype(np.float32))


@dataclass(frozen=True)
class PillarGrid:
    """The raster's place in `base`: columns run along x, rows along y, bins along z; metres.

    `intensity_max` is the sensor's full scale (255 for most raw sweeps, 1 for normalized ones).
    """

    x_min_m: float = 0.0
    y_min_m: float = -25.6
    z_min_m: float = -1.0
    z_max_m: float = 4.0
    cell_m: float = 0.4
    columns: int = 128
    rows: int = 128
    intensity_max: float = 255.0
    min_range_m: float = 0.5
    max_range_m: float = 200.0

    def __post_init__(self) -> None:
        claims = {
            "cell_m > 0": self.cell_m > 0,
            "columns and rows from 1 to 4096": min(self.columns, self.rows) >= 1
            and max(self.columns, self.rows) <= 4096,
            "z_min_m < z_max_m": self.z_min_m < self.z_max_m,
            "intensity_max > 0": self.intensity_max > 0,
            "0 <= min_range_m < max_range_m": 0 <= self.min_range_m < self.max_range_m,
        }
        for claim, holds in claims.items():
            if not holds:
                raise ConfigError("pillar grid", "", f"expected {claim}, got {self}")

    @property
    def raster_spec(self) -> TensorSpec:
        shape = (RASTER_CHANNELS, self.rows, self.columns)
        return TensorSpec("raster", shape, np.dtype(np.float32))


def pillar_params(grid: PillarGrid, base_from_lidar: AnyArray) -> AnyArray:
    """The kernels' parameter struct, standing still; (4, 4) `base_from_lidar`, metres."""
    if base_from_lidar.shape != (4, 4) or not np.isfinite(base_from_lidar).all():
        got = f"{base_from_lidar.shape} {base_from_lidar.tolist()}"
        raise ArrayError("pillarize", "base_from_lidar", "a finite (4, 4) transform", got)
    params = np.zeros((), PILLAR_PARAMS)
    params["base_from_lidar"] = base_from_lidar[:3]
    params["x_min"], params["y_min"], params["z_min"] = grid.x_min_m, grid.y_min_m, grid.z_min_m
    params["cells_per_m"] = 1 / grid.cell_m
    params["inverse_height"] = 1 / (grid.z_max_m - grid.z_min_m)
    params["intensity_scale"] = 1 / grid.intensity_max
    params["min_range_squared"] = grid.min_range_m**2
    params["max_range_squared"] = grid.max_range_m**2
    params["columns"], params["rows"] = grid.columns, grid.rows
    return params


def check_sweep(points_lidar: AnyArray) -> None:
    """Refuse what neither the CPU nor the GPU kernel takes."""
    POINTS.check(points_lidar, "pillarize")
    if len(points_lidar) > MAX_SWEEP_POINTS:
        limit = f"at most {MAX_SWEEP_POINTS} points"
        raise ArrayError("pillarize", "points_lidar", limit, f"{len(points_lidar)}")


class Pillarizer:
    """Turns sweeps of one LiDAR into rasters. One thread at a time; nothing is allocated per call.

    Channels: 8 counts by height (log(1 + n)), highest and mean height (0..1 of the z range), mean
    intensity (0..1), log(1 + n), occupied, mean x and y within the cell (-0.5..0.5), height span.
    """

    def __init__(self, grid: PillarGrid, base_from_lidar: AnyArray) -> None:
        self.grid = grid
        self.points_kept = 0  # of the last sweep: inside range, time and grid
        self._params = pillar_params(grid, base_from_lidar)
        self._param_bytes = self._params.reshape(1).view(np.uint8)
        self._cells = aligned_empty(grid.rows * grid.columns * CELL_BYTES)
        self._cells[:] = 0
        self._raster: Floats = np.zeros(grid.raster_spec.shape, np.float32)

    def run(
        self,
        points_lidar: Floats,
        linear_mps: Sequence[float] = (0.0, 0.0, 0.0),
        angular_radps: Sequence[float] = (0.0, 0.0, 0.0),
        out: Floats | None = None,
    ) -> Floats:
        """Raster (16, rows, columns) of a sweep (N, 5), x y z intensity dt_s, at the sweep's stamp.

        The twist is `base`'s at the stamp, in `base`. Points with NaN, out of range, or more than
        one radian of turn away from the stamp are dropped. Without `out` the result is this
        object's own and is overwritten by the next call.
        """
        check_sweep(points_lidar)
        raster = self._raster if out is None else out
        if out is not None:
            self.grid.raster_spec.check(out, "pillarize")
        self._params["linear_mps"] = linear_mps
        self._params["angular_radps"] = angular_radps
        self.points_kept = _kernels.pillarize(points_lidar, self._param_bytes, self._cells, raster)
        return raster
