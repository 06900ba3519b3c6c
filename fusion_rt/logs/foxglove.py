"""Sensor messages as Foxglove's well-known protobuf schemas, and back.

What a schema has no field for stands in `Aside`, msgpack in field ASIDE_FIELD, which readers that
do not know it skip. Logs of others, without it, are read as far as the schema says what we need.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.RawAudio_pb2 import RawAudio
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from google.protobuf.message import Message as Protobuf
from google.protobuf.timestamp_pb2 import Timestamp

from fusion_rt.clock import NS_PER_S
from fusion_rt.logs.entry import Aside
from fusion_rt.logs.jpeg import jpeg_size
from fusion_rt.logs.protobuf import field_start, split_field
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, image_shape
from fusion_rt.transport.wire import Array

ASIDE_FIELD = 1000
"""Of every protobuf message we write; far above what the schemas use or will."""

P = TypeVar("P", bound=Protobuf)

_aside_encoder = msgspec.msgpack.Encoder()
_aside_decoder = msgspec.msgpack.Decoder(Aside)
_POINT_NAMES = ("x", "y", "z", "intensity", "dt_s")
"""The columns of LidarSweep.points, by the names that Foxglove knows."""
_POINT: list[tuple[str, str]] = [(name, "<f4") for name in _POINT_NAMES]
_POINT_DTYPE: np.dtype[Any] = np.dtype(_POINT)
_RINGED_DTYPE: np.dtype[Any] = np.dtype([*_POINT, ("ring", "<u2")])
_NUMERIC = {
    PackedElementField.UINT8: "|u1",
    PackedElementField.INT8: "|i1",
    PackedElementField.UINT16: "<u2",
    PackedElementField.INT16: "<i2",
    PackedElementField.UINT32: "<u4",
    PackedElementField.INT32: "<i4",
    PackedElementField.FLOAT32: "<f4",
    PackedElementField.FLOAT64: "<f8",
}
_NUMERIC_OF = {np.dtype(name): number for number, name in _NUMERIC.items()}
_SAMPLES: dict[str, np.dtype[Any]] = {"pcm-s16": np.dtype("<i2"), "pcm-f32": np.dtype("<f4")}
_SAMPLES_OF = {dtype: name for name, dtype in _SAMPLES.items()}


def encode_jpeg(frame: CameraFrame, frame_id: str, aside: Aside) -> bytes:
    """foxglove.CompressedImage."""
    head = CompressedImage(timestamp=timestamp(frame.stamp_ns), frame_id=frame_id, format="jpeg")
    size = {"width": frame.width, "height": frame.height, "exposure_ns": frame.exposure_ns}
    return _joined(head, aside, size, frame.image, CompressedImage.DATA_FIELD_NUMBER)


def decode_jpeg(data: memoryview) -> tuple[CameraFrame, Aside]:
    head, aside, payload = _parted(CompressedImage, data, CompressedImage.DATA_FIELD_NUMBER)
    if head.format not in ("jpeg", "jpg"):
        raise ValueError(f'format: expected jpeg, got "{head.format}"')
    fields = aside.fields
    if "width" not in fields:  # somebody else's
        width, height = jpeg_size(payload)
        fields = {"width": width, "height": height}
    image = np.frombuffer(payload, np.uint8)
    stamp_ns = _stamp_ns(head.timestamp)
    return CameraFrame(stamp_ns=stamp_ns, encoding="jpeg", image=image, **fields), aside


def encode_image(frame: CameraFrame, frame_id: str, aside: Aside) -> bytes:
    """foxglove.RawImage."""
    head = RawImage(
        timestamp=timestamp(frame.stamp_ns),
        frame_id=frame_id,
        width=frame.width,
        height=frame.height,
        encoding=frame.encoding,
        step=frame.image[0].nbytes if len(frame.image) else 0,
    )
    fields = {"exposure_ns": frame.exposure_ns}
    return _joined(head, aside, fields, frame.image, RawImage.DATA_FIELD_NUMBER)


def decode_image(data: memoryview) -> tuple[CameraFrame, Aside]:
    head, aside, payload = _parted(RawImage, data, RawImage.DATA_FIELD_NUMBER)
    encoding = {"8UC1": "mono8", "8UC3": "bgr8", "yuv422_yuy2": "yuyv"}.get(
        head.encoding, head.encoding
    )
    shape = image_shape(encoding, head.width, head.height)  # type: ignore[arg-type]
    if shape is None:
        raise ValueError(f'encoding: expected bgr8, rgb8, mono8, nv12 or yuyv, got "{encoding}"')
    rows = np.frombuffer(payload, np.uint8).reshape(shape[0], -1)
    image = rows[:, : math.prod(shape[1:])].reshape(shape)  # rows may be padded
    return (
        CameraFrame(
            stamp_ns=_stamp_ns(head.timestamp),
            encoding=encoding,  # type: ignore[arg-type]
            width=head.width,
            height=head.height,
            image=image,
            **aside.fields,
        ),
        aside,
    )


def encode_sweep(sweep: LidarSweep, frame_id: str, aside: Aside) -> bytes:
    """foxglove.PointCloud: x, y, z, intensity, dt_s and, where the sensor says it, ring."""
    packed: Array = sweep.points
    dtype = _POINT_DTYPE
    if sweep.ring is not None:
        dtype = _RINGED_DTYPE
        packed = np.empty(len(sweep.points), [("point", "<f4", 5), ("ring", "<u2")])
        packed["point"], packed["ring"] = sweep.points, sweep.ring
    head = PointCloud(
        timestamp=timestamp(sweep.stamp_ns),
        frame_id=frame_id,
        point_stride=dtype.itemsize,
        fields=_packed_fields(dtype),
    )
    head.pose.orientation.w = 1  # it is the sensor's own frame; left out it would read as zeros
    return _joined(head, aside, {}, packed, PointCloud.DATA_FIELD_NUMBER)


def decode_sweep(data: memoryview) -> tuple[LidarSweep, Aside]:
    """Of others' clouds what is there; a missing intensity or dt_s reads as 0."""
    head, aside, payload = _parted(PointCloud, data, PointCloud.DATA_FIELD_NUMBER)
    places = {field.name: (field.offset, _NUMERIC[field.type]) for field in head.fields}
    if not places.keys() >= {"x", "y", "z"}:
        raise ValueError(f"fields: expected x, y, z, got {', '.join(places) or 'none'}")
    dtype = _point_dtype(places, head.point_stride)
    cloud = np.frombuffer(payload, dtype)
    ring = cloud["ring"].astype(np.uint16) if "ring" in places else None
    if dtype in (_POINT_DTYPE, _RINGED_DTYPE):  # ours: a view, or one copy
        points = np.ndarray((len(cloud), 5), "<f4", payload, 0, (dtype.itemsize, 4))
        points = np.ascontiguousarray(points)
    else:
        points = _picked_points(cloud)
    return LidarSweep(stamp_ns=_stamp_ns(head.timestamp), points=points, ring=ring), aside


def _picked_points(cloud: Array) -> npt.NDArray[np.float32]:
    points = np.zeros((len(cloud), 5), np.float32)
    for column, name in enumerate(_POINT_NAMES):
        if name in (cloud.dtype.names or ()):
            points[:, column] = cloud[name]
    return points


def encode_audio(chunk: AudioChunk, frame_id: str, aside: Aside) -> bytes:  # noqa: ARG001
    """foxglove.RawAudio, which has no frame_id; float samples go as "pcm-f32", a name of ours."""
    head = RawAudio(
        timestamp=timestamp(chunk.stamp_ns),
        format=_SAMPLES_OF[chunk.samples.dtype],
        sample_rate=chunk.rate_hz,
        number_of_channels=chunk.samples.shape[1],
    )
    fields = {"first_sample": chunk.first_sample}
    return _joined(head, aside, fields, chunk.samples, RawAudio.DATA_FIELD_NUMBER)


def decode_audio(data: memoryview) -> tuple[AudioChunk, Aside]:
    head, aside, payload = _parted(RawAudio, data, RawAudio.DATA_FIELD_NUMBER)
    dtype = _SAMPLES.get(head.format)
    if dtype is None:
        raise ValueError(f'format: expected {" or ".join(_SAMPLES)}, got "{head.format}"')
    channels = head.number_of_channels
    frames = len(payload) // max(channels * dtype.itemsize, 1)
    fields = aside.fields or {"first_sample": 0}
    return (
        AudioChunk(
            stamp_ns=_stamp_ns(head.timestamp),
            samples=np.frombuffer(payload, dtype).reshape(frames, channels),
            rate_hz=head.sample_rate,
            **fields,
        ),
        aside,
    )


def encode_fix(fix: GpsFix, frame_id: str, aside: Aside) -> bytes:
    """foxglove.LocationFix; the fix as we have it stands beside it, whole."""
    head = LocationFix(
        timestamp=timestamp(fix.stamp_ns),
        frame_id=frame_id,
        latitude=fix.latitude_deg,
        longitude=fix.longitude_deg,
        altitude=fix.altitude_m,
    )
    if fix.course_deg is not None:
        head.heading = math.radians(fix.course_deg)
    if fix.velocity_enu_mps is not None:
        east, north, up = fix.velocity_enu_mps
        head.velocity.CopyFrom(Vector3(x=east, y=north, z=up))
    if fix.horizontal_accuracy_m is not None:
        horizontal = fix.horizontal_accuracy_m**2
        vertical = (fix.vertical_accuracy_m or fix.horizontal_accuracy_m) ** 2
        head.position_covariance.extend([horizontal, 0, 0, 0, horizontal, 0, 0, 0, vertical])
        head.position_covariance_type = LocationFix.APPROXIMATED
    fields = msgspec.structs.asdict(fix)
    del fields["stamp_ns"]
    return bytes(head.SerializeToString()) + _aside_bytes(aside, fields)


def decode_fix(data: memoryview) -> tuple[GpsFix, Aside]:
    head = LocationFix.FromString(data)
    aside = _aside_from(split_field(data, ASIDE_FIELD)[1])
    fields: Mapping[str, Any] = aside.fields or _fix_fields(head)
    stamped = {"stamp_ns": _stamp_ns(head.timestamp), **fields}
    return msgspec.convert(stamped, GpsFix), aside


def _fix_fields(head: LocationFix) -> dict[str, Any]:
    """What somebody else's fix tells; the schema has no place for its kind."""
    fields: dict[str, Any] = {
        "fix": "3d",
        "latitude_deg": head.latitude,
        "longitude_deg": head.longitude,
        "altitude_m": head.altitude,
    }
    if head.HasField("velocity"):
        fields["velocity_enu_mps"] = (head.velocity.x, head.velocity.y, head.velocity.z)
    if head.HasField("heading"):
        fields["course_deg"] = math.degrees(head.heading) % 360
    if head.position_covariance_type != LocationFix.UNKNOWN and len(head.position_covariance) == 9:
        covariance = head.position_covariance
        fields["horizontal_accuracy_m"] = math.sqrt(max(covariance[0], covariance[4], 0))
        fields["vertical_accuracy_m"] = math.sqrt(max(covariance[8], 0))
    return fields


def _packed_fields(dtype: np.dtype[Any]) -> list[PackedElementField]:
    assert dtype.fields is not None
    return [
        PackedElementField(name=name, offset=offset, type=_NUMERIC_OF[kind])
        for name, (kind, offset, *_) in dtype.fields.items()
    ]


def _point_dtype(places: Mapping[str, tuple[int, str]], stride: int) -> np.dtype[Any]:
    """Raises ValueError where fields overlap the stride."""
    return np.dtype(
        {
            "names": list(places),
            "formats": [kind for _, kind in places.values()],
            "offsets": [offset for offset, _ in places.values()],
            "itemsize": stride,
        }
    )


def _joined(
    head: Protobuf, aside: Aside, fields: dict[str, Any], payload: Array, number: int
) -> bytes:
    """One copy of the payload, from wherever it lies."""
    payload = np.ascontiguousarray(payload)
    start = field_start(number, payload.nbytes)
    rest = _aside_bytes(aside, fields)
    return b"".join((head.SerializeToString(), rest, start, _bytes_of(payload).data))


def _parted(kind: type[P], data: memoryview, number: int) -> tuple[P, Aside, memoryview]:
    rest, payload = split_field(data, number)
    head, aside = split_field(memoryview(rest), ASIDE_FIELD)
    return kind.FromString(head), _aside_from(aside), payload


def _bytes_of(array: Array) -> npt.NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _aside_bytes(aside: Aside, fields: dict[str, Any]) -> bytes:
    data = _aside_encoder.encode(msgspec.structs.replace(aside, fields=fields))
    return field_start(ASIDE_FIELD, len(data)) + data


def _aside_from(data: memoryview) -> Aside:
    return _aside_decoder.decode(data) if data else Aside()


def timestamp(stamp_ns: int) -> Timestamp:
    """As protobuf states an instant."""
    return Timestamp(seconds=stamp_ns // NS_PER_S, nanos=stamp_ns % NS_PER_S)


def _stamp_ns(stamp: Timestamp) -> int:
    return int(stamp.seconds * NS_PER_S + stamp.nanos)
