"""Messages of every type for tests of logs, drawn or fixed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fusion_rt.logs.entry import Aside, entry
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    DetectionMember,
    Detections,
    GpsFix,
    Health,
    LidarSweep,
    Message,
    ProcessHealth,
    StreamHealth,
    image_shape,
)
from fusion_rt.transport.inbox import Received

TOPICS: dict[type[Message], str] = {
    CameraFrame: "camera/front",
    LidarSweep: "lidar/top",
    AudioChunk: "audio/roof",
    GpsFix: "gps/main",
    Detections: "detections/fused",
    Health: "health/rig",
}
STAMPS = st.integers(0, 2**63 - 1)
_FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=32)
_NAMES = st.text(max_size=12)


def array(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    """Any bits, also NaN and infinities in floats."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    bits = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    return bits.view(dtype).reshape(shape)


@st.composite
def frames(draw: st.DrawFn) -> CameraFrame:
    encoding = draw(st.sampled_from(["bgr8", "rgb8", "mono8", "nv12", "yuyv", "jpeg"]))
    width, height = 2 * draw(st.integers(1, 8)), 2 * draw(st.integers(1, 8))
    shape = image_shape(encoding, width, height)
    seed = draw(st.integers(0, 99))
    image = array(shape or (40,), np.uint8, seed)
    if shape is None:
        image[:2] = 0xFF, 0xD8
    return CameraFrame(
        stamp_ns=draw(STAMPS),
        encoding=encoding,
        width=width,
        height=height,
        image=image,
        exposure_ns=draw(st.integers(0, 10**9)),
    )


@st.composite
def sweeps(draw: st.DrawFn) -> LidarSweep:
    count, seed = draw(st.integers(0, 20)), draw(st.integers(0, 99))
    ring = array((count,), np.uint16, seed) if draw(st.booleans()) else None
    return LidarSweep(stamp_ns=draw(STAMPS), points=array((count, 5), np.float32, seed), ring=ring)


@st.composite
def chunks(draw: st.DrawFn) -> AudioChunk:
    shape = draw(st.integers(0, 30)), draw(st.integers(1, 8))
    dtype = draw(st.sampled_from([np.int16, np.float32]))
    return AudioChunk(
        stamp_ns=draw(STAMPS),
        samples=array(shape, dtype, draw(st.integers(0, 99))),
        rate_hz=draw(st.integers(1, 192_000)),
        first_sample=draw(st.integers(0, 2**60)),
    )


@st.composite
def fixes(draw: st.DrawFn) -> GpsFix:
    number = st.none() | st.floats(0, 1e6)
    return GpsFix(
        stamp_ns=draw(STAMPS),
        fix=draw(st.sampled_from(["none", "2d", "3d", "rtk_fixed", "dead_reckoned"])),
        latitude_deg=draw(st.floats(-90, 90)),
        longitude_deg=draw(st.floats(-180, 180)),
        altitude_m=draw(st.floats(-1000, 9000)),
        velocity_enu_mps=draw(st.none() | st.tuples(*[st.floats(-100, 100)] * 3)),
        course_deg=draw(st.none() | st.floats(0, 360)),
        horizontal_accuracy_m=draw(number),
        vertical_accuracy_m=draw(number),
        satellites=draw(st.none() | st.integers(0, 60)),
        utc_ns=draw(st.none() | STAMPS),
        stamp_uncertainty_ns=draw(st.none() | st.integers(0, 10**9)),
    )


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    count, seed = draw(st.integers(0, 5)), draw(st.integers(0, 99))
    members = draw(
        st.lists(
            st.builds(
                DetectionMember,
                topic=_NAMES,
                quality=st.sampled_from(["exact", "held", "missing"]),
                reason=_NAMES,
                stamp_ns=st.none() | STAMPS,
                age_ns=st.none() | st.integers(-(2**40), 2**40),
            ),
            max_size=4,
        )
    )
    shares = array((count, len(members)), np.float32, seed) if draw(st.booleans()) else None
    return Detections(
        stamp_ns=draw(STAMPS),
        boxes=array((count, 9), np.float32, seed),
        scores=array((count,), np.float32, seed),
        class_ids=array((count,), np.uint8, seed),
        contributions=shares,
        classes=tuple(draw(st.lists(_NAMES, max_size=3))),
        mode=draw(st.sampled_from(["NORMAL", "DEGRADED", "MINIMAL", "BLIND"])),
        mode_reasons=tuple(draw(st.lists(_NAMES, max_size=2))),
        members=tuple(members),
    )


@st.composite
def healths(draw: st.DrawFn) -> Health:
    stream = st.builds(
        StreamHealth,
        topic=_NAMES,
        state=st.sampled_from(["alive", "silent"]),
        since_ns=STAMPS,
        rate_hz=st.floats(0, 1000),
        drops=st.dictionaries(_NAMES, st.integers(0, 2**60), max_size=3),
    )
    process = st.builds(
        ProcessHealth, node=_NAMES, state=st.just("ready"), since_ns=STAMPS, pid=st.none()
    )
    return Health(
        stamp_ns=draw(STAMPS),
        rig=draw(_NAMES),
        mode="DEGRADED",
        streams=tuple(draw(st.lists(stream, max_size=3))),
        processes=tuple(draw(st.lists(process, max_size=2))),
        utc_drift_ns=draw(st.integers(-(2**40), 2**40)),
    )


MESSAGES = st.one_of(frames(), sweeps(), chunks(), fixes(), detections(), healths())


@st.composite
def entries(draw: st.DrawFn) -> Received:
    message = draw(MESSAGES)
    trace = st.lists(st.tuples(st.text(max_size=8), STAMPS), max_size=3).map(tuple)
    return entry(
        TOPICS[type(message)],
        message,
        seq=draw(st.integers(0, 2**48 - 1)),
        sent_ns=draw(STAMPS),
        recv_ns=draw(STAMPS),
        node=draw(_NAMES),
        incarnation=draw(st.integers(0, 2**64 - 1)),
        aside=Aside(
            watermark_ns=draw(st.none() | STAMPS),
            fingerprint=draw(st.integers(0, 2**64 - 1)),
            trace=draw(trace),
        ),
    )


def fix(number: int, *, topic: str = "gps/main", period_ns: int = 100_000_000) -> Received:
    """One of a plain stream: sequence, stamp and receipt all tell its number."""
    stamp_ns = number * period_ns
    message = GpsFix(stamp_ns=stamp_ns, fix="3d", latitude_deg=number % 90)
    times = {"sent_ns": stamp_ns + 1, "recv_ns": stamp_ns + 2}
    return entry(topic, message, seq=number, node=topic, incarnation=1, **times)


@dataclass(frozen=True)
class Same:
    """Equal to a message, or what was received, whose every value and array bit is the same."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return _plain(self.value) == _plain(other)

    def __hash__(self) -> int:
        return 0


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":  # JSON has but one NaN
            value = np.where(np.isnan(value), np.float32("nan"), value)
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Received):
        header = value.header
        fields = [getattr(header, name) for name in header.__struct_fields__ if name != "body"]
        return fields, value.recv_ns, _plain(value.message)
    if isinstance(value, Message):
        fields = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        return type(value).__name__, fields
    return value
