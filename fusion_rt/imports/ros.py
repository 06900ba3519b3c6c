"""Imports ROS bags: images, point clouds, fixes and sound; TF and CameraInfo as calibration."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_rt.clock import NS_PER_S
from fusion_rt.errors import ForeignLogError
from fusion_rt.imports.ros_audio import SoundFormat, chunk_from_bytes, format_from_info
from fusion_rt.imports.ros_cloud import intensity_scale, sweep_from_cloud
from fusion_rt.imports.ros_frames import RosFrames
from fusion_rt.imports.ros_gps import fix_from_navsat
from fusion_rt.imports.ros_image import frame_from_compressed, frame_from_image
from fusion_rt.imports.source import (
    ForeignTopic,
    Imported,
    ImportOptions,
    Mounting,
    rate_of,
)
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


@contextmanager
def open_ros(path: Path, options: ImportOptions) -> Iterator["RosSource"]:
    """A bag of ROS 1 or 2; raises ForeignLogError."""
    try:
        with open_bag(path) as bag:
            yield RosSource(path, bag, options)
    except StorageError as error:
        raise ForeignLogError(*_place_and_problem(path, error)) from error


def _place_and_problem(path: Path, error: Exception) -> tuple[str, str]:
    place, _, problem = str(error).partition(": ")
    return (place, problem) if problem and place.startswith(str(path)) else (str(path), str(error))


class RosSource:
    """A bag, topic by topic ours."""

    def __init__(self, path: Path, bag: Bag, options: ImportOptions) -> None:
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
        self._survey()

    def messages(self) -> Iterator[Imported]:
        for stored in self._bag.messages(list(self._ours)):
            try:
                message = self._message(stored)
                problem = message.problem()
            except (ValueError, OverflowError) as error:
                problem = str(error)
            if problem is not None:
                self.counters[f"{stored.topic}: {problem}"] += 1
                continue
            yield Imported(self._ours[stored.topic], message, stored.recv_ns)

    def mounting(self) -> Mounting | None:
        return self._frames.mounting()

    def _survey(self) -> None:
        """What the bag says of its sensors anywhere, and the frame each topic starts with."""
        told = [
            topic.name
            for topic in self._bag.topics.values()
            if topic.type in _CALIBRATION and topic.encoding in _ENCODINGS
        ]
        for stored in self._bag.messages(told):
            kind = self._bag.topics[stored.topic].type
            with self._counting(stored.topic):
                self._learn(kind, stored.topic, self._bag.decoded(stored.topic, stored.data))
        for name, ours in self._ours.items():
            if (first := next(iter(self._bag.messages([name])), None)) is not None:
                self._see(ours, first)

    def _see(self, ours: str, stored: Stored) -> None:
        with self._counting(None):  # it is counted when its turn comes
            foreign = self._bag.decoded(stored.topic, stored.data)
            if hasattr(foreign, "header"):
                self._frames.see(ours, foreign.header)

    @contextmanager
    def _counting(self, topic: str | None) -> Iterator[None]:
        try:
            yield
        except (ValueError, OverflowError) as error:
            if topic is not None:
                self.counters[f"{topic}: {error}"] += 1

    def _message(self, stored: Stored) -> Message:
        foreign = self._bag.decoded(stored.topic, stored.data)
        kind = self._bag.topics[stored.topic].type
        if kind.startswith("audio_common_msgs"):
            return self._chunk(stored, foreign)
        stamp_ns = _stamp_ns(foreign.header, stored.recv_ns)
        return _CONVERTERS[kind](self, self._ours[stored.topic], foreign, stamp_ns)

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
        data = foreign.audio.data if is_stamped else foreign.data
        first = self._first_samples[stored.topic]
        chunk = chunk_from_bytes(data, stamp_ns, stored.recv_ns, first, sound)
        self._first_samples[stored.topic] += len(chunk.samples)
        return chunk

    def _image(self, _: str, foreign: Any, stamp_ns: int) -> Message:
        return frame_from_image(foreign, stamp_ns)

    def _compressed(self, _: str, foreign: Any, stamp_ns: int) -> Message:
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


def _mapped(bag: Bag, options: ImportOptions) -> tuple[ForeignTopic, ...]:
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
                rate_hz=rate_of(topic.count, bag.span_ns),
                ours=ours,
                reason=reason,
            )
        )
    return tuple(mapped)


def _obstacle(topic: BagTopic, options: ImportOptions) -> str:
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
    stamp_ns = int(header.stamp.sec) * NS_PER_S + int(header.stamp.nanosec)
    if stamp_ns < 0:
        raise ValueError("a stamp before 1970")
    return stamp_ns or recv_ns


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]
