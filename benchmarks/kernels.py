"""Our CPU kernels against NumPy, OpenCV, Open3D's voxel grid and the memory floor, one thread each.

python -m benchmarks.kernels [--rounds N]
"""

import argparse
import importlib
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the libraries below start their pools

import cv2
import numpy as np

from benchmarks.rounds import machine, table, timed_in_turns
from fusion_rt.preprocess.audio_features import AudioFeatures, AudioRecipe
from fusion_rt.preprocess.image_prepare import ImagePreparer, ImageRecipe, plan_image
from fusion_rt.preprocess.pillarize import PillarGrid, Pillarizer
from fusion_rt.preprocess.project_points import Lens, project_params, project_points
from tests import numpy_kernels

MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


def copy_floor(nbytes: int) -> object:
    """Work that moves `nbytes` through memory: half read, half written."""
    source = np.ones(nbytes // 2, np.uint8)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)


def sweep_of(count: int) -> np.ndarray:
    """A ring-like cloud around the sensor, most of it in front."""
    rng = np.random.default_rng(0)
    reach, bearing = rng.gamma(2, 12, count), rng.uniform(-0.9, 0.9, count)
    columns = [
        reach * np.cos(bearing),
        reach * np.sin(bearing),
        rng.uniform(-1, 3, count),
        rng.uniform(0, 255, count),
        rng.uniform(-0.1, 0, count),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def pillarize(rounds: int) -> str:
    sweep, grid = sweep_of(100_000), PillarGrid()
    ours = Pillarizer(grid, np.eye(4))
    linear, angular = np.array([12.0, 0, 0]), np.array([0, 0, 0.3])
    rivals = {
        "fusion_rt": lambda: ours.run(sweep, linear, angular),
        "NumPy": lambda: numpy_kernels.raster(grid, sweep, np.eye(4), linear, angular),
        "copy of the same bytes": copy_floor(sweep.nbytes + grid.raster_spec.nbytes),
        **_open3d(sweep, grid),
    }
    timings = timed_in_turns(rivals, rounds, warm_up=2)
    return table("pillarize: 100,000 points to 16 x 128 x 128", timings, "fusion_rt")


def _open3d(sweep: np.ndarray, grid: PillarGrid) -> dict[str, object]:
    """Open3D's voxel means: no de-skew, no bins, no raster; a lower bound of what it would take."""
    try:
        open3d = importlib.import_module("open3d")
    except ImportError:
        return {}
    cloud = open3d.geometry.PointCloud()
    cloud.points = open3d.utility.Vector3dVector(sweep[:, :3].astype(np.float64))
    return {
        f"Open3D {open3d.__version__} voxel_down_sample": lambda: cloud.voxel_down_sample(
            grid.cell_m
        )
    }


def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def letterboxed(rgb: np.ndarray, place, height: int, width: int) -> np.ndarray:
    """Resize and pad by OpenCV."""
    small = cv2.resize(rgb, (place.width, place.height), interpolation=cv2.INTER_LINEAR)
    bottom, right = height - place.top - place.height, width - place.left - place.width
    edges = (place.top, bottom, place.left, right)
    return cv2.copyMakeBorder(small, *edges, cv2.BORDER_CONSTANT, value=(114,) * 3)


def image_bytes(rounds: int) -> str:
    image = picture()
    ours = ImagePreparer(plan_image("bgr8", 1920, 1080, ImageRecipe(448, 256)))
    place = ours.plan.place

    def opencv() -> np.ndarray:
        small = letterboxed(image, place, 256, 448)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)

    rivals = {
        "fusion_rt": lambda: ours.run(image),
        "OpenCV": opencv,
        "copy of the rows that are read": copy_floor(2 * 252 * 5760 + ours.plan.out.nbytes),
    }
    title = "image_prepare: bgr8 1920 x 1080 to RGB uint8 (1, 256, 448, 3)"
    return table(title, timed_in_turns(rivals, rounds), "fusion_rt")


def image_floats(rounds: int) -> str:
    image = picture()
    recipe = ImageRecipe(448, 256, planar=True, mean=MEAN, std=STD)
    ours = ImagePreparer(plan_image("bgr8", 1920, 1080, recipe))
    place, out = ours.plan.place, np.empty((1, 3, 256, 448), np.float32)

    def opencv() -> np.ndarray:
        rgb = cv2.cvtColor(letterboxed(image, place, 256, 448), cv2.COLOR_BGR2RGB)
        for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
            cv2.subtract(rgb[..., channel], mean, dst=out[0, channel], dtype=cv2.CV_32F)
            cv2.multiply(out[0, channel], 1 / std, dst=out[0, channel])
        return out

    rivals = {"fusion_rt": lambda: ours.run(image), "OpenCV": opencv}
    title = "image_prepare: bgr8 1920 x 1080 to normalized float32 (1, 3, 256, 448)"
    return table(title, timed_in_turns(rivals, rounds), "fusion_rt")


def image_yuv(rounds: int) -> str:
    codes = {"nv12": cv2.COLOR_YUV2RGB_NV12, "yuyv": cv2.COLOR_YUV2RGB_YUYV}
    parts = []
    for pixel_format, code in codes.items():
        ours = ImagePreparer(plan_image(pixel_format, 1920, 1080, ImageRecipe(448, 256)))
        raw = np.random.default_rng(0).integers(0, 256, ours.plan.source.shape, np.uint8)
        rivals = {
            "fusion_rt": lambda ours=ours, raw=raw: ours.run(raw),
            "OpenCV": lambda ours=ours, raw=raw, code=code: letterboxed(
                cv2.cvtColor(raw, code), ours.plan.place, 256, 448
            ),
        }
        title = f"image_prepare: {pixel_format} 1920 x 1080 to RGB uint8 (1, 256, 448, 3)"
        parts.append(table(title, timed_in_turns(rivals, rounds), "fusion_rt"))
    return "\n".join(parts)


def projection(rounds: int) -> str:
    cloud = np.ascontiguousarray(sweep_of(100_000)[:, [1, 2, 0]])
    lens = Lens(1920, 1080, 1000, 1000, 960, 540, (-0.15, 0.1, 1e-3, -5e-4, -0.02))
    params, out = project_params(lens, np.eye(4)), np.empty((len(cloud), 3), np.float32)
    matrix = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
    zero, distortion = np.zeros(3), np.array(lens.distortion)
    rivals = {
        "fusion_rt": lambda: project_points(cloud, params, out),
        "OpenCV": lambda: cv2.projectPoints(cloud, zero, zero, matrix, distortion),
        "copy of the same bytes": copy_floor(2 * cloud.nbytes),
    }
    return table("project_points: 100,000 points", timed_in_turns(rivals, rounds), "fusion_rt")


def audio(rounds: int) -> str:
    recipe = AudioRecipe()
    samples = np.random.default_rng(0).normal(0, 0.1, (recipe.samples, 4)).astype(np.float32)
    ours = AudioFeatures(recipe)
    rivals = {
        "fusion_rt": lambda: ours.run(samples),
        "NumPy": lambda: numpy_kernels.log_mel_and_delays(recipe, samples),
    }
    title = "audio_features: 4 channels, 64 frames of 512, 64 mel bands, 6 pairs x 64 lags"
    return table(title, timed_in_turns(rivals, rounds, warm_up=2), "fusion_rt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    print(f"{machine()}, OpenCV {cv2.__version__}; one thread, {rounds} rounds in turns\n")
    for part in (pillarize, image_bytes, image_floats, image_yuv, projection, audio):
        print(part(rounds))


if __name__ == "__main__":
    main()
