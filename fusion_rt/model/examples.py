"""Moments -> what a training step takes: prepared inputs, and targets for two sets of sensors."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.model.ego import ego_vector
from fusion_rt.model.lift import CameraLift, LiftGrid
from fusion_rt.model.model_config import CLASSES, ModelConfig
from fusion_rt.model.moments import Label, Moment, transform_from_mount
from fusion_rt.model.train_config import Augment, Masks
from fusion_rt.preprocess.audio_features import AudioFeatures, AudioRecipe
from fusion_rt.preprocess.image_prepare import ImagePlan, ImagePreparer, ImageRecipe, plan_image
from fusion_rt.preprocess.pillarize import PillarGrid, Pillarizer
from fusion_rt.sim.truth import is_seen_by_camera, is_seen_by_lidar

Example = dict[str, npt.NDArray[Any]]
IMAGE = ImageRecipe(448, 256)
RASTER = PillarGrid(intensity_max=1.0)
SOUND = AudioRecipe()
DEPTH_CELLS = (32, 56)
MAX_OBJECTS = 48
VALUES = 10
_CAMERA, _LIDAR, _AUDIO, _GPS = range(4)
_DEPTH_POINTS = 5000
_SAME_TIME_NS = 60_000_000
_SUBSETS = [s for s in range(1, 16) if s & 3]
"""Bit i: stream i is there; those without camera and LiDAR cannot place anything."""

Present = tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class ExampleMaker:
    """Makes examples; with `augment` and `masks` for training, else as measured."""

    model: ModelConfig
    grid: LiftGrid
    augment: Augment | None = None
    masks: Masks | None = None

    def example(self, moment: Moment, rng: np.random.Generator) -> Example:
        """Inputs, and for each mask what the fusion graph is told and should answer."""
        masks = self.masks or Masks()
        views = [_first_mask(masks, rng), _second_mask(masks, rng)]
        return self.inputs(moment, rng) | _stacked([self.view(moment, m, rng) for m in views])

    def inputs(self, moment: Moment, rng: np.random.Generator) -> Example:
        """What the encoders take, and what they should say themselves."""
        augment = self.augment
        image, sweep = moment.image, moment.sweep
        samples: npt.NDArray[Any] = moment.samples
        if augment is not None:
            image = _other_light(image, augment, rng)
            sweep = _thinned(sweep, augment, rng)
            samples = _other_gain(samples, augment, rng)
        plan = plan_image("bgr8", image.shape[1], image.shape[0], IMAGE)
        mel, gcc = _sound().run(samples)
        sirens = sorted(moment.sirens, key=lambda heard: -heard.level_db)
        return {
            "image": ImagePreparer(plan).run(image)[0],
            "raster": self._raster(moment, sweep, rng),
            "mel": mel.copy(),
            "gcc": gcc.copy(),
            "depth": self._depth(moment, plan, rng),
            "siren": np.array(
                [len(sirens) > 0, sirens[0].bearing_rad if sirens else 0], np.float32
            ),
        }

    def view(self, moment: Moment, present: Present, rng: np.random.Generator) -> Example:
        """What the fusion graph is told when only these sensors are there, and its targets."""
        anchor_ns = moment.anchor_ns if present[_LIDAR] else moment.camera_ns
        labels = moment.labels if present[_LIDAR] else moment.labels_at_camera
        fixes = [fix for fix in moment.fixes if fix.stamp_ns <= anchor_ns]
        stamps = (
            moment.camera_ns,
            moment.anchor_ns,
            moment.audio_ns,
            fixes[-1].stamp_ns if fixes else anchor_ns,
        )
        lift = self._lift(moment, rng)
        motion = self._shot_from_anchor(moment, rng, present[_GPS]) if present[_LIDAR] else None
        grid, valid = lift.run(motion)
        told: Example = {
            "present": np.array(present, np.float32),
            "age_s": np.array([(anchor_ns - stamp) / NS_PER_S for stamp in stamps], np.float32),
            "ego": ego_vector(fixes, anchor_ns)[0],
            "grid": grid[0],
            "valid": valid[0],
        }
        return told | targets(labels, present, self.grid)

    def _raster(
        self, moment: Moment, sweep: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        base_from_lidar = transform_from_mount(moment.base_from_lidar).matrix
        *_, speed_mps, yaw_rate = moment.ego
        if self.augment is not None:
            knows = rng.random() >= self.augment.unknown_motion
            speed_mps = knows * (speed_mps + float(rng.normal(0, 0.1)))
            yaw_rate = knows * (yaw_rate + float(rng.normal(0, 0.005)))
        pillarizer = Pillarizer(RASTER, base_from_lidar)
        return pillarizer.run(sweep, (speed_mps, 0.0, 0.0), (0.0, 0.0, yaw_rate))

    def _lift(self, moment: Moment, rng: np.random.Generator) -> CameraLift:
        base_from_camera = transform_from_mount(moment.base_from_camera)
        if self.augment is not None:
            base_from_camera = _misplaced(base_from_camera, self.augment, rng)
        pinhole = moment.pinhole
        plan = plan_image("bgr8", pinhole.width, pinhole.height, IMAGE)
        return CameraLift(self.grid, pinhole, base_from_camera, plan)

    def _shot_from_anchor(
        self, moment: Moment, rng: np.random.Generator, has_gps: bool
    ) -> RigidTransform | None:
        if self.augment is not None and not has_gps and rng.random() < self.augment.unknown_motion:
            return None
        return _base_from_city(moment.ego_at_camera) @ _base_from_city(moment.ego).inverse()

    def _depth(
        self, moment: Moment, plan: ImagePlan, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """(32, 56): distance of the nearest point per cell of the picture; 0 without one."""
        depth_m = np.zeros(DEPTH_CELLS, np.float32)
        if abs(moment.camera_ns - moment.anchor_ns) > _SAME_TIME_NS:
            return depth_m
        sweep = moment.sweep
        if len(sweep) > _DEPTH_POINTS:
            sweep = sweep[rng.integers(0, len(sweep), _DEPTH_POINTS)]
        base_from_lidar = transform_from_mount(moment.base_from_lidar)
        camera_from_base = transform_from_mount(moment.base_from_camera).inverse()
        moved = _base_from_city(moment.ego_at_camera) @ _base_from_city(moment.ego).inverse()
        places = (camera_from_base @ moved @ base_from_lidar).apply(sweep[:, :3])
        pixels = moment.pinhole.project(places)
        scale = plan.place.width / moment.pinhole.width / 8
        cells = (pixels + 0.5) * scale + np.array([plan.place.left, plan.place.top]) / 8
        rows, columns = DEPTH_CELLS
        with np.errstate(invalid="ignore"):
            inside = (cells >= 0).all(axis=1) & (cells < (columns, rows)).all(axis=1)
        at, far = cells[inside].astype(np.int64), places[inside, 2]
        order = np.argsort(-far)  # the nearest is written last
        depth_m[at[order, 1], at[order, 0]] = far[order]
        return depth_m


@cache
def _sound() -> AudioFeatures:
    return AudioFeatures(SOUND)


def targets(labels: list[Label], present: Present, grid: LiftGrid) -> Example:
    """Heat (classes, rows, columns), `ignored` places, and boxes as the head gives them."""
    heat = np.zeros((len(CLASSES), grid.rows, grid.columns), np.float32)
    ignored = np.zeros((grid.rows, grid.columns), np.float32)
    index, values = np.zeros(MAX_OBJECTS, np.int64), np.zeros((MAX_OBJECTS, VALUES), np.float32)
    count = 0
    for label in labels:
        x = (label.box[0] - grid.x_min_m) / grid.cell_m
        y = (label.box[1] - grid.y_min_m) / grid.cell_m
        column, row = math.floor(x), math.floor(y)
        if not (0 <= column < grid.columns and 0 <= row < grid.rows):
            continue
        if is_asked_for(label, present):
            _splat(heat[label.class_id], row, column, label.box, grid.cell_m)
            if count < MAX_OBJECTS:
                index[count] = row * grid.columns + column
                values[count] = _values(label.box, x - column - 0.5, y - row - 0.5)
                count += 1
        elif _is_glimpsed(label, present):
            ignored[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 1
    is_object = (np.arange(MAX_OBJECTS) < count).astype(np.float32)
    return {
        "heat": heat,
        "ignored": ignored * (heat.max(axis=0) < 0.5),
        "index": index,
        "values": values,
        "is_object": is_object,
    }


def is_asked_for(label: Label, present: Present) -> bool:
    """Whether one of the sensors that are there sees enough of it."""
    by_camera = present[_CAMERA] and is_seen_by_camera(label.pixels)
    return by_camera or (present[_LIDAR] and is_seen_by_lidar((label.points,)))


def _is_glimpsed(label: Label, present: Present) -> bool:
    return (present[_CAMERA] and label.pixels[0] > 0) or (present[_LIDAR] and label.points > 0)


def _values(box: tuple[float, ...], dx: float, dy: float) -> list[float]:
    _, _, z, length, width, height, yaw, vx, vy = box
    sizes = [math.log(length), math.log(width), math.log(height)]
    return [dx, dy, z, *sizes, math.cos(yaw), math.sin(yaw), vx / 5, vy / 5]


def _splat(
    heat: npt.NDArray[np.float32], row: int, column: int, box: tuple[float, ...], cell_m: float
) -> None:
    """A bell around the middle, wider for larger objects; where two meet, the higher holds."""
    sigma = min(1.4, max(0.65, math.sqrt(box[3] * box[4]) / cell_m / 5))
    low_row, low_column = max(0, row - 3), max(0, column - 3)
    part = heat[low_row : row + 4, low_column : column + 4]
    rows = np.arange(low_row, low_row + part.shape[0])[:, None] - row
    columns = np.arange(low_column, low_column + part.shape[1])[None] - column
    np.maximum(part, np.exp(-(rows**2 + columns**2) / (2 * sigma**2)), out=part)


def _first_mask(masks: Masks, rng: np.random.Generator) -> Present:
    chosen = 15 if rng.random() < masks.full else int(rng.choice(_SUBSETS))
    return bool(chosen & 1), bool(chosen & 2), bool(chosen & 4), bool(chosen & 8)


def _second_mask(masks: Masks, rng: np.random.Generator) -> Present:
    by_camera = bool(rng.random() < masks.camera_alone)
    return by_camera, not by_camera, bool(rng.random() < 0.5), bool(rng.random() < 0.5)


def _stacked(views: list[Example]) -> Example:
    """(views, ...) each."""
    return {name: np.stack([view[name] for view in views]) for name in views[0]}


def _base_from_city(ego: tuple[float, ...]) -> RigidTransform:
    return RigidTransform.from_yaw(ego[2], (ego[0], ego[1], 0.0)).inverse()


def _misplaced(
    base_from_camera: RigidTransform, augment: Augment, rng: np.random.Generator
) -> RigidTransform:
    far_off = 4.0 if rng.random() < augment.camera_far_off else 1.0
    turn = np.radians(rng.normal(0, augment.camera_turn_deg, 3)) * far_off
    moved_m = base_from_camera.translation_m + rng.normal(0, augment.camera_move_m, 3)
    return RigidTransform(cv2.Rodrigues(turn)[0] @ base_from_camera.rotation, moved_m)


def _other_light(
    image: npt.NDArray[np.uint8], augment: Augment, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    if rng.random() < augment.light:
        levels = np.arange(256) / 255.0
        levels = levels ** float(rng.uniform(0.75, 1.33)) * float(rng.uniform(0.75, 1.25))
        table = np.clip(levels * 255 + float(rng.uniform(-15, 15)), 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), np.uint8)
    if rng.random() < augment.patches:
        height, width = image.shape[:2]
        image = image.copy()
        for _ in range(int(rng.integers(1, 4))):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            size = int(rng.integers(20, 90))
            image[top : top + size, left : left + size] = rng.integers(0, 256, 3)
    return image


def _thinned(
    sweep: npt.NDArray[np.float32], augment: Augment, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    if rng.random() >= augment.thinned:
        return sweep
    return sweep[rng.random(len(sweep)) > rng.uniform(0.1, 0.75)]


def _other_gain(
    samples: npt.NDArray[np.int16], augment: Augment, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    gain = 10 ** (float(rng.uniform(-augment.sound_db, augment.sound_db)) / 20)
    return np.clip(samples.astype(np.float32) * np.float32(gain / 32768), -1, 1)
