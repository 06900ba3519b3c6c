"""From a world to the messages of each sensor: what drivers send live and datasets hold."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import (
    AudioOptions,
    CameraOptions,
    Channels,
    Loan,
    RateHz,
    SampleRateHz,
    SensorOptions,
)
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message
from fusion_rt.sensors import default_frame
from fusion_rt.sim.audio import SimulatedArray
from fusion_rt.sim.beams import BEAM_TABLES, Beams
from fusion_rt.sim.camera import RENDER_WIDTH, SimulatedCamera
from fusion_rt.sim.gps import SimulatedGps, no_fix
from fusion_rt.sim.lidar import SimulatedLidar
from fusion_rt.sim.schedule import Schedule, Shot
from fusion_rt.sim.world import World

Seed = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Counts = dict[int, tuple[int, ...]]
"""Per object's id: pixels shown and pixels if alone (camera), or points (LiDAR)."""


class SimCamera(CameraOptions, frozen=True, kw_only=True):
    """Options of the simulated camera; its lens and size are the calibration's."""

    scenario: str = "urban_day"
    seed: Seed = 1
    rate_hz: RateHz = 30.0
    encoding: Literal["bgr8", "rgb8"] = "bgr8"
    render_width: Annotated[int, msgspec.Meta(ge=64, le=4096, description="pixels")] = RENDER_WIDTH
    """The world is drawn so wide, then brought to the picture's size."""

    def payload_bytes(self) -> int | None:
        return self.width * self.height * 3 if self.width and self.height else None


class SimLidar(SensorOptions, frozen=True, kw_only=True):
    """Options of the simulated LiDAR."""

    scenario: str = "urban_day"
    seed: Seed = 1
    rate_hz: RateHz = 10.0
    beams: Beams = "hdl64"
    columns: Annotated[int, msgspec.Meta(ge=90, le=4096, description="firings per turn")] = 1200

    def payload_bytes(self) -> int:
        """At most: when every firing comes back."""
        return self.columns * len(BEAM_TABLES[self.beams].elevations_deg) * 22


class SimAudio(AudioOptions, frozen=True, kw_only=True):
    """Options of the simulated microphones; how many there are is the calibration's to say."""

    scenario: str = "urban_day"
    seed: Seed = 1
    channels: Channels | None = None
    sample_rate_hz: SampleRateHz = 16_000
    chunk_ms: Annotated[int, msgspec.Meta(ge=5, le=1000)] = 20

    def __post_init__(self) -> None:
        if self.sample_rate_hz * self.chunk_ms % 1000:
            wanted = "expected whole samples per chunk"
            raise ValueError(f"{wanted}, got {self.sample_rate_hz} Hz times {self.chunk_ms} ms")

    def stated_rate_hz(self) -> float:
        return 1000 / self.chunk_ms


class SimGps(SensorOptions, frozen=True, kw_only=True):
    """Options of the simulated GNSS receiver."""

    scenario: str = "urban_day"
    seed: Seed = 1
    rate_hz: RateHz = 10.0

    def payload_bytes(self) -> int:
        return 0


class Stream(Protocol):
    """One sensor's messages."""

    schedule: Schedule

    def message(self, shot: Shot, origin_ns: int, loan: Loan) -> AbstractContextManager[Message]:
        """The message of a shot, stamps counted from origin; arrays live as long as the context."""
        ...

    def seen(self) -> Counts:
        """What the message made last shows of each object."""
        ...


class CameraStream:
    """Pictures."""

    def __init__(
        self, topic: str, options: SimCamera, world: World, calibration: Calibration
    ) -> None:
        frame = options.frame or default_frame(topic)
        self._pinhole, self._encoding = calibration.pinhole(frame), options.encoding
        place, is_bgr = calibration.base_from[frame], options.encoding == "bgr8"
        width = options.render_width
        self._camera = SimulatedCamera(world, self._pinhole, place, width, is_bgr=is_bgr)
        self._seen: Counts = {}
        self.schedule = Schedule(world.scenario, world.seed, topic, _period_ns(options.rate_hz))

    @contextmanager
    def message(self, shot: Shot, origin_ns: int, loan: Loan) -> Iterator[CameraFrame]:
        width, height = self._pinhole.width, self._pinhole.height
        with loan((height, width, 3), np.uint8) as image:
            true_ns = self.schedule.true_ns(shot.content)
            self._seen = (
                {} if shot.is_dark else self._camera.take(true_ns, shot.content, image).counts()
            )
            if shot.is_dark:
                image[:] = 0
            yield CameraFrame(
                stamp_ns=origin_ns + shot.stamp_ns,
                encoding=self._encoding,
                width=width,
                height=height,
                image=image,
                exposure_ns=self._camera.shutter_ns(true_ns),
            )

    def seen(self) -> Counts:
        return self._seen


class LidarStream:
    """Sweeps."""

    def __init__(
        self, topic: str, options: SimLidar, world: World, calibration: Calibration
    ) -> None:
        place = calibration.base_from[options.frame or default_frame(topic)]
        period_ns = _period_ns(options.rate_hz)
        beams = BEAM_TABLES[options.beams]
        self._lidar = SimulatedLidar(world, beams, options.columns, place, period_ns)
        self.schedule = Schedule(world.scenario, world.seed, topic, period_ns)
        self.object_ids: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        """Of the points of the message made last."""

    @contextmanager
    def message(self, shot: Shot, origin_ns: int, loan: Loan) -> Iterator[LidarSweep]:
        sweep = self._lidar.turn(self.schedule.true_ns(shot.content), shot.content)
        count = 0 if shot.is_dark else len(sweep.points)
        self.object_ids = sweep.object_ids[:count]
        with loan((count, 5), np.float32) as points:
            points[:] = sweep.points[:count]
            yield LidarSweep(
                stamp_ns=origin_ns + shot.stamp_ns, points=points, ring=sweep.ring[:count]
            )

    def seen(self) -> Counts:
        ids, counts = np.unique(self.object_ids, return_counts=True)
        return {int(number): (int(n),) for number, n in zip(ids, counts, strict=True) if number}


class AudioStream:
    """Chunks of sound."""

    def __init__(
        self, topic: str, options: SimAudio, world: World, calibration: Calibration
    ) -> None:
        frame = options.frame or default_frame(topic)
        self._rate_hz = options.sample_rate_hz
        self._count = options.sample_rate_hz * options.chunk_ms // 1000
        self.array = SimulatedArray(
            world, calibration.base_from[frame], calibration.microphones_m[frame], self._rate_hz
        )
        period_ns = options.chunk_ms * NS_PER_MS
        self.schedule = Schedule(world.scenario, world.seed, topic, period_ns, lasts_ns=period_ns)

    @contextmanager
    def message(self, shot: Shot, origin_ns: int, loan: Loan) -> Iterator[AudioChunk]:  # noqa: ARG002
        true_ns = self.schedule.true_ns(shot.content)
        samples = self.array.chunk(true_ns, shot.content * self._count, self._count)
        yield AudioChunk(
            stamp_ns=origin_ns + shot.stamp_ns,
            samples=np.zeros_like(samples) if shot.is_dark else samples,
            rate_hz=self._rate_hz,
            first_sample=shot.number * self._count,
        )

    def seen(self) -> Counts:
        return {}  # bearings are in the truth


class GpsStream:
    """Fixes."""

    def __init__(self, topic: str, options: SimGps, world: World, calibration: Calibration) -> None:
        place = calibration.base_from[options.frame or default_frame(topic)]
        self._gps = SimulatedGps(world, place, options.rate_hz)
        self.schedule = Schedule(world.scenario, world.seed, topic, _period_ns(options.rate_hz))

    @contextmanager
    def message(self, shot: Shot, origin_ns: int, loan: Loan) -> Iterator[GpsFix]:  # noqa: ARG002
        stamp_ns = origin_ns + shot.stamp_ns
        if shot.is_dark:
            yield no_fix(stamp_ns)
        else:
            yield self._gps.fix(self.schedule.true_ns(shot.content), stamp_ns, shot.content)

    def seen(self) -> Counts:
        return {}


OPTIONS: dict[str, type[SensorOptions]] = {
    "camera": SimCamera,
    "lidar": SimLidar,
    "audio": SimAudio,
    "gps": SimGps,
}
_STREAMS: dict[str, Any] = {
    "camera": CameraStream,
    "lidar": LidarStream,
    "audio": AudioStream,
    "gps": GpsStream,
}


def open_stream(
    topic: str, options: SensorOptions, world: World, calibration: Calibration
) -> Stream:
    """The simulated sensor of a topic."""
    stream: Stream = _STREAMS[topic.partition("/")[0]](topic, options, world, calibration)
    return stream


def _period_ns(rate_hz: float) -> int:
    return math.floor(NS_PER_S / rate_hz)
