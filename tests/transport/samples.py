"""Messages of every type, as sensors send them, for the tests of transport."""

import numpy as np

from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    DetectionMember,
    Detections,
    GpsFix,
    Health,
    Heartbeat,
    LidarSweep,
    Message,
    ProcessHealth,
    StreamHealth,
)

CAMERA, GPS = "camera/front", "gps/roof"
SIDE = 200
"""Pixels: a frame of SIDE x SIDE is too large to travel inline."""


def camera_frame(number: int, side: int = SIDE) -> CameraFrame:
    """Every pixel tells the frame's number, which is also the stamp: a torn frame shows."""
    image = np.full((side, side), number % 251, np.uint8)
    return CameraFrame(stamp_ns=number, encoding="mono8", width=side, height=side, image=image)


def is_whole(frame: CameraFrame) -> bool:
    return bool((frame.image == frame.stamp_ns % 251).all())


def gps_fix(number: int) -> GpsFix:
    return GpsFix(
        stamp_ns=number,
        fix="rtk_fixed",
        latitude_deg=48.1,
        longitude_deg=11.6,
        velocity_enu_mps=(1.0, -2.0, 0.0),
        satellites=14,
    )


def every_message(seed: int = 0) -> dict[str, Message]:
    """One message per kind of topic, keyed by topic."""
    random = np.random.default_rng(seed)
    return {
        CAMERA: camera_frame(1),
        "lidar/top": LidarSweep(
            stamp_ns=2,
            points=random.random((4000, 5), np.float32),
            ring=random.integers(0, 64, 4000, np.uint16),
        ),
        "audio/array": AudioChunk(
            stamp_ns=3,
            samples=random.integers(-(2**15), 2**15, (320, 4), np.int16),
            rate_hz=16000,
            first_sample=640,
        ),
        GPS: gps_fix(4),
        "detections/fused": _detections(random),
        "health/rig": _health(),
        "heartbeat/nodes.camera": Heartbeat(
            stamp_ns=7, node="nodes.camera", pid=4711, state="ready", counters={"published": 12}
        ),
    }


def _detections(random: np.random.Generator) -> Detections:
    return Detections(
        stamp_ns=5,
        boxes=random.random((12, 9), np.float32),
        scores=random.random(12, np.float32),
        class_ids=random.integers(0, 3, 12, np.uint8),
        contributions=random.random((12, 2), np.float32),
        classes=("car", "pedestrian", "cyclist"),
        mode="DEGRADED",
        mode_reasons=("camera/front is silent",),
        members=(
            DetectionMember("lidar/top", "exact", stamp_ns=5, age_ns=0),
            DetectionMember(CAMERA, "missing", reason="silent"),
        ),
    )


def _health() -> Health:
    stream = StreamHealth(topic=CAMERA, state="silent", reason="unplugged", since_ns=1)
    process = ProcessHealth(node="nodes.camera", state="backing_off", since_ns=2, restarts=3)
    return Health(stamp_ns=6, rig="demo", mode="DEGRADED", streams=(stream,), processes=(process,))
