"""Moments: what a rig measured about one time, with the truth, small enough to train from disk.

A folder of moments holds files `<seed>.moments`, one world each: a msgpack list of `Moment`.
`fusion_rt.model.render` makes them. Poses and truths are in `base`; times count from the start of
the drive.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import ConfigError
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.messages import GpsFix

SUFFIX = ".moments"
_METRE = 200.0  # points are kept to 5 mm
_DT_STEPS_PER_S = 2000.0
_JPEG_QUALITY = 95
Mount = tuple[float, ...]
"""x, y, z, then the rotation by rows: base_from_sensor."""


class Label(msgspec.Struct, frozen=True):
    """One road user."""

    id: int
    class_id: int
    box: tuple[float, ...]
    """messages.BOX_COLUMNS, at the time of the list it stands in."""
    pixels: tuple[int, int] = (0, 0)
    """Shown, and shown if nothing stood before it."""
    points: int = 0


class Heard(msgspec.Struct, frozen=True):
    """One siren at the array."""

    id: int
    bearing_rad: float
    distance_m: float
    level_db: float


class Conditions(msgspec.Struct, frozen=True):
    """What makes a scene hard."""

    is_night: bool
    rain_mm_h: float
    visibility_m: float


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One anchor time, which is the end of the sweep."""

    seed: int
    anchor_ns: int
    conditions: Conditions
    camera_ns: int
    """Mid-exposure."""
    audio_ns: int
    """The last sample."""
    jpeg: bytes
    pinhole: Pinhole
    """Of the picture as stored."""
    base_from_camera: Mount
    base_from_lidar: Mount
    points: bytes
    """(N, 3) int16 of 5 mm in the LiDAR's frame, (N,) uint8 intensity, (N,) uint8 of -0.5 ms."""
    sound: bytes
    """(S, channels) int16."""
    channels: int
    fixes: list[GpsFix]
    """The last ones, oldest first."""
    ego: tuple[float, ...]
    """x_m, y_m, yaw_rad in the city, v_mps, yaw rate: at the anchor."""
    ego_at_camera: tuple[float, ...]
    labels: list[Label]
    """At the anchor; the points and pixels seen are each sensor's own."""
    labels_at_camera: list[Label]
    sirens: list[Heard]

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) BGR."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR))

    @property
    def samples(self) -> npt.NDArray[np.int16]:
        return np.frombuffer(self.sound, np.int16).reshape(-1, self.channels)

    @property
    def sweep(self) -> npt.NDArray[np.float32]:
        """(N, 5): as LidarSweep."""
        count = len(self.points) // 8
        places = np.frombuffer(self.points, np.int16, 3 * count).reshape(count, 3)
        rest = np.frombuffer(self.points, np.uint8, 2 * count, 6 * count).reshape(2, count)
        sweep = np.empty((count, 5), np.float32)
        sweep[:, :3] = places / np.float32(_METRE)
        sweep[:, 3] = rest[0] / np.float32(255)
        sweep[:, 4] = rest[1] / np.float32(-_DT_STEPS_PER_S)
        return sweep


def packed_sweep(points: npt.NDArray[np.float32]) -> bytes:
    """Points (N, 5) as `Moment.points` holds them; those beyond 160 m are left out."""
    near = points[np.abs(points[:, :3]).max(axis=1, initial=0) < 160]
    places = np.rint(near[:, :3] * _METRE).astype(np.int16)
    intensity = np.rint(np.clip(near[:, 3], 0, 1) * 255).astype(np.uint8)
    ago = np.rint(np.clip(-near[:, 4] * _DT_STEPS_PER_S, 0, 255)).astype(np.uint8)
    return places.tobytes() + intensity.tobytes() + ago.tobytes()


def packed_image(image: npt.NDArray[np.uint8]) -> bytes:
    """A BGR picture as JPEG."""
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(jpeg.data)


def mount_from_transform(transform: RigidTransform) -> Mount:
    return (*transform.translation_m.tolist(), *transform.rotation.ravel().tolist())


def transform_from_mount(mount: Mount) -> RigidTransform:
    return RigidTransform(np.array(mount[3:]).reshape(3, 3), np.array(mount[:3]))


def write_moments(folder: Path, seed: int, moments: list[Moment]) -> Path:
    """One world's file; it appears under its name only when it is whole."""
    path = folder / f"{seed}{SUFFIX}"
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.msgpack.encode(moments))
    part.rename(path)
    return path


def moment_files(folder: Path) -> list[Path]:
    """All files of a folder, by seed; raises where there is none."""
    files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: int(path.stem))
    if not files:
        problem = f"expected a folder with files *{SUFFIX}, found none"
        raise ConfigError(str(folder), "", problem, "render some: fusion-rt train --help")
    return files


def read_moments(path: Path) -> list[Moment]:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Moment])
    except msgspec.DecodeError as error:
        problem = f"expected moments, got something else ({error})"
        raise ConfigError(str(path), "", problem, "render it again") from error


def all_moments(folder: Path) -> Iterator[Moment]:
    """Those of every file, by seed."""
    for path in moment_files(folder):
        yield from read_moments(path)
