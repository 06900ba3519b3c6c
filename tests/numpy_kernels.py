"""The kernels' arithmetic once more, in NumPy and float64, for tests and benchmarks."""

import numpy as np
import numpy.typing as npt

from fusion_rt.preprocess.audio_features import AudioRecipe, audio_tables
from fusion_rt.preprocess.image_prepare import ImagePlan
from fusion_rt.preprocess.pillarize import PillarGrid

F64 = npt.NDArray[np.float64]
BINS = 8


def deskewed(points_base: F64, dt_s: F64, linear_mps: F64, angular_radps: F64) -> F64:
    """Points as `base` at the stamp sees them, by the exact exponential of a constant twist."""
    turn = dt_s[:, None] * angular_radps
    move = dt_s[:, None] * linear_mps
    t = np.linalg.norm(turn, axis=1)[:, None]
    t = np.where(t < 1e-9, 1e-9, t)
    a, b, c = np.sin(t) / t, (1 - np.cos(t)) / t**2, (t - np.sin(t)) / t**3
    tp = np.cross(turn, points_base)
    tm = np.cross(turn, move)
    rotated = points_base + a * tp + b * np.cross(turn, tp)
    return rotated + move + b * tm + c * np.cross(turn, tm)


def cell_coordinates(
    grid: PillarGrid, sweep: npt.NDArray[np.float32], transform: F64, linear: F64, angular: F64
) -> tuple[F64, F64, F64, npt.NDArray[np.bool_]]:
    """Column, row, height as floats, and which points count."""
    p = sweep.astype(np.float64)
    with np.errstate(all="ignore"):
        reach = (p[:, :3] ** 2).sum(axis=1)
        base = p[:, :3] @ transform[:3, :3].T + transform[:3, 3]
        at = deskewed(base, p[:, 4], linear, angular)
        column = (at[:, 0] - grid.x_min_m) / grid.cell_m
        row = (at[:, 1] - grid.y_min_m) / grid.cell_m
        height = (at[:, 2] - grid.z_min_m) / (grid.z_max_m - grid.z_min_m)
        keep = (reach >= grid.min_range_m**2) & (reach <= grid.max_range_m**2)
        keep &= np.abs(p[:, 4]) * np.linalg.norm(angular) <= 1
        keep &= (column >= 0) & (column < grid.columns) & (row >= 0) & (row < grid.rows)
        keep &= (height >= 0) & (height < 1)
    return column, row, height, keep


def raster(
    grid: PillarGrid, sweep: npt.NDArray[np.float32], transform: F64, linear: F64, angular: F64
) -> npt.NDArray[np.float32]:
    """What `Pillarizer.run` returns, by bincount and maximum.at."""
    column, row, height, keep = cell_coordinates(grid, sweep, transform, linear, angular)
    column, row, height = column[keep], row[keep], height[keep]
    bright = np.nan_to_num(np.clip(sweep[keep, 3] / grid.intensity_max, 0, 1), nan=0.0)
    ix, iy = column.astype(np.int64), row.astype(np.int64)
    cell, size = iy * grid.columns + ix, grid.rows * grid.columns
    bins = np.bincount(cell * BINS + (height * BINS).astype(np.int64), minlength=size * BINS)
    n = np.bincount(cell, minlength=size)
    some = np.maximum(n, 1)
    highest, lowest = np.zeros(size), np.ones(size)
    np.maximum.at(highest, cell, height)
    np.minimum.at(lowest, cell, height)
    mean = [np.bincount(cell, w, size) / some for w in (height, bright, column - ix, row - iy)]
    occupied = n > 0
    channels = [
        *np.log1p(bins.reshape(size, BINS).T),
        highest,
        mean[0],
        mean[1],
        np.log1p(n),
        occupied,
        mean[2] - 0.5 * occupied,
        mean[3] - 0.5 * occupied,
        np.where(occupied, highest - lowest, 0),
    ]
    return np.stack(channels).reshape(16, grid.rows, grid.columns).astype(np.float32)


def _source_channels(plan: ImagePlan, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 3): blue green red, or Y U V with each chroma sample repeated for its pixels."""
    kind = int(plan.params["format"])
    width, height = (int(v) for v in plan.params["size"])
    if kind in (0, 1):
        return image if kind == 0 else image[..., ::-1]
    if kind == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if kind == 3:
        chroma = np.repeat(image[..., 1].reshape(height, width // 2, 2), 2, axis=1)
        return np.dstack([image[..., 0], chroma])
    chroma = image[height:].reshape(height // 2, width // 2, 2).repeat(2, axis=0).repeat(2, axis=1)
    return np.dstack([image[:height], chroma])


def _bgr_from_yuv(yuv: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    y, u, v = np.maximum(yuv[..., 0] - 16, 0), yuv[..., 1] - 128, yuv[..., 2] - 128
    blue = 1.164 * y + 2.018 * u
    green = 1.164 * y - 0.813 * v - 0.391 * u
    red = 1.164 * y + 1.596 * v
    return np.clip(np.rint(np.stack([blue, green, red], axis=-1)), 0, 255).astype(np.int64)


def prepared_image(plan: ImagePlan, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What `ImagePreparer.run` returns, before rounding to the output's type."""
    p, place = plan.params, plan.place
    source = _source_channels(plan, image).astype(np.int64)
    x0, x1, wx = plan.taps[: 3 * place.width].reshape(3, -1)
    y0, y1, wy = plan.taps[3 * place.width :].reshape(3, -1)
    wy, wx = wy[:, None, None], wx[None, :, None]
    rows = source[y0] * (256 - wy) + source[y1] * wy
    picture = (rows[:, x0] * (256 - wx) + rows[:, x1] * wx + 32768) >> 16
    if int(p["format"]) >= 3:
        picture = _bgr_from_yuv(picture)
    if not p["bgr"]:
        picture = picture[..., ::-1]
    width, height = (int(v) for v in p["out_size"])
    out = np.full((height, width, 3), float(p["pad"]))
    out[place.top : place.top + place.height, place.left : place.left + place.width] = picture
    if plan.out.dtype == np.float32:
        out = out * p["scale"].astype(np.float64) + p["shift"].astype(np.float64)
    return (out.transpose(2, 0, 1) if p["planar"] else out)[None]


def log_mel_and_delays(recipe: AudioRecipe, samples: npt.NDArray[np.float32]) -> tuple[F64, F64]:
    """What `AudioFeatures.run` returns, by numpy.fft."""
    tables, size = audio_tables(recipe), recipe.fft_size
    window = np.hanning(size + 1)[:size]
    starts = np.arange(recipe.frames) * recipe.hop
    frames = samples.astype(np.float64)[starts[:, None] + np.arange(size)] * window[:, None]
    spectra = np.fft.rfft(frames, axis=1)  # (frames, bins, channels)
    filters = np.zeros((recipe.bands, size // 2 + 1))
    for row, (first, count, start) in zip(filters, tables.bands, strict=True):
        row[first : first + count] = tables.band_weights[start : start + count]
    energy = np.einsum("bk,fkc->cbf", filters, np.abs(spectra) ** 2)
    return np.log(np.maximum(energy, 1e-10)), _delays(recipe, spectra)


def _delays(recipe: AudioRecipe, spectra: npt.NDArray[np.complex128]) -> F64:
    half = recipe.lags // 2
    delays = np.zeros((len(recipe.pairs), recipe.frames, recipe.lags))
    for row, (a, b) in zip(delays, recipe.pairs, strict=True):
        cross = spectra[:, :, a] * spectra[:, :, b].conj()
        correlation = np.fft.irfft(cross / (np.abs(cross) + 1e-20), axis=1)
        row[:] = np.concatenate([correlation[:, -half:], correlation[:, :half]], axis=1)
    return delays
