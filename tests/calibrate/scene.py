"""A street with exact answers: ground with paint, posts and walls, for a camera and a LiDAR."""

import numpy as np
import numpy.typing as npt

from fusion_rt.geometry import CameraModel, RigidTransform

Floats = npt.NDArray[np.float64]

GROUND_Z_M = -1.9
"""In the LiDAR's frame, x forward, y left, z up."""


def street(seed: int = 0) -> Floats:
    """Boxes (N, 7): low x, y, z, high x, y, z, albedo. Posts, cars, house fronts."""
    rng = np.random.default_rng(seed)
    boxes = []
    for _ in range(26):
        x, y = rng.uniform(7, 45), rng.choice([-1, 1]) * rng.uniform(3, 12)
        width, height = rng.uniform(0.15, 0.5), rng.uniform(2.5, 7)
        boxes.append(
            (x, y, GROUND_Z_M, x + width, y + width, GROUND_Z_M + height, rng.uniform(0, 1))
        )
    for _ in range(8):
        x, y = rng.uniform(10, 35), rng.choice([-1, 1]) * rng.uniform(2.5, 6)
        boxes.append((x, y, GROUND_Z_M, x + 4, y + 1.8, GROUND_Z_M + 1.5, rng.uniform(0, 1)))
    for side in (-1, 1):
        for x in range(10, 70, 8):
            y = side * rng.uniform(13, 20)
            top = GROUND_Z_M + rng.uniform(4, 12)
            low, high = sorted((y, y + side * 6))
            boxes.append((x, low, GROUND_Z_M, x + 7, high, top, rng.uniform(0.2, 0.9)))
    return np.array(boxes)


def cast(origin: Floats, rays: Floats, boxes: Floats) -> tuple[Floats, Floats]:
    """Range (N,) and albedo (N,) along unit rays (N, 3); infinite range for the sky."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ranges = np.where(rays[:, 2] < 0, (GROUND_Z_M - origin[2]) / rays[:, 2], np.inf)
        ranges[ranges > 90] = np.inf
        albedo = _paint(origin + rays * np.where(np.isfinite(ranges), ranges, 0)[:, None])
        for box in boxes:
            to_low, to_high = (box[:3] - origin) / rays, (box[3:6] - origin) / rays
            first, last = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
            enter = np.fmax(np.fmax(first[:, 0], first[:, 1]), first[:, 2])
            leave = np.fmin(np.fmin(last[:, 0], last[:, 1]), last[:, 2])
            is_hit = (enter < leave) & (enter > 0.1) & (enter < ranges)
            ranges = np.where(is_hit, enter, ranges)
            albedo = np.where(is_hit, box[6], albedo)
    return ranges, np.where(np.isfinite(ranges), albedo, 0.95)


def _paint(points: Floats) -> Floats:
    """Lane lines, a crossing and patches of asphalt."""
    x, y = points[:, 0], points[:, 1]
    patches = 0.2 + 0.1 * (np.sin(x * 0.7) * np.sin(y * 0.9 + 1) > 0)
    is_line = np.abs(np.abs(y) - 1.9) < 0.08
    is_dash = (np.abs(y) < 0.08) & (x % 6 < 3)
    is_bar = (x > 14) & (x < 17) & (np.abs(y) < 6) & (y % 1.0 < 0.5)
    return np.where(is_line | is_dash | is_bar, 0.85, patches)


def photograph(
    camera: CameraModel, camera_from_lidar: RigidTransform, boxes: Floats, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """(H, W) uint8 with sensor noise."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays = camera.rays(np.stack([u.ravel(), v.ravel()], axis=1))
    lidar_from_camera = camera_from_lidar.inverse()
    directions = rays @ lidar_from_camera.rotation.T
    _, albedo = cast(lidar_from_camera.translation_m, np.nan_to_num(directions), boxes)
    noise = np.random.default_rng(seed).normal(0, 3, albedo.shape)
    image = np.clip(30 + 190 * albedo + noise, 0, 255).reshape(camera.height, camera.width)
    return image.astype(np.uint8)


def scan(boxes: Floats, seed: int = 0, rings: int = 64) -> tuple[Floats, Floats]:
    """Points (N, 3) with 1 cm noise and intensity (N,) of a sweep over the front, ring by ring."""
    rng = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(-18, 9, rings))
    azimuth = np.radians(np.arange(-45, 45, 0.2))
    e, a = (grid.ravel() for grid in np.meshgrid(elevation, azimuth, indexing="ij"))
    rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    ranges, albedo = cast(np.zeros(3), rays, boxes)
    is_back = np.isfinite(ranges)
    noisy = ranges[is_back] + rng.normal(0, 0.01, is_back.sum())
    intensity = np.clip(albedo[is_back] * 0.8 + rng.normal(0, 0.02, is_back.sum()), 0, 1)
    return rays[is_back] * noisy[:, None], intensity
