"""Draws how simulated sweeps and pictures compare with a real frame: docs/simulator/realism.png.

    python benchmarks/realism.py KITTI_TRAINING_FOLDER docs/simulator/realism.png

Only curves come out: share of LiDAR points by range seen from above, and of pixels by brightness.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.sim.beams import BEAM_TABLES
from fusion_rt.sim.camera import SimulatedCamera
from fusion_rt.sim.lidar import SimulatedLidar
from fusion_rt.sim.scenario import load_scenario
from fusion_rt.sim.world import World

MOMENTS = ((1, 3), (1, 16), (2, 10), (3, 20))  # seed, second
HDL64_COLUMNS = 2083  # 0.1728 degrees at 10 Hz
RANGES_M = np.arange(0, 85, 5.0)
WIDTH, HEIGHT, MARGIN = 560, 300, 40
REAL, SIMULATED = (40, 40, 200), (200, 140, 40)
Curves = list[tuple[npt.NDArray[np.float64], tuple[int, int, int]]]


def by_range(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    counts, _ = np.histogram(np.hypot(points[:, 0], points[:, 1]), RANGES_M)
    return counts / len(points)


def by_brightness(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    counts, _ = np.histogram(image.mean(axis=2), 32, (0, 256))
    return counts / counts.sum()


def chart(curves: Curves, title: str, last: float) -> npt.NDArray[np.uint8]:
    panel = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    top = max(curve.max() for curve, _ in curves)
    for curve, colour in curves:
        x = MARGIN + (np.arange(len(curve)) + 0.5) / len(curve) * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN - curve / top * (HEIGHT - 2 * MARGIN)
        line = np.stack([x, y], axis=-1).astype(np.int32)
        cv2.polylines(panel, [line], False, colour, 2, cv2.LINE_AA)
    box = ((MARGIN, MARGIN), (WIDTH - MARGIN, HEIGHT - MARGIN))
    cv2.rectangle(panel, *box, (120, 120, 120))
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)
    cv2.putText(panel, f"{title} (top: {top:.0%})", (MARGIN, 26), font, 0.5, black, 1, cv2.LINE_AA)
    cv2.putText(panel, "0", (MARGIN, HEIGHT - 14), font, 0.5, black, 1, cv2.LINE_AA)
    cv2.putText(panel, f"{last:g}", (WIDTH - 70, HEIGHT - 14), font, 0.5, black, 1, cv2.LINE_AA)
    for number, (name, colour) in enumerate((("real", REAL), ("simulated", SIMULATED))):
        at = (WIDTH - 160, 60 + 20 * number)
        cv2.putText(panel, name, at, font, 0.5, colour, 1, cv2.LINE_AA)
    return panel


def main() -> None:
    real, output = Path(sys.argv[1]), Path(sys.argv[2])
    densities: Curves = []
    brightness: Curves = []
    for seed, second in MOMENTS:
        rig = load_rig(find_rig("sim"))
        world, places = World(load_scenario("urban_day"), seed), rig.calibration.base_from
        lidar = SimulatedLidar(world, BEAM_TABLES["hdl64"], HDL64_COLUMNS, places["lidar_top"])
        sweep = lidar.turn(second * NS_PER_S, 0)
        densities.append((by_range(sweep.points), SIMULATED))
        pinhole = rig.calibration.cameras["camera_front"]
        image = np.empty((pinhole.height, pinhole.width, 3), np.uint8)
        SimulatedCamera(world, pinhole, places["camera_front"]).take(second * NS_PER_S, 0, image)
        brightness.append((by_brightness(image[160:550]), SIMULATED))
        print(
            f"simulated {seed}/{second} s: {len(sweep.points)} points, deviation {image.std():.0f}"
        )
    for path in sorted((real / "velodyne").glob("*.bin")):
        points = np.fromfile(path, np.float32).reshape(-1, 4)
        image = np.asarray(cv2.imread(str(real / "image_2" / f"{path.stem}.png")), np.uint8)
        densities.append((by_range(points), REAL))
        brightness.append((by_brightness(image), REAL))
        print(f"real {path.stem}: {len(points)} points, deviation {image.std():.0f}")
    left = chart(densities, "LiDAR points by range in m", RANGES_M[-1])
    right = chart(brightness, "pixels by brightness", 255)
    cv2.imwrite(str(output), np.hstack([left, right]), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
