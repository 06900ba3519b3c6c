"""Renders moments for training and evaluation from simulated worlds: every sensor at its own time.

The LiDAR's sweep ends at the anchor; camera and sound were taken some time from it, as on a rig
with free-running sensors, and now and then with far larger errors. Cameras and LiDARs differ
between worlds.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.model.moments import (
    Conditions,
    Heard,
    Label,
    Moment,
    mount_from_transform,
    packed_image,
    packed_sweep,
)
from fusion_rt.sim.audio import SimulatedArray
from fusion_rt.sim.beams import BEAM_TABLES, Beams
from fusion_rt.sim.camera import SimulatedCamera
from fusion_rt.sim.gps import SimulatedGps
from fusion_rt.sim.lidar import SimulatedLidar
from fusion_rt.sim.samples import SampleFrames, reduced
from fusion_rt.sim.scenario import Scenario, Siren, random_scenario
from fusion_rt.sim.truth import truth_at
from fusion_rt.sim.world import World

_KEPT_M = ((-4.0, 58.0), (-32.0, 32.0), (-1.5, 5.0))
"""Of points and labels, x, y and z in `base`: what the model can see, and some way around it."""
_AUDIO_RATE_HZ = 16_000
_GPS_RATE_HZ = 10.0
_FIXES = 6

Boxes = dict[int, tuple[int, tuple[float, ...]]]
"""Class and box by object's id."""


class RenderSize(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything, and how varied."""

    image_width: int = 448
    audio_samples: int = 8576
    per_world: int = 10
    spacing_s: float = 1.5
    first_s: float = 1.2
    """Where worlds vary, up to one spacing later."""
    is_varied: bool = True
    """Rigs, resolutions and time offsets differ; else the calibration's own rig, in step."""
    beams: Beams = "hdl64"
    columns: int = 1200
    """Unless varied."""


def rendered_worlds(
    calibration: Calibration,
    seeds: Iterator[int],
    size: RenderSize | None = None,
    frames: SampleFrames | None = None,
) -> Iterator[tuple[int, list[Moment]]]:
    """Seed and moments of one world after another."""
    for seed in seeds:
        world = RenderedWorld(calibration, seed, size or RenderSize(), frames or SampleFrames())
        yield seed, world.moments()


class RenderedWorld:
    """The sensors of one world."""

    def __init__(
        self,
        calibration: Calibration,
        seed: int,
        size: RenderSize,
        frames: SampleFrames,
        change: Callable[[Scenario], Scenario] | None = None,
    ) -> None:
        """`change` makes another scenario of the one drawn, night of day for example."""
        self._seed, self._size = seed, size
        self._rng = rng = np.random.default_rng([seed, 0x7EA1])
        self._scenario = random_scenario(seed)
        beams, columns, render_width = size.beams, size.columns, size.image_width
        pinhole = reduced(calibration.pinhole(frames.camera), size.image_width)
        self._base_from_camera = calibration.base_from[frames.camera]
        self._base_from_lidar = calibration.base_from[frames.lidar]
        if size.is_varied:
            self._scenario = _with_more_of_the_rare(self._scenario, rng)
            beams, columns = _some_lidar(rng)
            render_width = int(rng.choice([size.image_width, size.image_width, 640]))
            pinhole = _some_pinhole(pinhole, rng)
            self._base_from_camera = _moved(self._base_from_camera, rng, 0.06, 1.5)
            self._base_from_lidar = _moved(self._base_from_lidar, rng, 0.06, 0.0)
        if change is not None:
            self._scenario = change(self._scenario)
        self._pinhole, self._taken = pinhole, reduced(pinhole, render_width)
        self._world = world = World(self._scenario, seed)
        self._camera = SimulatedCamera(world, self._taken, self._base_from_camera, render_width)
        table = BEAM_TABLES[beams]
        self._lidar = SimulatedLidar(world, table, columns, self._base_from_lidar)
        microphones_m = calibration.microphones_m[frames.audio]
        place = calibration.base_from[frames.audio]
        self._array = SimulatedArray(world, place, microphones_m, _AUDIO_RATE_HZ)
        self._gps = SimulatedGps(world, calibration.base_from[frames.gps], _GPS_RATE_HZ)

    def moments(self, camera_late_ns: int | None = None) -> list[Moment]:
        """All of them. `camera_late_ns`: how long after the anchors pictures are taken; None as
        the size says."""
        spacing, first = self._size.spacing_s, self._size.first_s
        if self._size.is_varied:
            first += spacing * float(self._rng.random())
        return [
            self._moment(round((first + n * spacing) * NS_PER_S), n, camera_late_ns)
            for n in range(self._size.per_world)
        ]

    def _moment(self, anchor_ns: int, number: int, camera_late_ns: int | None) -> Moment:
        offset_ns = self._camera_offset_ns() if self._size.is_varied else 0
        camera_ns = anchor_ns + (offset_ns if camera_late_ns is None else camera_late_ns)
        audio_ns = anchor_ns - (self._audio_age_ns() if self._size.is_varied else 0)
        sweep = self._lidar.turn(anchor_ns, number)
        kept = self._is_kept(sweep.points)
        ids, counts = np.unique(sweep.object_ids, return_counts=True)
        points = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        image, pixels = self._picture(camera_ns, number)
        sound = self._sound(audio_ns, number)
        weather = self._scenario.weather
        truth = truth_at(self._world, anchor_ns, self._array)
        at_camera = truth_at(self._world, camera_ns)
        return Moment(
            seed=self._seed,
            anchor_ns=anchor_ns,
            conditions=Conditions(self._scenario.is_night, weather.rain_mm_h, weather.visibility_m),
            camera_ns=camera_ns,
            audio_ns=audio_ns,
            jpeg=packed_image(image),
            pinhole=self._pinhole,
            base_from_camera=mount_from_transform(self._base_from_camera),
            base_from_lidar=mount_from_transform(self._base_from_lidar),
            points=packed_sweep(sweep.points[kept]),
            sound=sound.tobytes(),
            channels=sound.shape[1],
            fixes=self._fixes(anchor_ns),
            ego=truth.ego,
            ego_at_camera=at_camera.ego,
            labels=_labels(truth.ids, truth.class_ids, truth.boxes, pixels, points),
            labels_at_camera=_labels(
                at_camera.ids, at_camera.class_ids, at_camera.boxes, pixels, points
            ),
            sirens=[Heard(*siren) for siren in truth.sirens],
        )

    def _camera_offset_ns(self) -> int:
        """Mostly within a frame's time, now and then far off."""
        reach_s = 0.02 if self._rng.random() < 0.6 else 0.15
        return round(float(self._rng.uniform(-reach_s, reach_s)) * NS_PER_S)

    def _audio_age_ns(self) -> int:
        return round(float(self._rng.choice([0.02, 0.15])) * float(self._rng.random()) * NS_PER_S)

    def _is_kept(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        places = points[:, :3] @ self._base_from_lidar.rotation.T.astype(np.float32)
        places += self._base_from_lidar.translation_m.astype(np.float32)
        low, high = np.array(_KEPT_M, np.float32).T
        inside: npt.NDArray[np.bool_] = ((places > low) & (places < high)).all(axis=1)
        return inside

    def _picture(
        self, t_ns: int, number: int
    ) -> tuple[npt.NDArray[np.uint8], dict[int, tuple[int, ...]]]:
        image = np.empty((self._taken.height, self._taken.width, 3), np.uint8)
        counts = self._camera.take(t_ns, number, image).counts()
        if self._taken.width == self._pinhole.width:
            return image, counts
        share = (self._pinhole.width / self._taken.width) ** 2  # of pixels that are left
        size = self._pinhole.width, self._pinhole.height
        smaller = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        scaled = {n: tuple(round(c * share) for c in both) for n, both in counts.items()}
        return smaller, scaled

    def _sound(self, end_ns: int, number: int) -> npt.NDArray[np.int16]:
        count = self._size.audio_samples
        first_ns = end_ns - round(count / _AUDIO_RATE_HZ * NS_PER_S)
        return self._array.chunk(first_ns, number * count, count)

    def _fixes(self, anchor_ns: int) -> list[Any]:
        age_ns = round(float(self._rng.uniform(0, 0.15)) * NS_PER_S) if self._size.is_varied else 0
        period_ns = round(NS_PER_S / _GPS_RATE_HZ)
        newest = anchor_ns - age_ns
        number = round(newest / period_ns)
        steps = range(_FIXES - 1, -1, -1)
        return [
            self._gps.fix(newest - k * period_ns, newest - k * period_ns, number - k) for k in steps
        ]


def _labels(
    ids: npt.NDArray[np.int32],
    class_ids: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.float32],
    pixels: dict[int, tuple[int, ...]],
    points: dict[int, int],
) -> list[Label]:
    (x_low, x_high), (y_low, y_high), _ = _KEPT_M
    rows = zip(ids.tolist(), class_ids.tolist(), boxes.astype(float).round(4).tolist(), strict=True)
    return [
        Label(n, class_id, tuple(box), _pair(pixels.get(n, (0, 0))), points.get(n, 0))
        for n, class_id, box in rows
        if x_low < box[0] < x_high and y_low < box[1] < y_high
    ]


def _pair(counts: tuple[int, ...]) -> tuple[int, int]:
    shown, alone = counts
    return shown, alone


def _with_more_of_the_rare(scenario: Scenario, rng: np.random.Generator) -> Scenario:
    """Cars are everywhere: half of the worlds get more of the others, and fewer that are parked."""
    if rng.random() < 0.5:
        return scenario
    traffic, layout = scenario.traffic, scenario.layout
    sirens = (*traffic.sirens, *(_some_siren(rng) for _ in range(int(rng.integers(0, 3)))))
    traffic = msgspec.structs.replace(
        traffic,
        trucks=traffic.trucks + int(rng.integers(2, 9)),
        pedestrians=traffic.pedestrians + int(rng.integers(0, 20)),
        crossers=traffic.crossers + int(rng.integers(0, 8)),
        cyclists=traffic.cyclists + int(rng.integers(6, 30)),
        sirens=sirens,
    )
    layout = msgspec.structs.replace(layout, parked=layout.parked * float(rng.uniform(0.1, 0.8)))
    return msgspec.structs.replace(scenario, traffic=traffic, layout=layout)


def _some_siren(rng: np.random.Generator) -> Siren:
    patterns: tuple[Literal["wail", "yelp", "hilo"], ...] = ("wail", "yelp", "hilo")
    routes: tuple[Literal["behind", "roaming"], ...] = ("behind", "roaming", "roaming")
    return Siren(
        start_s=float(rng.uniform(0, 1)),
        route=routes[int(rng.integers(3))],
        pattern=patterns[int(rng.integers(3))],
        distance_m=float(rng.uniform(30, 80)),
    )


def _some_lidar(rng: np.random.Generator) -> tuple[Beams, int]:
    kinds: tuple[tuple[Beams, int], ...] = (
        ("vlp32c", 512), ("vlp32c", 900), ("hdl64", 1200), ("hdl64", 600), ("vlp16", 900),
    )  # fmt: skip
    return kinds[int(rng.choice(5, p=[0.35, 0.1, 0.4, 0.05, 0.1]))]


def _some_pinhole(pinhole: Pinhole, rng: np.random.Generator) -> Pinhole:
    """Focal lengths and middle as production spreads them; a third has the calibration's own."""
    if rng.random() < 1 / 3:
        return pinhole
    scale = float(rng.uniform(0.96, 1.04))
    return msgspec.structs.replace(
        pinhole,
        fx_px=pinhole.fx_px * scale,
        fy_px=pinhole.fy_px * scale,
        cx_px=pinhole.cx_px + float(rng.uniform(-4, 4)),
        cy_px=pinhole.cy_px + float(rng.uniform(-4, 4)),
    )


def _moved(
    base_from_sensor: RigidTransform, rng: np.random.Generator, place_m: float, turn_deg: float
) -> RigidTransform:
    """Another vehicle's mounting: moved and turned a little; a third has the calibration's own."""
    if rng.random() < 1 / 3:
        return base_from_sensor
    turned = cv2.Rodrigues(np.radians(rng.uniform(-turn_deg, turn_deg, 3)))[0]
    moved_m = base_from_sensor.translation_m + rng.uniform(-place_m, place_m, 3)
    return RigidTransform(turned @ base_from_sensor.rotation, moved_m)
