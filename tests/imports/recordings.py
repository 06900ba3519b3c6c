"""Recordings to import: the real ones beside the repository, and bags written for one test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

DATA = Path(__file__).parents[2].parent / "shared" / "data"
STAMP_NS = 1_700_000_000_000_000_000

Recorded = tuple[int, Any]
"""When it arrived, and the message."""


def real(*parts: str) -> Path:
    """A recording of the shared data; skips where it is not there."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no recordings in {DATA}")
    return path


class Ros:
    """Makes messages of one generation of ROS and writes them as a bag."""

    def __init__(self, generation: int) -> None:
        typesys = pytest.importorskip("rosbags.typesys", reason="needs the extra `import`")
        self.generation = generation
        stores = typesys.Stores
        self.store = typesys.get_typestore(
            stores.ROS1_NOETIC if generation == 1 else stores.ROS2_HUMBLE
        )
        for name, text in NOT_BUILT_IN.items():
            if name not in self.store.types:
                self.store.register(typesys.get_types_from_msg(text, name))

    def make(self, kind: str, **fields: Any) -> Any:
        return self.store.types[kind](**fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self.make(
            "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        seq = {"seq": 0} if self.generation == 1 else {}
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **seq)

    def image(
        self, stamp_ns: int, pixels: np.ndarray, encoding: str, frame: str = "cam", pad: int = 0
    ) -> Any:
        rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, pad)))
        width = pixels.shape[1]
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns, frame),
            height=len(pixels) * 2 // 3 if encoding == "nv12" else len(pixels),
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=rows.shape[1],
            data=rows.reshape(-1),
        )

    def compressed(self, stamp_ns: int, pixels: np.ndarray, suffix: str) -> Any:
        data = cv2.imencode(suffix, pixels)[1].reshape(-1)
        return self.make(
            "sensor_msgs/msg/CompressedImage",
            header=self.header(stamp_ns, "cam"),
            format=suffix[1:],
            data=data,
        )

    def cloud(self, stamp_ns: int, points: np.ndarray, frame: str = "velodyne") -> Any:
        """From a structured array, its fields as they are called."""
        numbers = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
        assert points.dtype.fields is not None
        fields = [
            self.make(
                "sensor_msgs/msg/PointField",
                name=name,
                offset=offset,
                datatype=numbers[dtype.str[1:]],
                count=1,
            )
            for name, (dtype, offset, *_) in points.dtype.fields.items()
        ]
        return self.make(
            "sensor_msgs/msg/PointCloud2",
            header=self.header(stamp_ns, frame),
            height=1,
            width=len(points),
            fields=fields,
            is_bigendian=False,
            point_step=points.dtype.itemsize,
            row_step=points.nbytes,
            data=np.frombuffer(points.tobytes(), np.uint8),
            is_dense=True,
        )

    def navsat(self, stamp_ns: int, status: int = 0, latitude_deg: float = 49.0) -> Any:
        return self.make(
            "sensor_msgs/msg/NavSatFix",
            header=self.header(stamp_ns, "gps"),
            status=self.make("sensor_msgs/msg/NavSatStatus", status=status, service=1),
            latitude=latitude_deg,
            longitude=8.4,
            altitude=115.0,
            position_covariance=np.diag([4.0, 4.0, 9.0]).reshape(-1),
            position_covariance_type=2,
        )

    def transforms(self, links: Mapping[tuple[str, str], tuple[float, float, float]]) -> Any:
        """`(parent, child): translation`, none of them turned."""
        return self.make(
            "tf2_msgs/msg/TFMessage",
            transforms=[
                self.make(
                    "geometry_msgs/msg/TransformStamped",
                    header=self.header(0, parent),
                    child_frame_id=child,
                    transform=self.make(
                        "geometry_msgs/msg/Transform",
                        translation=self.make(
                            "geometry_msgs/msg/Vector3", **dict(zip("xyz", shift, strict=True))
                        ),
                        rotation=self.make("geometry_msgs/msg/Quaternion", x=0, y=0, z=0, w=1),
                    ),
                )
                for (parent, child), shift in links.items()
            ],
        )

    def camera_info(self, model: str, distortion: Sequence[float], focal_px: float = 500) -> Any:
        k = np.array([focal_px, 0, 320, 0, focal_px, 240, 0, 0, 1.0])
        matrices = {"d": np.array(distortion, float), "k": k, "r": np.eye(3).reshape(-1)}
        matrices["p"] = np.zeros(12)
        if self.generation == 1:
            matrices = {name.upper(): values for name, values in matrices.items()}
        return self.make(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(STAMP_NS, "cam"),
            height=480,
            width=640,
            distortion_model=model,
            binning_x=0,
            binning_y=0,
            roi=self.make(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
            **matrices,
        )

    def write(self, path: Path, topics: Mapping[str, Sequence[Recorded]]) -> Path:
        """`.bag`, or the folder of a ROS 2 bag: in MCAP where its name says so, else SQLite."""
        if self.generation == 1:
            from rosbags.rosbag1 import Writer

            writer: Any = Writer(path)
        else:
            from rosbags.rosbag2 import StoragePlugin
            from rosbags.rosbag2 import Writer as Writer2

            plugin = StoragePlugin.MCAP if "mcap" in path.name else StoragePlugin.SQLITE3
            writer = Writer2(path, version=9, storage_plugin=plugin)
        serialize = getattr(
            self.store, "serialize_ros1" if self.generation == 1 else "serialize_cdr"
        )
        rows = [(ns, topic, m) for topic, found in topics.items() for ns, m in found]
        with writer:
            connections = {
                topic: writer.add_connection(topic, found[0][1].__msgtype__, typestore=self.store)
                for topic, found in topics.items()
            }
            for recv_ns, topic, message in sorted(rows, key=lambda row: row[0]):
                data = serialize(message, message.__msgtype__)
                writer.write(connections[topic], recv_ns, data)
        return path


NOT_BUILT_IN = {
    "tf2_msgs/msg/TFMessage": "geometry_msgs/TransformStamped[] transforms",
    "audio_common_msgs/msg/AudioData": "uint8[] data",
    "audio_common_msgs/msg/AudioDataStamped": (
        "std_msgs/Header header\naudio_common_msgs/AudioData audio"
    ),
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\n"
        "string coding_format"
    ),
}
