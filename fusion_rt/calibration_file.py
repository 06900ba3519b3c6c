"""Reads the calibration a rig names: where each sensor sits, and what its camera or array is like.

One transform per frame, named `target_from_source`, in a tree whose root is `base`. What the axes
of the frames are stands in `fusion_rt.rig`.
"""

import datetime
import math
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.config import Problems, checked, known_names
from fusion_rt.errors import ConfigError
from fusion_rt.geometry import (
    CameraModel,
    Coefficient,
    Fisheye,
    FocalLength,
    Pinhole,
    RigidTransform,
    SideLength,
    rotation_problem,
)
from fusion_rt.time_offsets import TimeOffset, chain_of, lateness_ns
from fusion_rt.yaml_file import read_yaml

BASE = "base"
FRAME_NAME = re.compile(r"[A-Za-z0-9](?:(?!_from_)[A-Za-z0-9_.-]){0,63}")
QUATERNION_TOLERANCE = 1e-3
DISTORTION_TERMS = {"pinhole": 5, "fisheye": 4}
_CAMERA_NUMBERS = ("width", "height", "fx_px", "fy_px", "cx_px", "cy_px")

MountMetres = Annotated[float, msgspec.Meta(ge=-100, le=100)]
Mount = Annotated[
    tuple[MountMetres, MountMetres, MountMetres], msgspec.Meta(description="x, y, z in metres")
]
Cosine = Annotated[float, msgspec.Meta(ge=-1.001, le=1.001)]
Row = tuple[Cosine, Cosine, Cosine]
Microphones = Annotated[
    tuple[Mount, ...], msgspec.Meta(description="x, y, z of each microphone, in channel order")
]


class WrittenTransform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transform as a file states it: a translation, and the rotation in one of three ways."""

    translation_m: Mount
    rotation: tuple[Row, Row, Row] | None = None
    quaternion_wxyz: tuple[float, float, float, float] | None = None
    yaw_deg: Annotated[float, msgspec.Meta(ge=-360, le=360)] | None = None

    def __post_init__(self) -> None:
        ways = {
            "rotation": self.rotation,
            "quaternion_wxyz": self.quaternion_wxyz,
            "yaw_deg": self.yaw_deg,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"expected one of {', '.join(ways)}, got {got}")
        if self.rotation is not None and (problem := rotation_problem(np.array(self.rotation))):
            raise ValueError(f"rotation: {problem}")
        if self.quaternion_wxyz is not None:
            length = math.hypot(*self.quaternion_wxyz)
            if abs(length - 1) > QUATERNION_TOLERANCE:
                raise ValueError(f"quaternion_wxyz: expected length 1, got {length:g}")

    def transform(self) -> RigidTransform:
        if self.rotation is not None:
            return RigidTransform(np.array(self.rotation), np.array(self.translation_m))
        if self.quaternion_wxyz is not None:
            return RigidTransform.from_quaternion(self.quaternion_wxyz, self.translation_m)
        return RigidTransform.from_yaw(math.radians(self.yaw_deg or 0), self.translation_m)


class WrittenCamera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Intrinsics as a file states them: one of two models, told apart by `model`."""

    model: Literal["pinhole", "fisheye"] = "pinhole"
    width: SideLength
    height: SideLength
    fx_px: FocalLength
    fy_px: FocalLength
    cx_px: float
    cy_px: float
    distortion: Annotated[tuple[Coefficient, ...], msgspec.Meta(max_length=5)] = ()
    """pinhole: k1, k2, p1, p2, k3; fisheye: k1, k2, k3, k4; none at all: undistorted."""

    def __post_init__(self) -> None:
        expected = DISTORTION_TERMS[self.model]
        if len(self.distortion) not in (0, expected):
            got = len(self.distortion)
            raise ValueError(f"distortion: expected {expected} for a {self.model}, got {got}")
        self.camera()

    def camera(self) -> CameraModel:
        fields = {name: getattr(self, name) for name in _CAMERA_NUMBERS}
        if self.model == "fisheye":
            k1, k2, k3, k4 = self.distortion or (0.0,) * 4
            return Fisheye(**fields, distortion=(k1, k2, k3, k4))
        k1, k2, p1, p2, k3 = self.distortion or (0.0,) * 5
        return Pinhole(**fields, distortion=(k1, k2, p1, p2, k3))


class Residuals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well one result fits what it was made from, and how sure it is."""

    rms_px: Annotated[float, msgspec.Meta(ge=0)] | None = None
    rms_m: Annotated[float, msgspec.Meta(ge=0)] | None = None
    sd_deg: tuple[float, float, float] | None = None
    sd_m: tuple[float, float, float] | None = None
    sd_focal_px: Annotated[float, msgspec.Meta(ge=0)] | None = None
    observations: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Made(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one entry comes from: the newest provenance wins over the file's."""

    method: str
    date: datetime.date
    data_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """Over all input files, in the order of their names."""
    valid_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = None
    """`fusion-rt calibrate check-rig` calls it expired when older; None: it never says so."""
    residuals: Residuals = Residuals()


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the numbers come from, for whoever doubts them later."""

    method: str
    date: datetime.date | None = None
    tool: str = ""
    note: str = ""
    results: dict[str, Made] = {}
    """By entry: `cameras.NAME`, `transforms.NAME`, `microphones.NAME`, `time_offsets.NAME`."""


class CalibrationFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a calibration file may say."""

    provenance: Provenance
    transforms: dict[str, WrittenTransform] = {}
    cameras: dict[str, WrittenCamera] = {}
    microphones: dict[str, Microphones] = {}
    time_offsets: dict[str, TimeOffset] = {}


class Calibration(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A calibration that holds together: every frame is placed, keyed by its name."""

    source: Path
    raw: bytes
    """The file as read, for the recorder to attach."""
    provenance: Provenance
    base_from: dict[str, RigidTransform]
    """`base_from[frame]` maps the frame's coordinates to base; `base` itself is the identity."""
    cameras: dict[str, CameraModel]
    microphones_m: dict[str, npt.NDArray[np.float64]]
    """(channels, 3) in the array's own frame."""
    time_offsets: dict[str, TimeOffset]

    def pinhole(self, frame: str) -> Pinhole:
        """Intrinsics of a camera for what cannot do with a fisheye; raises ConfigError for one."""
        camera = self.cameras[frame]
        if not isinstance(camera, Pinhole):
            problem = "expected a pinhole, got a fisheye, which cannot be simulated or lifted yet"
            raise ConfigError(str(self.source), f"cameras.{frame}.model", problem)
        return camera

    def lateness_ns(self, frame: str) -> int:
        """To be taken off the stamps of the frame's sensor for them to be rig time."""
        return lateness_ns(self.time_offsets, frame)

    def transform(self, target: str, source: str) -> RigidTransform:
        """`target_from_source`: raises KeyError for a frame that is not placed."""
        return self.base_from[target].inverse() @ self.base_from[source]


def load_calibration(source: Path) -> Calibration:
    """Read and check a calibration file; raises ConfigErrors with all that is wrong."""
    file = read_yaml(source)
    problems = Problems(file)
    written = checked(file.tree, CalibrationFile, (), problems)
    if written is None:
        raise problems.as_error()
    base_from = _placed(written.transforms, problems)
    for section, frames in (
        ("cameras", written.cameras),
        ("microphones", written.microphones),
        ("time_offsets", written.time_offsets),
    ):
        for frame in frames:
            if frame not in base_from:
                problem = f'expected a transform that places "{frame}", got none'
                problems.add((section, frame), problem, known_names(frame, base_from))
    _check_offsets(written.time_offsets, base_from, problems)
    if problems.errors:
        raise problems.as_error()
    return Calibration(
        source=source,
        raw=file.raw,
        provenance=written.provenance,
        base_from=base_from,
        cameras={name: camera.camera() for name, camera in written.cameras.items()},
        microphones_m={name: np.array(places) for name, places in written.microphones.items()},
        time_offsets=written.time_offsets,
    )


def _check_offsets(
    offsets: dict[str, TimeOffset], base_from: dict[str, RigidTransform], problems: Problems
) -> None:
    """Each chain of sensors, every one late against the next, ends."""
    for frame, offset in offsets.items():
        place = ("time_offsets", frame, "against")
        if offset.against not in base_from:
            problem = f'expected a transform that places "{offset.against}", got none'
            problems.add(place, problem, known_names(offset.against, base_from))
        chain = chain_of(offsets, frame)
        if chain[-1] == frame:
            problem = f"expected a chain of sensors that ends, got {' -> '.join(chain)}"
            problems.add(place, problem, "one of them has the right time: leave it out")


class _Link(msgspec.Struct, frozen=True):
    """One step from a frame towards base."""

    key: str
    target: str
    transform: RigidTransform


def _placed(
    transforms: dict[str, WrittenTransform], problems: Problems
) -> dict[str, RigidTransform]:
    links = _links(transforms, problems)
    placed = {BASE: RigidTransform.identity()}
    for frame, link in links.items():
        chain = _chain(frame, links)
        if chain[-1] == BASE:
            placed[frame] = _composed(chain, links)
            continue
        fault = "a loop" if chain[-1] in chain[:-1] else f'no transform for "{chain[-1]}"'
        problem = f"expected a chain of frames that ends in base, got {' -> '.join(chain)}: {fault}"
        problems.add(("transforms", link.key), problem)
    return placed


def _links(transforms: dict[str, WrittenTransform], problems: Problems) -> dict[str, _Link]:
    """The link of each frame, keyed by its name."""
    links: dict[str, _Link] = {}
    for key, written in transforms.items():
        place = ("transforms", key)
        target, _, source = key.partition("_from_")
        if not (FRAME_NAME.fullmatch(target) and FRAME_NAME.fullmatch(source)):
            way_out = "for example base_from_lidar_top: its coordinates, mapped to base"
            problems.add(place, "expected the name TARGET_from_SOURCE", way_out)
        elif source == BASE:
            problems.add(
                place, "expected frames placed in base, got base placed in one", "write its inverse"
            )
        elif source in links:
            problem = f'expected one transform for "{source}", got a second'
            problems.add(place, problem, f"{links[source].key} places it already: remove one")
        else:
            links[source] = _Link(key, target, written.transform())
    return links


def _chain(frame: str, links: dict[str, _Link]) -> list[str]:
    """From `frame` towards base, as far as it goes or until it comes round."""
    chain = [frame]
    while chain[-1] in links:
        target = links[chain[-1]].target
        chain.append(target)
        if target in chain[:-1]:
            break
    return chain


def _composed(chain: list[str], links: dict[str, _Link]) -> RigidTransform:
    base_from_frame = RigidTransform.identity()
    for frame in reversed(chain[:-1]):
        base_from_frame = base_from_frame @ links[frame].transform
    return base_from_frame
