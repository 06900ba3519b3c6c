"""Writes a log as a ROS 2 bag (MCAP storage): what a driver of each sensor would have published.

Topics keep their names with a slash in front. Places of sensors go as /tf_static and camera_info,
detections as vision_msgs/Detection3DArray.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_rt.calibration_file import BASE
from fusion_rt.clock import NS_PER_S
from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import ExportError
from fusion_rt.geometry import CameraModel, Fisheye, RigidTransform
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    Detections,
    GpsFix,
    LidarSweep,
    Message,
)
from fusion_rt.ros.bag import ros2_types
from fusion_rt.transport.inbox import Received

Made = tuple[str, Any]
"""A topic and the message for it."""

_FLOAT32, _UINT16 = 7, 4
_POINT = ("x", "y", "z", "intensity", "time")
_ENCODINGS = {"yuyv": "yuv422_yuy2"}
_NO_FIX, _FIX, _AUGMENTED = -1, 0, 2
_GPS, _APPROXIMATED = 1, 1


class RosBagWriter:
    """Writes one new bag, a folder, within a `with`."""

    def __init__(self, folder: Path, frame_of: Callable[[str], str]) -> None:
        """Raises ExportError where the folder cannot be made, or is there already."""
        with from_extra("import"):
            from rosbags.rosbag2 import StoragePlugin, Writer
        if folder.exists():
            raise ExportError(str(folder), "expected a new folder, it is there already")
        self._store = ros2_types({})
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._frame_of = frame_of
        self._connections: dict[tuple[str, str], Any] = {}
        self._heard: set[str] = set()
        try:
            self._writer.open()
        except OSError as error:
            raise ExportError(str(folder), f"cannot be written ({error.strerror})") from error
        self.counts: dict[str, int] = {}
        """Messages written, by topic of the bag."""

    def __enter__(self) -> "RosBagWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write_rig(
        self,
        base_from: Mapping[str, RigidTransform],
        cameras: Mapping[str, tuple[str, CameraModel]],
        recv_ns: int,
    ) -> None:
        """Where the sensors sit, and each camera's model with its topic, by frame."""
        placed = {frame: place for frame, place in base_from.items() if frame != BASE}
        if placed:
            links = [self._link(frame, place, recv_ns) for frame, place in placed.items()]
            tree = self._make("tf2_msgs/msg/TFMessage", transforms=links)
            self._write("/tf_static", tree, recv_ns)
        for frame, (topic, camera) in cameras.items():
            info = self._camera_info(frame, camera, recv_ns)
            self._write(f"/{topic}/camera_info", info, recv_ns)

    def write(self, received: Received) -> None:
        """One message; types that ROS has none for are left out."""
        message, topic = received.message, received.header.topic
        for name, made in self._made(topic, message):
            self._write(name, made, received.recv_ns)

    def _made(self, topic: str, message: Message) -> Iterator[Made]:
        header = self._header(message.stamp_ns, self._frame_of(topic))
        match message:
            case CameraFrame(encoding="jpeg"):
                kind = "sensor_msgs/msg/CompressedImage"
                jpeg = self._make(kind, header=header, format="jpeg", data=message.image)
                yield f"/{topic}/compressed", jpeg
            case CameraFrame():
                yield f"/{topic}", self._image(header, message)
            case LidarSweep():
                yield f"/{topic}", self._cloud(header, message)
            case GpsFix():
                yield f"/{topic}", self._fix(header, message)
            case AudioChunk():
                yield from self._sound(topic, header, message)
            case Detections():
                header = self._header(message.stamp_ns, BASE)
                yield f"/{topic}", self._detections(header, message)

    def _write(self, topic: str, message: Any, recv_ns: int) -> None:
        kind = message.__msgtype__
        if (topic, kind) not in self._connections:
            self._connections[topic, kind] = self._writer.add_connection(
                topic, kind, typestore=self._store
            )
        data = self._store.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic, kind], recv_ns, data)
        self.counts[topic] = self.counts.get(topic, 0) + 1

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _header(self, stamp_ns: int, frame: str) -> Any:
        seconds, rest_ns = divmod(stamp_ns, NS_PER_S)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest_ns)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def _image(self, header: Any, frame: CameraFrame) -> Any:
        image = np.ascontiguousarray(frame.image)
        return self._make(
            "sensor_msgs/msg/Image",
            header=header,
            height=frame.height,
            width=frame.width,
            encoding=_ENCODINGS.get(frame.encoding, frame.encoding),
            is_bigendian=0,
            step=image[0].nbytes,
            data=image.reshape(-1),
        )

    def _cloud(self, header: Any, sweep: LidarSweep) -> Any:
        """`time` is seconds after the header's stamp, the end of the sweep: 0 or less."""
        columns = [(name, "<f4") for name in _POINT]
        if sweep.ring is not None:
            columns.append(("ring", "<u2"))
        table = np.empty(len(sweep.points), columns)
        for number, name in enumerate(_POINT):
            table[name] = sweep.points[:, number]
        if sweep.ring is not None:
            table["ring"] = sweep.ring
        fields = [
            self._make(
                "sensor_msgs/msg/PointField",
                name=name,
                offset=4 * number,
                datatype=_UINT16 if name == "ring" else _FLOAT32,
                count=1,
            )
            for number, (name, _) in enumerate(columns)
        ]
        return self._make(
            "sensor_msgs/msg/PointCloud2",
            header=header,
            height=1,
            width=len(table),
            fields=fields,
            is_bigendian=False,
            point_step=table.itemsize,
            row_step=table.nbytes,
            data=np.frombuffer(table.tobytes(), np.uint8),
            is_dense=True,
        )

    def _fix(self, header: Any, fix: GpsFix) -> Any:
        status = {"none": _NO_FIX, "2d": _FIX, "3d": _FIX, "dead_reckoned": _FIX}
        across, up = fix.horizontal_accuracy_m, fix.vertical_accuracy_m
        covariance = np.zeros(9)
        if across is not None:
            covariance[[0, 4, 8]] = across**2, across**2, (up or across) ** 2
        return self._make(
            "sensor_msgs/msg/NavSatFix",
            header=header,
            status=self._make(
                "sensor_msgs/msg/NavSatStatus",
                status=status.get(fix.fix, _AUGMENTED),
                service=_GPS,
            ),
            latitude=fix.latitude_deg,
            longitude=fix.longitude_deg,
            altitude=fix.altitude_m,
            position_covariance=covariance,
            position_covariance_type=_APPROXIMATED if across is not None else 0,
        )

    def _sound(self, topic: str, header: Any, chunk: AudioChunk) -> Iterator[Made]:
        """16 bits; the first chunk brings what the bytes mean."""
        samples = chunk.samples
        if samples.dtype != np.int16:
            samples = np.round(np.clip(samples, -1, 1) * np.iinfo(np.int16).max).astype(np.int16)
        if topic not in self._heard:
            self._heard.add(topic)
            yield (
                f"/{topic}/audio_info",
                self._make(
                    "audio_common_msgs/msg/AudioInfo",
                    channels=samples.shape[1],
                    sample_rate=chunk.rate_hz,
                    sample_format="S16LE",
                    bitrate=0,
                    coding_format="wave",
                ),
            )
        data = np.frombuffer(samples.astype("<i2").tobytes(), np.uint8)
        audio = self._make("audio_common_msgs/msg/AudioData", data=data)
        kind = "audio_common_msgs/msg/AudioDataStamped"
        yield f"/{topic}/audio", self._make(kind, header=header, audio=audio)

    def _detections(self, header: Any, detections: Detections) -> Any:
        return self._make(
            "vision_msgs/msg/Detection3DArray",
            header=header,
            detections=[
                self._detection(header, detections, number)
                for number in range(len(detections.boxes))
            ],
        )

    def _detection(self, header: Any, detections: Detections, number: int) -> Any:
        x, y, z, length, width, height, yaw, *_ = detections.boxes[number].tolist()
        center = self._pose((x, y, z), (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)))
        label = int(detections.class_ids[number])
        names = detections.classes
        hypothesis = self._make(
            "vision_msgs/msg/ObjectHypothesis",
            class_id=names[label] if label < len(names) else str(label),
            score=float(detections.scores[number]),
        )
        pose = self._make(
            "geometry_msgs/msg/PoseWithCovariance", pose=center, covariance=np.zeros(36)
        )
        kind = "vision_msgs/msg/ObjectHypothesisWithPose"
        return self._make(
            "vision_msgs/msg/Detection3D",
            header=header,
            results=[self._make(kind, hypothesis=hypothesis, pose=pose)],
            bbox=self._make(
                "vision_msgs/msg/BoundingBox3D",
                center=center,
                size=self._make("geometry_msgs/msg/Vector3", x=length, y=width, z=height),
            ),
            id="",
        )

    def _pose(self, place_m: Iterable[float], wxyz: Iterable[float]) -> Any:
        return self._make(
            "geometry_msgs/msg/Pose",
            position=self._make(
                "geometry_msgs/msg/Point", **dict(zip("xyz", place_m, strict=True))
            ),
            orientation=self._turn(wxyz),
        )

    def _turn(self, wxyz: Iterable[float]) -> Any:
        return self._make("geometry_msgs/msg/Quaternion", **dict(zip("wxyz", wxyz, strict=True)))

    def _link(self, frame: str, place: RigidTransform, stamp_ns: int) -> Any:
        shift = dict(zip("xyz", place.translation_m.tolist(), strict=True))
        return self._make(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp_ns, BASE),
            child_frame_id=frame,
            transform=self._make(
                "geometry_msgs/msg/Transform",
                translation=self._make("geometry_msgs/msg/Vector3", **shift),
                rotation=self._turn(place.quaternion_wxyz.tolist()),
            ),
        )

    def _camera_info(self, frame: str, camera: CameraModel, stamp_ns: int) -> Any:
        k = np.array(
            [camera.fx_px, 0, camera.cx_px, 0, camera.fy_px, camera.cy_px, 0, 0, 1], np.float64
        )
        window = self._make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        )
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(stamp_ns, frame),
            height=camera.height,
            width=camera.width,
            distortion_model="equidistant" if isinstance(camera, Fisheye) else "plumb_bob",
            d=np.array(camera.distortion, np.float64),
            k=k,
            r=np.eye(3).reshape(-1),
            p=np.insert(k, [3, 6, 9], 0.0),
            binning_x=0,
            binning_y=0,
            roi=window,
        )
