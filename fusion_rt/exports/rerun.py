"""Writes a log as a recording of the Rerun viewer, one entity per topic below /base."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fusion_rt.calibration_file import BASE
from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import ExportError
from fusion_rt.exports.detections import boxes_of
from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    Detections,
    GpsFix,
    LidarSweep,
    Message,
)
from fusion_rt.transport.inbox import Received

_ARROW_S = 1.0
"""A box's arrow shows how far it goes in this time."""


class RerunWriter:
    """Writes one .rrd within a `with`. Needs the extra `rerun`."""

    def __init__(self, path: Path) -> None:
        """Raises ExportError where the file is there already or cannot be written."""
        if path.exists():
            raise ExportError(str(path), "expected a new file, it is there already")
        if not path.parent.is_dir():
            raise ExportError(str(path), f"expected the folder {path.parent}, there is none")
        with from_extra("rerun"):
            import rerun
        self._rerun: ModuleType = rerun
        self._recording: Any = rerun.RecordingStream("fusion_rt")
        self._recording.save(path)
        self.counts: dict[str, int] = {}
        """Messages written, by topic."""

    def __enter__(self) -> "RerunWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._recording.flush()
        self._recording.disconnect()

    def write_rig(
        self,
        base_from: Mapping[str, RigidTransform],
        cameras: Mapping[str, tuple[str, CameraModel]],
        topics: Mapping[str, str],
    ) -> None:
        """Where the sensors sit, by frame; `topics` says which topic is in which frame."""
        rr = self._rerun
        self._static(BASE, rr.ViewCoordinates.FLU)
        for topic, frame in topics.items():
            if (place := base_from.get(frame)) is not None:
                transform = rr.Transform3D(translation=place.translation_m, mat3x3=place.rotation)
                self._static(_entity(topic), transform)
        for topic, camera in cameras.values():
            pinhole = rr.Pinhole(
                focal_length=(camera.fx_px, camera.fy_px),
                principal_point=(camera.cx_px, camera.cy_px),
                resolution=(camera.width, camera.height),
                camera_xyz=rr.ViewCoordinates.RDF,
            )
            self._static(_entity(topic), pinhole)

    def write(self, received: Received) -> None:
        """One message; sound, which Rerun does not show, as its loudness."""
        topic, message = received.header.topic, received.message
        shown = self._shown(message)
        if shown is None:
            return
        self._recording.set_time("stamp", timestamp=np.datetime64(message.stamp_ns, "ns"))
        self._recording.set_time("arrival", timestamp=np.datetime64(received.recv_ns, "ns"))
        self._recording.log(_entity(topic), shown)
        self.counts[topic] = self.counts.get(topic, 0) + 1

    def _static(self, entity: str, shown: Any) -> None:
        self._recording.log(entity, shown, static=True)

    def _shown(self, message: Message) -> Any:
        rr = self._rerun
        match message:
            case CameraFrame():
                return self._image(message)
            case LidarSweep():
                return rr.Points3D(message.points[:, :3], colors=_shades(message.points[:, 3]))
            case GpsFix() if message.fix != "none":
                return rr.GeoPoints(lat_lon=[(message.latitude_deg, message.longitude_deg)])
            case AudioChunk():
                full = 1.0 if message.samples.dtype == np.float32 else 32768.0
                samples = message.samples.astype(np.float64) / full
                return rr.Scalars(np.sqrt((samples**2).mean(axis=0)))
            case Detections():
                return self._boxes(message)
            case _:
                return None

    def _image(self, frame: CameraFrame) -> Any:
        rr, size = self._rerun, (frame.width, frame.height)
        match frame.encoding:
            case "jpeg":
                return rr.EncodedImage(contents=frame.image.tobytes(), media_type="image/jpeg")
            case "nv12":
                return rr.Image(
                    bytes=frame.image.tobytes(),
                    width=size[0],
                    height=size[1],
                    pixel_format=rr.PixelFormat.NV12,
                )
            case "yuyv":
                return rr.Image(
                    bytes=frame.image.tobytes(),
                    width=size[0],
                    height=size[1],
                    pixel_format=rr.PixelFormat.YUY2,
                )
            case "mono8":
                return rr.Image(frame.image, color_model="L")
            case _:
                return rr.Image(frame.image, color_model=frame.encoding[:3].upper())

    def _boxes(self, detections: Detections) -> Any:
        rr, boxes = self._rerun, detections.boxes
        rows = list(boxes_of(detections))
        half = boxes[:, 6] / 2
        turns = np.zeros((len(boxes), 4), np.float32)  # x, y, z, w
        turns[:, 2], turns[:, 3] = np.sin(half), np.cos(half)
        return rr.Boxes3D(
            centers=boxes[:, :3],
            sizes=boxes[:, 3:6],
            quaternions=turns,
            labels=[f"{row['class']} {row['score']:.2f}" for row in rows],
        )


def _entity(topic: str) -> str:
    return f"{BASE}/{topic}"


def _shades(intensity: Any) -> Any:
    """Grey, and never so dark that a point is lost."""
    level = (64 + 191 * np.clip(intensity, 0, 1)).astype(np.uint8)
    return np.stack([level] * 3, axis=-1)
