"""Test patterns at real rates for camera, LiDAR, microphones and GPS: a rig without hardware.

Each pattern moves and carries noise, so that no two messages are alike; none of them depicts a
world the others share. Work per message is a blit into the loan and little else.
"""

import math
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import (
    READ_DEADLINE_NS,
    AudioOptions,
    CameraOptions,
    Channels,
    Driver,
    DriverPort,
    Messages,
    Pixels,
    SampleRateHz,
    SensorOptions,
)
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    GpsFix,
    LidarSweep,
    Message,
    PixelEncoding,
    image_shape,
)
from fusion_rt.topics import KINDS, topic_kind

SKIPPED = "skipped"
"""Counter of messages whose time had passed before their turn came: the process was held up."""

Bytes = npt.NDArray[np.uint8]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


def ticks(port: DriverPort, rate_hz: float, start_ns: int) -> Iterator[int | None]:
    """Counts 1, 2, ... at `start_ns + count / rate_hz`, or None at each read deadline in between.

    Deadlines are absolute: no drift adds up, and those missed by a whole period are skipped.
    """
    clock, count = port.clock, 0
    while True:
        elapsed = math.floor((clock.now_ns() - start_ns) * rate_hz / NS_PER_S)
        port.counters[SKIPPED] += max(0, elapsed - count - 1)
        count = max(count + 1, elapsed)
        due_ns = tick_ns(start_ns, count, rate_hz)
        while due_ns - clock.now_ns() > READ_DEADLINE_NS:
            clock.sleep_until_ns(clock.now_ns() + READ_DEADLINE_NS)
            yield None
        clock.sleep_until_ns(due_ns)
        yield count


def tick_ns(start_ns: int, count: float, rate_hz: float) -> int:
    """When tick `count` is due."""
    return start_ns + round(count * NS_PER_S / rate_hz)


def _rate_hz(options: SensorOptions, port: DriverPort) -> float:
    return options.stated_rate_hz() or topic_kind(port.topic).rate_hz


def _rng(seed: int, port: DriverPort) -> np.random.Generator:
    """Two sensors of one kind with one seed still differ."""
    return np.random.default_rng([seed, zlib.crc32(port.topic.encode())])


class CameraPattern(CameraOptions, frozen=True, kw_only=True):
    """Options of the synthetic camera."""

    width: Pixels = 1280
    height: Pixels = 720
    encoding: Literal["bgr8", "rgb8", "mono8", "nv12", "yuyv"] = "bgr8"
    exposure_ms: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 10
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.width % 2 or self.height % 2 or self.width < _COUNTER_BITS:
            got = f"{self.width}x{self.height}"
            raise ValueError(f"expected even width >= {_COUNTER_BITS} and even height, got {got}")
        rate_hz = self.rate_hz or KINDS["camera"].rate_hz
        if self.exposure_ms > 1000 / rate_hz:
            limit = f"{1000 / rate_hz:g} ms, one period of {rate_hz:g} Hz"
            raise ValueError(f"expected exposure_ms <= {limit}, got {self.exposure_ms:g}")

    def payload_bytes(self) -> int:
        return math.prod(image_shape(self.encoding, self.width, self.height) or ())


_COUNTER_BITS = 32
_COUNTER_ROWS = 16
_SCROLL_PX = 4  # even: yuyv and nv12 share colour between two pixels
_NOISE_OFFSETS = 1 << 16


def camera_frames(
    options: CameraPattern, port: DriverPort
) -> Generator[CameraFrame | None, None, None]:
    """A colour ramp that scrolls under fresh noise, its frame number in bars along the top."""
    rng = _rng(options.seed, port)
    shape = image_shape(options.encoding, options.width, options.height) or ()  # never jpeg's None
    scene = _scene(options.encoding, options.width, options.height).reshape(shape[0], -1)
    scroll = scene.shape[1] // options.width * _SCROLL_PX
    scenes = np.concatenate([scene, scene], axis=1)
    noise = rng.integers(0, 8, scene.size + _NOISE_OFFSETS, np.uint8)
    rate_hz, start_ns = _rate_hz(options, port), port.clock.now_ns()
    exposure_ns = round(options.exposure_ms * NS_PER_MS)
    for count in ticks(port, rate_hz, start_ns):
        if count is None:
            yield None
            continue
        left = count * scroll % scene.shape[1]
        first = int(rng.integers(_NOISE_OFFSETS))
        with port.loan(shape, np.uint8) as image:
            rows = image.reshape(scene.shape)
            grain = noise[first : first + scene.size].reshape(scene.shape)
            np.bitwise_xor(scenes[:, left : left + scene.shape[1]], grain, out=rows)
            rows[:_COUNTER_ROWS] = _counter_bars(count, scene.shape[1])
            yield CameraFrame(
                stamp_ns=tick_ns(start_ns, count, rate_hz) - exposure_ns // 2,
                encoding=options.encoding,
                width=options.width,
                height=options.height,
                image=image,
                exposure_ns=exposure_ns,
            )


def _scene(encoding: PixelEncoding, width: int, height: int) -> Bytes:
    """Blue rises to the right, green downwards, red on the diagonal; full-range BT.601 for YUV."""
    across = np.linspace(0, 255, width, dtype=np.float32)[None, :]
    down = np.linspace(0, 255, height, dtype=np.float32)[:, None]
    bgr = np.stack(np.broadcast_arrays(across, down, (across + down) / 2), axis=-1)
    y = bgr @ np.array([0.114, 0.587, 0.299], np.float32)
    u = 128 + 0.564 * (bgr[..., 0] - y)
    v = 128 + 0.713 * (bgr[..., 2] - y)
    if encoding == "mono8":
        scene = y
    elif encoding == "yuyv":
        colour = np.where(np.arange(width) % 2 == 0, u, np.roll(v, 1, axis=1))
        scene = np.stack([y, colour], axis=-1)
    elif encoding == "nv12":
        uv = np.stack([u[::2, ::2], v[::2, ::2]], axis=-1).reshape(height // 2, width)
        scene = np.concatenate([y, uv])
    else:
        scene = bgr if encoding == "bgr8" else bgr[..., ::-1]
    pixels: Bytes = np.clip(scene, 0, 255).astype(np.uint8)
    return pixels


def _counter_bars(count: int, row_bytes: int) -> Bytes:
    """One row: white where the number has a 1, most significant bit on the left."""
    bits: npt.NDArray[Any] = (count >> np.arange(_COUNTER_BITS)[::-1]) & 1
    columns = np.arange(row_bytes) * _COUNTER_BITS // row_bytes
    return (bits[columns] * 255).astype(np.uint8)


class LidarPattern(SensorOptions, frozen=True, kw_only=True):
    """Options of the synthetic LiDAR."""

    points: Annotated[int, msgspec.Meta(ge=1, le=4_000_000, description="points per sweep")] = (
        65_536
    )
    rings: Annotated[int, msgspec.Meta(ge=1, le=1024, description="lasers")] = 64
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.points % self.rings:
            wanted = f"expected points in whole columns of {self.rings} rings"
            raise ValueError(f"{wanted}, got {self.points}")

    def payload_bytes(self) -> int:
        return self.points * (5 * np.dtype(np.float32).itemsize + np.dtype(np.uint16).itemsize)


_LIDAR_HEIGHT_M = 1.8
_WALL_M = 40.0
_POST_M = 12.0
_POST_WIDTH_RAD = 0.06
_RANGE_NOISE_M = 0.02  # one standard deviation, as data sheets of rotating LiDARs state it


def lidar_sweeps(
    options: LidarPattern, port: DriverPort
) -> Generator[LidarSweep | None, None, None]:
    """Ground and a round wall, before which a post goes round once in 20 sweeps."""
    rng = _rng(options.seed, port)
    rate_hz = _rate_hz(options, port)
    columns = options.points // options.rings
    azimuth_rad = np.linspace(math.pi, -math.pi, columns, endpoint=False)  # spins clockwise
    elevation_rad = np.radians(np.linspace(-25, 15, options.rings))
    direction = _directions(azimuth_rad, elevation_rad)
    range_m = _background_m(direction)
    dt_s = (np.arange(columns) + 1 - columns) / columns / rate_hz
    ring = np.tile(np.arange(options.rings, dtype=np.uint16), columns)
    start_ns = port.clock.now_ns()
    for count in ticks(port, rate_hz, start_ns):
        if count is None:
            yield None
            continue
        post_rad = math.remainder(count * math.tau / 20, math.tau)
        is_post = np.abs(np.remainder(azimuth_rad - post_rad + math.pi, math.tau) - math.pi)
        seen_m = np.where(
            (is_post < _POST_WIDTH_RAD)[:, None], np.minimum(range_m, _POST_M), range_m
        )
        seen_m = seen_m + rng.standard_normal(seen_m.shape, np.float32) * _RANGE_NOISE_M
        with port.loan((options.points, 5), np.float32) as points:
            cube = points.reshape(columns, options.rings, 5)
            np.multiply(direction, seen_m[..., None], out=cube[..., :3])
            cube[..., 3] = 1 - seen_m / (_WALL_M * 2)
            cube[..., 4] = dt_s[:, None]
            yield LidarSweep(stamp_ns=tick_ns(start_ns, count, rate_hz), points=points, ring=ring)


def _directions(
    azimuth_rad: npt.NDArray[Any], elevation_rad: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """(columns, rings, 3) unit vectors, x forward, y left, z up."""
    azimuth, elevation = azimuth_rad[:, None], elevation_rad[None, :]
    x = np.cos(azimuth) * np.cos(elevation)
    y = np.sin(azimuth) * np.cos(elevation)
    z = np.broadcast_to(np.sin(elevation), x.shape)
    return np.stack([x, y, z], axis=-1).astype(np.float32)


def _background_m(direction: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(columns, rings) metres to the ground or the wall, whichever comes first."""
    level = np.hypot(direction[..., 0], direction[..., 1])
    down = np.maximum(-direction[..., 2], 1e-6)
    return np.minimum(_LIDAR_HEIGHT_M / down, _WALL_M / level).astype(np.float32)


class AudioPattern(AudioOptions, frozen=True, kw_only=True):
    """Options of the synthetic microphone array."""

    channels: Channels = 4
    sample_rate_hz: SampleRateHz = 16_000
    chunk_ms: Annotated[float, msgspec.Meta(ge=1, le=500)] = 20
    tone_hz: Annotated[float, msgspec.Meta(gt=0, le=192_000)] = 440
    seed: Seed = 0

    def __post_init__(self) -> None:
        samples = self.sample_rate_hz * self.chunk_ms / 1000
        if samples != round(samples):
            raise ValueError(f"expected chunk_ms of whole samples, got {samples:g} samples")
        if self.tone_hz * 2 > self.sample_rate_hz:
            limit = f"{self.sample_rate_hz / 2:g} Hz, half the sample rate"
            raise ValueError(f"expected tone_hz <= {limit}, got {self.tone_hz:g}")
        if self.rate_hz is not None and not math.isclose(self.rate_hz, 1000 / self.chunk_ms):
            wanted = f"{1000 / self.chunk_ms:g}, which chunk_ms settles, or none"
            raise ValueError(f"expected rate_hz {wanted}, got {self.rate_hz:g}")

    def stated_rate_hz(self) -> float:
        return 1000 / self.chunk_ms

    def payload_bytes(self) -> int:
        return self.chunk_samples() * self.channels * np.dtype(np.int16).itemsize

    def chunk_samples(self) -> int:
        """Samples per chunk and channel."""
        return round(self.sample_rate_hz * self.chunk_ms / 1000)


_TONE_LEVEL = 0.25 * 32_767
_NOISE_LEVEL = 0.01 * 32_767


def audio_chunks(
    options: AudioPattern, port: DriverPort
) -> Generator[AudioChunk | None, None, None]:
    """A tone, an eighth of a turn later on each channel, over noise."""
    rng = _rng(options.seed, port)
    size = options.chunk_samples()
    lag_rad = np.arange(options.channels) * math.tau / 8
    start_ns = port.clock.now_ns()
    for count in ticks(port, options.stated_rate_hz(), start_ns):
        if count is None:
            yield None
            continue
        first = (count - 1) * size  # a chunk is there once its last sample is
        turns = (first + np.arange(size)) * (options.tone_hz / options.sample_rate_hz) % 1.0
        wave = np.sin(turns[:, None] * math.tau - lag_rad)
        grain = rng.standard_normal(wave.shape, np.float32)
        yield AudioChunk(
            stamp_ns=tick_ns(start_ns, first, options.sample_rate_hz),
            samples=(wave * _TONE_LEVEL + grain * _NOISE_LEVEL).astype(np.int16),
            rate_hz=options.sample_rate_hz,
            first_sample=first,
        )


class GpsPattern(SensorOptions, frozen=True, kw_only=True):
    """Options of the synthetic GPS: where it circles, and how fast."""

    latitude_deg: Annotated[float, msgspec.Meta(ge=-85, le=85)] = 48.1374
    longitude_deg: Annotated[float, msgspec.Meta(ge=-180, le=180)] = 11.5755
    altitude_m: Annotated[float, msgspec.Meta(ge=-1000, le=10_000)] = 560
    radius_m: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 50
    speed_mps: Annotated[float, msgspec.Meta(gt=0, le=100)] = 10
    seed: Seed = 0

    def payload_bytes(self) -> int:
        return 0


_EARTH_RADIUS_M = 6_378_137.0  # WGS84 semi-major axis; a circle of 10 km bends by 0.3 % at most
_HORIZONTAL_NOISE_M = 0.5
_VERTICAL_NOISE_M = 1.0
_SPEED_NOISE_MPS = 0.05


def gps_fixes(options: GpsPattern, port: DriverPort) -> Generator[GpsFix | None, None, None]:
    """A drive round a circle, anticlockwise, with the noise of a receiver under open sky."""
    rng = _rng(options.seed, port)
    rate_hz, start_ns = _rate_hz(options, port), port.clock.now_ns()
    for count in ticks(port, rate_hz, start_ns):
        if count is None:
            yield None
            continue
        angle_rad = count / rate_hz * options.speed_mps / options.radius_m
        yield _fix(options, angle_rad, tick_ns(start_ns, count, rate_hz), rng)


def _fix(options: GpsPattern, angle_rad: float, stamp_ns: int, rng: np.random.Generator) -> GpsFix:
    noise = rng.standard_normal(6).tolist()
    east_m = options.radius_m * math.cos(angle_rad) + noise[0] * _HORIZONTAL_NOISE_M
    north_m = options.radius_m * math.sin(angle_rad) + noise[1] * _HORIZONTAL_NOISE_M
    east_mps = -options.speed_mps * math.sin(angle_rad) + noise[3] * _SPEED_NOISE_MPS
    north_mps = options.speed_mps * math.cos(angle_rad) + noise[4] * _SPEED_NOISE_MPS
    circle_m = _EARTH_RADIUS_M * math.cos(math.radians(options.latitude_deg))
    longitude_deg = options.longitude_deg + math.degrees(east_m / circle_m)
    return GpsFix(
        stamp_ns=stamp_ns,
        fix="3d",
        latitude_deg=options.latitude_deg + math.degrees(north_m / _EARTH_RADIUS_M),
        longitude_deg=math.remainder(longitude_deg, 360),
        altitude_m=options.altitude_m + noise[2] * _VERTICAL_NOISE_M,
        velocity_enu_mps=(east_mps, north_mps, noise[5] * _SPEED_NOISE_MPS),
        course_deg=math.degrees(math.atan2(east_mps, north_mps)) % 360,
        horizontal_accuracy_m=_HORIZONTAL_NOISE_M,
        vertical_accuracy_m=_VERTICAL_NOISE_M,
        satellites=12,
    )


def _opened(
    messages: Callable[[Any, DriverPort], Generator[Message | None, None, None]],
) -> Callable[[Any, DriverPort], Messages]:
    """Closing the generator gives back the loan it may be holding."""
    return lambda options, port: closing(messages(options, port))


DRIVERS = {
    "camera": Driver(CameraPattern, _opened(camera_frames)),
    "lidar": Driver(LidarPattern, _opened(lidar_sweeps)),
    "audio": Driver(AudioPattern, _opened(audio_chunks)),
    "gps": Driver(GpsPattern, _opened(gps_fixes)),
}
