"""Makes a calibration of what a bag says of its sensors' places: TF and CameraInfo."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from fusion_rt.geometry import CameraModel, Fisheye, Pinhole, RigidTransform
from fusion_rt.imports.source import Mounting
from fusion_rt.sensors import default_frame

BASE_FRAMES = ("base", "base_link", "base_footprint")
"""What the vehicle's frame is usually called; the first one found is taken."""
_SAME = 1e-6
_PINHOLE = ("plumb_bob", "rational_polynomial", "")
"""The second with its last three coefficients at 0."""
_FISHEYE = ("equidistant", "fisheye")


class RosFrames:
    """Collects transforms and intrinsics while a bag is read."""

    def __init__(self, base: str | None) -> None:
        self._base = base
        self._links: dict[str, tuple[str, RigidTransform]] = {}
        self._moving: set[str] = set()
        self._cameras: dict[str, CameraModel] = {}
        self._left_out: list[str] = []
        self.frames: dict[str, str] = {}
        """By our topic, the frame its messages name."""

    def add_transforms(self, message: Any) -> None:
        """From tf2_msgs/TFMessage; a frame that moves is no calibration."""
        for stamped in message.transforms:
            child = _bare(stamped.child_frame_id)
            try:
                link = (_bare(stamped.header.frame_id), _transform(stamped.transform))
            except ValueError as error:
                self._tell(f"transform of {child}: {error}")
                continue
            before = self._links.setdefault(child, link)
            if before[0] != link[0] or not _is_same(before[1], link[1]):
                self._moving.add(child)

    def add_camera(self, info: Any) -> None:
        """From sensor_msgs/CameraInfo, which ROS 1 and ROS 2 spell differently."""
        frame = _bare(info.header.frame_id)
        if frame in self._cameras:
            return
        try:
            self._cameras[frame] = _camera(info)
        except (ValueError, msgspec.ValidationError) as error:
            self._tell(f"camera {frame}: {error}")

    def see(self, topic: str, header: Any) -> None:
        """Remember in which frame the messages of one of our topics are."""
        self.frames.setdefault(topic, _bare(header.frame_id))

    def mounting(self) -> Mounting | None:
        """None when the bag says nothing of any of its sensors."""
        base = self._base or next((name for name in BASE_FRAMES if name in self._known()), None)
        placed: dict[str, RigidTransform] = {}
        cameras: dict[str, CameraModel] = {}
        left_out = list(self._left_out)
        for topic, frame in self.frames.items():
            place = self._base_from(base, frame)
            if isinstance(place, str):
                left_out.append(f"{topic}: {place}")
                continue
            placed[default_frame(topic)] = place
            if topic.startswith("camera/") and frame in self._cameras:
                cameras[default_frame(topic)] = self._cameras[frame]
        if not placed and not self._cameras:
            return None
        method = f"TF and CameraInfo of a bag, base is its {base}"
        return Mounting(method=method, base_from=placed, cameras=cameras, left_out=tuple(left_out))

    def _known(self) -> set[str]:
        return set(self._links) | {parent for parent, _ in self._links.values()}

    def _base_from(self, base: str | None, frame: str) -> RigidTransform | str:
        """Where a frame sits in base, or why nobody knows."""
        if base is None:
            return f"no frame of the bag is called {' or '.join(BASE_FRAMES)}; name it by --base"
        up_from_base = dict(self._upwards(base))
        for name, name_from_frame in self._upwards(frame):
            if name in up_from_base:
                return up_from_base[name].inverse() @ name_from_frame
        if frame in self._moving:
            return f'its frame "{frame}" moves'
        return f'no transforms lead from its frame "{frame}" to {base}'

    def _upwards(self, frame: str) -> Iterator[tuple[str, RigidTransform]]:
        """A frame and those it hangs on: `ancestor_from_frame` each, as far as nothing moves."""
        ancestor_from_frame, seen = RigidTransform.identity(), {frame}
        yield frame, ancestor_from_frame
        while frame in self._links and frame not in self._moving:
            frame, parent_from_child = self._links[frame]
            if frame in seen:  # a loop
                return
            seen.add(frame)
            ancestor_from_frame = parent_from_child @ ancestor_from_frame
            yield frame, ancestor_from_frame

    def _tell(self, sentence: str) -> None:
        if sentence not in self._left_out:
            self._left_out.append(sentence)


def _bare(frame: str) -> str:
    return frame.lstrip("/")


def _transform(transform: Any) -> RigidTransform:
    turn, shift = transform.rotation, transform.translation
    wxyz = (turn.w, turn.x, turn.y, turn.z)
    if abs(math.hypot(*wxyz) - 1) > 1e-2:
        raise ValueError(f"expected a quaternion of length 1, got {math.hypot(*wxyz):g}")
    return RigidTransform.from_quaternion(wxyz, (shift.x, shift.y, shift.z))


def _is_same(one: RigidTransform, other: RigidTransform) -> bool:
    return bool(np.abs(one.matrix - other.matrix).max() < _SAME)


def _camera(info: Any) -> CameraModel:
    k, model = _field(info, "k"), str(info.distortion_model)
    distortion = [float(value) for value in _field(info, "d")]
    fields: dict[str, Any] = {
        "width": int(info.width),
        "height": int(info.height),
        "fx_px": _positive(k[0]),
        "fy_px": _positive(k[4]),
        "cx_px": float(k[2]),
        "cy_px": float(k[5]),
    }
    if model in _FISHEYE:
        k1, k2, k3, k4 = (*distortion, *[0.0] * 4)[:4]
        return msgspec.convert({**fields, "distortion": (k1, k2, k3, k4)}, Fisheye)
    if model not in _PINHOLE or any(distortion[5:]):
        got = f"{model} with {len(distortion)}"
        raise ValueError(f"expected plumb_bob with 5 coefficients or equidistant, got {got}")
    k1, k2, p1, p2, k3 = (*distortion, *[0.0] * 5)[:5]
    return msgspec.convert({**fields, "distortion": (k1, k2, p1, p2, k3)}, Pinhole)


def _positive(focal_px: Any) -> float:
    """Drivers that were never calibrated say 0."""
    if not float(focal_px) > 0:
        raise ValueError(f"expected a focal length > 0, got {float(focal_px):g}: not calibrated")
    return float(focal_px)


def _field(info: Any, name: str) -> Mapping[int, Any]:
    values: Mapping[int, Any] = getattr(info, name if hasattr(info, name) else name.upper())
    return values
