"""Imports ROS bags: images, point clouds, fixes and sound; TF and CameraInfo as calibration."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import ForeignLogError
from fusion_rt.imports.ros_audio import SoundFormat, chunk_from_bytes, format_from_info
from fusion_rt.imports.ros_cloud import intensity_scale, sweep_from_cloud
from fusion_rt.imports.ros_frames import RosFrames
from fusion_rt.imports.ros_gps import fix_from_navsat
from fusion_rt.imports.source import ForeignTopic, Imported, Mounting
from fusion_rt.imports.topic_map import check_names, topic_for
from fusion_rt.messages import Message
from fusion_rt.ros.bag import Bag, BagTopic, open_bag
from fusion_rt.ros.storage import StorageError, Stored

KINDS = {
    "sensor_msgs/msg/Image": "camera",
    "sensor_msgs/msg/CompressedImage": "camera",
    "sensor_msgs/msg/PointCloud2": "lidar",
    "sensor_msgs/msg/NavSatFix": "gps",
    "audio_common_msgs/msg/AudioData": "audio",
    "audio_common_msgs/msg/AudioDataStamped": "audio",
}
"""Types that are imported, and the kind of topic they become."""
_TF = "tf2_msgs/msg/TFMessage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_AUDIO_INFO = "audio_common_msgs/msg/AudioInfo"
_CALIBRATION = (_TF, "tf/msg/tfMessage", _CAMERA_INFO, _AUDIO_INFO)
"""Types that are read for what they say of the sensors."""
_ENCODINGS = ("cdr", "ros1")


class RosOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a bag does not say of itself."""

    topics: Mapping[str, str] = {}
    """Ours by foreign; when not empty, nothing else is imported."""
    base_frame: str | None = None
    """The vehicle's frame in TF; None: the usual names."""
    intensity_max: float | None = None
    """What the clouds' intensities are divided by; None: found from each topic's first cloud."""
    sound: SoundFormat | None = None
    """Of topics of sound that no AudioInfo describes."""


@contextmanager
def open_ros(path: Path, options: RosOptions) -> Iterator["RosSource"]:
    """A bag of ROS 1 or 2; raises ForeignLogError."""
    with from_extra("ros"):
        import cv2  # noqa: F401  (pictures need it)
    try:
        with open_bag(path) as bag:
            yield RosSource(path, bag, options)
    except (StorageError, OSError) as error:
        raise ForeignLogError(*_place_and_problem(path, error)) from error


def _place_and_problem(path: Path, error: Exception) -> tuple[str, str]:
    place, _, problem = str(error).partition(": ")
    return (place, problem) if problem and place.startswith(str(path)) else (str(path), str(error))


class RosSource:
    """A bag, topic by topic ours."""

    def __init__(self, path: Path, bag: Bag, options: RosOptions) -> None:
        self.format = bag.format
        self.counters: Counter[str] = Counter()
        self._bag = bag
        self._options = options
        self._frames = RosFrames(options.base_frame)
        self._sounds: dict[str, SoundFormat] = {}
        self._first_samples: Counter[str] = Counter()
        self._scales: dict[str, float] = {}
        check_names(str(path), options.topics, bag.topics)
        self.topics = _mapped(bag, options)
        self._ours = {topic.name: topic.ours for topic in self.topics if topic.ours}

    def messages(self) -> Iterator[Imported]:
        read = [topic.name for topic in self._bag.topics.values() if self._is_read(topic)]
        for stored in self._bag.messages(read):
            kind = self._bag.topics[stored.topic].type
            try:
                message = self._message(kind, stored)
            except (ValueError, OverflowError) as error:
                self.counters[f"{stored.topic}: {error}"] += 1
                continue
            if message is None:
                continue
            if (problem := message.problem()) is not None:
                self.counters[f"{stored.topic}: {problem}"] += 1
                continue
            yield Imported(self._ours[stored.topic], message, stored.recv_ns)

    def mounting(self) -> Mounting | None:
        return self._frames.mounting()

    def _is_read(self, topic: BagTopic) -> bool:
        is_known = topic.name in self._ours or topic.type in _CALIBRATION
        return is_known and topic.encoding in _ENCODINGS

    def _message(self, kind: str, stored: Stored) -> Message | None:
        """None of those that only describe sensors."""
        foreign = self._bag.decoded(stored.topic, stored.data)
        if kind in _CALIBRATION:
            self._learn(kind, stored.topic, foreign)
            return None
        ours = self._ours[stored.topic]
        if kind.startswith("audio_common_msgs"):
            return self._chunk(stored, foreign)
        self._frames.see(ours, foreign.header)
        return _CONVERTERS[kind](self, ours, foreign, _stamp_ns(foreign.header, stored.recv_ns))

    def _learn(self, kind: str, topic: str, foreign: Any) -> None:
        if kind == _CAMERA_INFO:
            self._frames.add_camera(foreign)
        elif kind == _AUDIO_INFO:
            self._sounds[_namespace(topic)] = format_from_info(foreign)
        else:
            self._frames.add_transforms(foreign)

    def _chunk(self, stored: Stored, foreign: Any) -> Message:
        sound = self._sounds.get(_namespace(stored.topic)) or self._options.sound
        if sound is None:
            raise ValueError("sound of an unknown format (no AudioInfo; give --audio)")
        is_stamped = hasattr(foreign, "header")
        stamp_ns = _stamp_ns(foreign.header, stored.recv_ns) if is_stamped else None
        if is_stamped:
            self._frames.see(self._ours[stored.topic], foreign.header)
        data = foreign.audio.data if is_stamped else foreign.data
        first = self._first_samples[stored.topic]
        chunk = chunk_from_bytes(data, stamp_ns, stored.recv_ns, first, sound)
        self._first_samples[stored.topic] += len(chunk.samples)
        return chunk

    def _image(self, _: str, foreign: Any, stamp_ns: int) -> Message:
        from fusion_rt.imports.ros_image import frame_from_image

        return frame_from_image(foreign, stamp_ns)

    def _compressed(self, _: str, foreign: Any, stamp_ns: int) -> Message:
        from fusion_rt.imports.ros_image import frame_from_compressed

        return frame_from_compressed(foreign, stamp_ns)

    def _cloud(self, ours: str, foreign: Any, stamp_ns: int) -> Message:
        scale = self._options.intensity_max or self._scales.get(ours)
        if scale is None:
            scale = self._scales[ours] = intensity_scale(foreign)
        sweep, complaint = sweep_from_cloud(foreign, stamp_ns, scale)
        if complaint:
            self.counters[f"{ours}: {complaint}"] += 1
        return sweep

    def _fix(self, _: str, foreign: Any, stamp_ns: int) -> Message:
        return fix_from_navsat(foreign, stamp_ns)


_CONVERTERS: dict[str, Callable[[RosSource, str, Any, int], Message]] = {
    "sensor_msgs/msg/Image": RosSource._image,
    "sensor_msgs/msg/CompressedImage": RosSource._compressed,
    "sensor_msgs/msg/PointCloud2": RosSource._cloud,
    "sensor_msgs/msg/NavSatFix": RosSource._fix,
}


def _mapped(bag: Bag, options: RosOptions) -> tuple[ForeignTopic, ...]:
    taken = set(options.topics.values())
    mapped = []
    for topic in bag.topics.values():
        reason = _obstacle(topic, options)
        ours = ""
        if not reason:
            ours = options.topics.get(topic.name) or topic_for(topic.name, KINDS[topic.type], taken)
            taken.add(ours)
        mapped.append(
            ForeignTopic(
                name=topic.name,
                type=topic.type,
                count=bag.stated.get(topic.name, topic.count),
                ours=ours,
                reason=reason,
            )
        )
    return tuple(mapped)


def _obstacle(topic: BagTopic, options: RosOptions) -> str:
    """Why a topic is not imported; empty when it is."""
    if topic.encoding not in _ENCODINGS:
        return f"serialized as {topic.encoding}, expected {' or '.join(_ENCODINGS)}"
    if topic.type in _CALIBRATION:
        return "read for the calibration"
    if topic.type not in KINDS:
        return "unknown type"
    if options.topics and topic.name not in options.topics:
        return "not in the map"
    kind = options.topics.get(topic.name, KINDS[topic.type]).split("/")[0]
    if kind != KINDS[topic.type]:
        return f"mapped to {kind}, it is {KINDS[topic.type]}"
    return ""


def _stamp_ns(header: Any, recv_ns: int) -> int:
    """The header's, or the arrival where a driver left it at 0."""
    stamp = header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or recv_ns


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]
