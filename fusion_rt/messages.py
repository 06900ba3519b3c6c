"""Every type that crosses a process, at each step of the flow from sensor to record.

Messages are frozen values. Arrays travel as payloads (inline when small, else in the shared-memory
ring); everything else as msgpack. `problem()` names what a type checker cannot see, in a sentence:
publishing such a message raises, receiving one counts it as invalid. Unknown newer fields are
ignored, so fields may be added; a changed meaning needs a new field name.
"""

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

PixelEncoding = Literal["bgr8", "rgb8", "mono8", "nv12", "yuyv", "jpeg"]
FixKind = Literal["none", "2d", "3d", "dgps", "rtk_float", "rtk_fixed", "dead_reckoned"]
NodeState = Literal["starting", "ready", "stopping"]
StreamState = Literal[
    "waiting", "alive", "late", "silent", "frozen", "out_of_rate", "invalid", "recovered"
]
ProcessState = Literal["starting", "ready", "hung", "backing_off", "failed", "stopped"]
Mode = Literal["NORMAL", "DEGRADED", "MINIMAL", "BLIND"]

MAX_STAMP_NS = 2**63 - 1
StampNs = Annotated[int, msgspec.Meta(ge=0, le=MAX_STAMP_NS)]
"""Rig time in nanoseconds, bounded to the signed 64-bit integers of logs and arrays."""

# Comparing with np.uint8 itself would make a dtype of it each time.
_U8, _U32 = np.dtype(np.uint8), np.dtype(np.uint32)
_I16, _F32 = np.dtype(np.int16), np.dtype(np.float32)

BOX_COLUMNS = (
    "x_m",
    "y_m",
    "z_m",
    "length_m",
    "width_m",
    "height_m",
    "yaw_rad",
    "vx_mps",
    "vy_mps",
)


class Message(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What all messages share."""

    stamp_ns: StampNs
    """Rig time of what the message describes; each type says which instant."""

    def problem(self) -> str | None:
        """What is wrong with the values, as `expected ..., got ...`; None when nothing is."""
        return None


class CameraFrame(Message, frozen=True, kw_only=True, eq=False):
    """One image. `stamp_ns` is mid-exposure."""

    encoding: PixelEncoding
    width: int
    height: int
    image: npt.NDArray[np.uint8]
    """bgr8, rgb8: (H, W, 3). mono8: (H, W). yuyv: (H, W, 2). nv12: (H * 3 / 2, W). jpeg: (N,)."""
    exposure_ns: int = 0
    """0 when unknown."""

    def problem(self) -> str | None:
        if self.image.dtype != _U8:
            return f"image: expected uint8, got {self.image.dtype}"
        expected = image_shape(self.encoding, self.width, self.height)
        if expected is None:
            return _jpeg_problem(self.image)
        if self.image.shape != expected:
            size = f"{self.encoding} {self.width}x{self.height}"
            return f"image: {size} expected {expected}, got {self.image.shape}"
        return None


class LidarSweep(Message, frozen=True, kw_only=True, eq=False):
    """One turn of a LiDAR. `stamp_ns` is the end of the sweep."""

    points: npt.NDArray[np.float32]
    """(N, 5): x_m, y_m, z_m in the sensor's frame, intensity 0..1, dt_s to `stamp_ns` (<= 0)."""
    ring: npt.NDArray[np.uint16] | None = None
    """(N,): laser number counted from the lowest beam; None when the sensor does not say."""

    def problem(self) -> str | None:
        if self.points.dtype != _F32 or self.points.ndim != 2 or self.points.shape[1] != 5:
            return f"points: expected (N, 5) float32, got {self.points.shape} {self.points.dtype}"
        if self.ring is None:
            return None
        if self.ring.dtype != np.uint16 or self.ring.shape != self.points.shape[:1]:
            expected = self.points.shape[:1]
            return f"ring: expected {expected} uint16, got {self.ring.shape} {self.ring.dtype}"
        return None


class AudioChunk(Message, frozen=True, kw_only=True, eq=False):
    """Consecutive samples of a microphone array. `stamp_ns` is the first sample."""

    samples: npt.NDArray[Any]
    """(frames, channels), int16 or float32 in -1..1."""
    rate_hz: int
    first_sample: int
    """Count of samples the device delivered before this chunk: a jump is a hole in the sound."""

    def problem(self) -> str | None:
        if self.samples.ndim != 2 or self.samples.dtype not in (_I16, _F32):
            got = f"{self.samples.shape} {self.samples.dtype}"
            return f"samples: expected (frames, channels) int16 or float32, got {got}"
        if self.rate_hz <= 0:
            return f"rate_hz: expected > 0, got {self.rate_hz}"
        return None


class GpsFix(Message, frozen=True, kw_only=True, eq=False):
    """One solution of a GNSS receiver. `stamp_ns` is the time of the solution, not of arrival."""

    fix: FixKind
    latitude_deg: float = 0.0
    longitude_deg: float = 0.0
    altitude_m: float = 0.0
    """Above the WGS84 ellipsoid."""
    velocity_enu_mps: tuple[float, float, float] | None = None
    """East, north, up; None when unknown."""
    course_deg: float | None = None
    """Direction of motion, clockwise from north; None when unknown (standstill)."""
    horizontal_accuracy_m: float | None = None
    """One standard deviation, as the receiver states it."""
    vertical_accuracy_m: float | None = None
    satellites: int | None = None
    """Used in the solution; None when the receiver does not say."""
    utc_ns: StampNs | None = None
    """The receiver's own clock at the solution; None when it has no time yet."""
    stamp_uncertainty_ns: int | None = None
    """One standard deviation of `stamp_ns` as rig time; None when unknown."""

    def problem(self) -> str | None:
        if not (-90 <= self.latitude_deg <= 90 and -180 <= self.longitude_deg <= 180):
            got = f"{self.latitude_deg}, {self.longitude_deg}"
            return f"position: expected latitude in +-90 and longitude in +-180 degrees, got {got}"
        return None


class DetectionMember(msgspec.Struct, frozen=True):
    """What one stream contributed to a set of detections."""

    topic: str
    quality: Literal["exact", "nearest", "interpolated", "held", "missing"]
    reason: str = ""
    """Why it is missing; empty when it is not."""
    stamp_ns: int | None = None
    age_ns: int | None = None


class WorldPose(msgspec.Struct, frozen=True, kw_only=True):
    """Where `base` was in `world`: east, north, up from `origin_deg_m`, turned by `yaw_rad`."""

    x_m: float
    y_m: float
    z_m: float
    yaw_rad: float
    """Anticlockwise from east; the vehicle is taken to stand level."""
    quality: Literal["exact", "interpolated", "extrapolated", "held"]
    from_fix_ns: int
    """Distance in time to the nearest fix: how long it was dead-reckoned."""
    origin_deg_m: tuple[float, float, float]
    """Latitude and longitude in degrees, height above the ellipsoid."""


class Siren(msgspec.Struct, frozen=True, kw_only=True):
    """What the microphones hear of emergency vehicles."""

    probability: float
    is_heard: bool
    """Whether that exceeds the model's threshold."""
    bearing_rad: float
    """In `base`, anticlockwise from straight ahead; means nothing unless heard."""


class Detections(Message, frozen=True, kw_only=True, eq=False):
    """The answer for one reference time, which is `stamp_ns`; empty arrays are an answer too."""

    boxes: npt.NDArray[np.float32]
    """(N, 9) in the `base` frame: the columns of BOX_COLUMNS."""
    scores: npt.NDArray[np.float32]
    """(N,) in 0..1."""
    class_ids: npt.NDArray[np.uint8]
    """(N,), an index into `classes`."""
    contributions: npt.NDArray[np.float32] | None = None
    """(N, len(members)): share of each member in each box."""
    track_ids: npt.NDArray[np.uint32] | None = None
    """(N,): the same number for the same thing, from set to set; None without a tracker."""
    is_predicted: npt.NDArray[np.uint8] | None = None
    """(N,): 1 where nothing of it was seen this time; None without a tracker."""
    boxes_world: npt.NDArray[np.float32] | None = None
    """(N, 9): `boxes` in the world frame of `world`; None where that is."""
    classes: tuple[str, ...] = ()
    mode: Mode = "NORMAL"
    mode_reasons: tuple[str, ...] = ()
    """What keeps the rig from NORMAL, one sentence per stream."""
    members: tuple[DetectionMember, ...] = ()
    world: WorldPose | None = None
    """None while GPS has not said where we are, or not for long."""
    siren: Siren | None = None
    """None where nothing was listened to."""
    failure: str = ""
    """Why there is no answer although there were members; empty when there is one."""

    def problem(self) -> str | None:
        count = self.boxes.shape[0] if self.boxes.ndim else 0
        expected: list[tuple[str, npt.NDArray[Any] | None, tuple[int, ...], np.dtype[Any]]] = [
            ("boxes", self.boxes, (count, len(BOX_COLUMNS)), _F32),
            ("scores", self.scores, (count,), _F32),
            ("class_ids", self.class_ids, (count,), _U8),
            ("contributions", self.contributions, (count, len(self.members)), _F32),
            ("track_ids", self.track_ids, (count,), _U32),
            ("is_predicted", self.is_predicted, (count,), _U8),
            ("boxes_world", self.boxes_world, (count, len(BOX_COLUMNS)), _F32),
        ]
        for name, array, shape, dtype in expected:
            if array is not None and (array.shape != shape or array.dtype != dtype):
                return f"{name}: expected {shape} {dtype}, got {array.shape} {array.dtype}"
        return None


class StreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor stream as seen from the subscriber's end."""

    topic: str
    state: StreamState
    reason: str = ""
    """One sentence a person can act on; empty while all is well."""
    since_ns: int
    """When it entered this state."""
    rate_hz: float = 0.0
    """Of the messages that arrived."""
    age_ns: int | None = None
    """Now minus the stamp of the newest message."""
    hop_p50_ns: int | None = None
    hop_p99_ns: int | None = None
    """Receipt minus sending, of the last messages."""
    received: int = 0
    drops: dict[str, int] = {}
    """Messages that did not reach the consumer, by cause."""


class ProcessHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process."""

    node: str
    state: ProcessState
    reason: str = ""
    since_ns: int
    pid: int | None = None
    restarts: int = 0
    counters: dict[str, int] = {}
    """What the node counts itself: published, driver errors by cause, publisher drops by cause."""


class Health(Message, frozen=True, kw_only=True, eq=False):
    """State of the rig, at 2 Hz and on every change. `stamp_ns` is when it was assembled."""

    rig: str
    mode: Mode
    mode_reasons: tuple[str, ...] = ()
    mode_since_ns: int = 0
    streams: tuple[StreamHealth, ...] = ()
    processes: tuple[ProcessHealth, ...] = ()
    utc_drift_ns: int = 0
    """UTC minus rig time, as it has grown since the start."""
    warnings: tuple[str, ...] = ()
    """What is wrong though every stream is well: a mounting that moved. One sentence each."""


class MountingCheck(Message, frozen=True, kw_only=True, eq=False):
    """How well a camera and a LiDAR still lie as calibrated. `stamp_ns` is the image's."""

    camera: str
    """Topic, as `lidar` is."""
    lidar: str
    pairs: int
    """Of image and sweep, behind what is said here."""
    skipped: int = 0
    """Pairs that showed too little."""
    score: float = 0.0
    """Edge alignment of the last pair; how high depends on the scene."""
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """By how much the camera seems turned about its x, y, z since it was calibrated."""
    late_ns: int | None = None
    """How late the camera is stamped against the LiDAR; None before enough pairs in motion."""
    warning: str = ""
    """Empty while all is well; else Health repeats it."""


class Heartbeat(Message, frozen=True, kw_only=True, eq=False):
    """A node's sign of life. `stamp_ns` is when its loop last came round, not the sending."""

    node: str
    pid: int
    state: NodeState
    counters: dict[str, int] = {}


def image_shape(encoding: PixelEncoding, width: int, height: int) -> tuple[int, ...] | None:
    """Shape of the uint8 array that holds such an image; None for jpeg, whose length varies."""
    match encoding:
        case "bgr8" | "rgb8":
            return height, width, 3
        case "mono8":
            return height, width
        case "yuyv":
            return height, width, 2
        case "nv12":
            return height * 3 // 2, width
        case _:
            return None


_JPEG_START = b"\xff\xd8"


def _jpeg_problem(image: npt.NDArray[np.uint8]) -> str | None:
    if image.ndim != 1:
        return f"image: jpeg expected (N,), got {image.shape}"
    if image[:2].tobytes() != _JPEG_START:
        return f"image: jpeg expected to start with ff d8, got {image[:2].tobytes().hex(' ')}"
    return None
