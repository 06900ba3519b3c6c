"""Holds a rig's sensors against its calibration: every one must have its place and its numbers."""

from collections.abc import Iterable
from importlib.util import find_spec

from fusion_rt.calibration_file import Calibration
from fusion_rt.config import Problems, known_names
from fusion_rt.drivers.port import AudioOptions, CameraOptions
from fusion_rt.sensors import Sensor, default_frame, kind_name
from fusion_rt.topics import topic_kind
from fusion_rt.yaml_file import Place


def check_mounting(
    sensors: dict[str, Sensor],
    remote_topics: Iterable[str],
    calibration: Calibration,
    problems: Problems,
) -> None:
    """Every sensor has a place, every camera its intrinsics, every array its microphones."""
    for topic, sensor in sensors.items():
        if _is_placed(kind_name(topic), sensor.frame, ("sensors", topic), calibration, problems):
            _check_shape(sensor, calibration, problems)
    for topic in remote_topics:
        if topic_kind(topic).is_sensor:
            place = ("remote", "topics", topic)
            _is_placed(kind_name(topic), default_frame(topic), place, calibration, problems)
    _check_shared_frames(sensors, problems)


def check_watched(pairs: dict[str, str], sensors: dict[str, Sensor], problems: Problems) -> None:
    """Each pair is a camera and a LiDAR of this rig, and what watches them is installed."""
    for pair in pairs.items():
        place = ("watch_mountings", pair[0])
        for kind, topic in zip(("camera", "lidar"), pair, strict=True):
            if kind_name(topic) != kind or topic not in sensors:
                known = [one for one in sensors if kind_name(one) == kind]
                problem = f'expected a {kind} of this rig, got "{topic}"'
                problems.add(place, problem, known_names(topic, known))
    if pairs and find_spec("cv2") is None:
        problem = "expected the library cv2, found none"
        problems.add(("watch_mountings",), problem, "pip install 'fusion_rt[calibrate]'")


def _is_placed(
    kind: str, frame: str, place: Place, calibration: Calibration, problems: Problems
) -> bool:
    name = calibration.source.name
    if frame not in calibration.base_from:
        problem = f'expected a transform for its frame "{frame}" in {name}, got none'
        way_out = f"add base_from_{frame}; {known_names(frame, calibration.base_from)}"
        problems.add(place, problem, way_out)
        return False
    if kind == "camera" and frame not in calibration.cameras:
        problem = f"expected its intrinsics in {name}, got none"
        problems.add(place, problem, f"add cameras.{frame} there")
        return False
    if kind == "audio" and frame not in calibration.microphones_m:
        problem = f"expected its microphones in {name}, got none"
        problems.add(place, problem, f"add microphones.{frame} there")
        return False
    return True


def _check_shape(sensor: Sensor, calibration: Calibration, problems: Problems) -> None:
    """The device delivers what was calibrated, where the options say what it delivers."""
    options = sensor.options
    place = ("sensors", sensor.topic)
    if isinstance(options, CameraOptions):
        camera = calibration.cameras[sensor.frame]
        got = (options.width or camera.width, options.height or camera.height)
        if got != (camera.width, camera.height):
            calibrated = f"{camera.width}x{camera.height}, as the intrinsics are"
            problem = f"expected {calibrated}, got {got[0]}x{got[1]}"
            problems.add(place, problem, "set width and height, or calibrate at this resolution")
    if isinstance(options, AudioOptions):
        count = len(calibration.microphones_m[sensor.frame])
        if options.channels not in (None, count):
            problem = f"expected {count} channels, one per calibrated microphone"
            problems.add((*place, "channels"), f"{problem}, got {options.channels}")


def _check_shared_frames(sensors: dict[str, Sensor], problems: Problems) -> None:
    """An optical frame has other axes than those of the other sensors."""
    optical = {s.frame: topic for topic, s in sensors.items() if s.kind == "camera"}
    for topic, sensor in sensors.items():
        if sensor.kind != "camera" and sensor.frame in optical:
            problem = f'expected a frame of its own, got "{sensor.frame}"'
            way_out = f"{optical[sensor.frame]} has it, with the axes of a camera"
            problems.add(("sensors", topic, "frame"), problem, way_out)
