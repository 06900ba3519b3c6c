"""Training samples straight from memory: a moment, all four sensors at reduced size, the truth.

Worlds are used one after another; each gives some moments of one drive, in the order of time.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import Pinhole
from fusion_rt.messages import GpsFix
from fusion_rt.sim.audio import SimulatedArray
from fusion_rt.sim.beams import BEAM_TABLES, Beams
from fusion_rt.sim.camera import SimulatedCamera
from fusion_rt.sim.gps import SimulatedGps
from fusion_rt.sim.lidar import SimulatedLidar
from fusion_rt.sim.scenario import RANDOM, Scenario, scenario_named
from fusion_rt.sim.streams import Counts
from fusion_rt.sim.truth import Truth, truth_at
from fusion_rt.sim.world import World


class SampleSize(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything a sample holds."""

    image_width: int = 448
    """The height follows from the camera's shape."""
    beams: Beams = "vlp32c"
    columns: int = 512
    audio_samples: int = 8192
    audio_rate_hz: int = 16_000
    per_world: int = 40
    spacing_s: float = 0.6
    first_s: float = 1.0


class Sample(msgspec.Struct, frozen=True, eq=False):
    """All that a rig measured about one moment, without latency or clock errors."""

    seed: int
    image: npt.NDArray[np.uint8]
    """(H, W, 3) BGR, taken at the moment."""
    points: npt.NDArray[np.float32]
    """(N, 5) as LidarSweep: the turn that ended at the moment."""
    point_ids: npt.NDArray[np.int32]
    audio: npt.NDArray[np.int16]
    """(S, channels): the sound up to the moment."""
    fix: GpsFix
    truth: Truth
    camera_seen: Counts
    lidar_seen: Counts


class SampleFrames(msgspec.Struct, frozen=True, kw_only=True):
    """The frames of the rig's calibration that a sample is taken in."""

    camera: str = "camera_front"
    lidar: str = "lidar_top"
    audio: str = "audio_array"
    gps: str = "gps_main"


def samples(
    calibration: Calibration,
    first_seed: int,
    size: SampleSize | None = None,
    frames: SampleFrames | None = None,
    scenario: str = RANDOM,
) -> Iterator[Sample]:
    """Samples without end, from the worlds of `first_seed`, the next seed, and so on."""
    sizes, names, seed = size or SampleSize(), frames or SampleFrames(), first_seed
    while True:
        yield from _World(calibration, scenario_named(scenario, seed), seed, sizes, names).samples()
        seed += 1


def reduced(pinhole: Pinhole, width: int) -> Pinhole:
    """The same lens on a coarser sensor, its shape kept to the pixel row."""
    scale = width / pinhole.width
    height = round(pinhole.height * scale)
    return Pinhole(
        width=width,
        height=height,
        fx_px=pinhole.fx_px * scale,
        fy_px=pinhole.fy_px * scale,
        cx_px=(pinhole.cx_px + 0.5) * scale - 0.5,
        cy_px=(pinhole.cy_px + 0.5) * scale - 0.5,
        distortion=pinhole.distortion,
    )


class _World:
    """The sensors of one world."""

    def __init__(
        self,
        calibration: Calibration,
        scenario: Scenario,
        seed: int,
        size: SampleSize,
        frames: SampleFrames,
    ) -> None:
        self._seed, self._size = seed, size
        world = self._world = World(scenario, seed)
        places = calibration.base_from
        self._pinhole = reduced(calibration.pinhole(frames.camera), size.image_width)
        self._camera = SimulatedCamera(
            world, self._pinhole, places[frames.camera], size.image_width
        )
        beams = BEAM_TABLES[size.beams]
        self._lidar = SimulatedLidar(world, beams, size.columns, places[frames.lidar])
        microphones_m = calibration.microphones_m[frames.audio]
        self._array = SimulatedArray(world, places[frames.audio], microphones_m, size.audio_rate_hz)
        self._gps = SimulatedGps(world, places[frames.gps], 1 / size.spacing_s)

    def samples(self) -> Iterator[Sample]:
        for number in range(self._size.per_world):
            t_s = self._size.first_s + number * self._size.spacing_s
            yield self._sample(round(t_s * NS_PER_S), number)

    def _sample(self, t_ns: int, number: int) -> Sample:
        image = np.empty((self._pinhole.height, self._pinhole.width, 3), np.uint8)
        visible = self._camera.take(t_ns, number, image)
        sweep = self._lidar.turn(t_ns, number)
        count = self._size.audio_samples
        first_ns = t_ns - round(count / self._size.audio_rate_hz * NS_PER_S)
        sound = self._array.chunk(first_ns, number * count, count)
        ids, points = np.unique(sweep.object_ids, return_counts=True)
        return Sample(
            seed=self._seed,
            image=image,
            points=sweep.points,
            point_ids=sweep.object_ids,
            audio=sound,
            fix=self._gps.fix(t_ns, t_ns, number),
            truth=truth_at(self._world, t_ns, self._array),
            camera_seen=visible.counts(),
            lidar_seen={int(i): (int(n),) for i, n in zip(ids, points, strict=True) if i},
        )
