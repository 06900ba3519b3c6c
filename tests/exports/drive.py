"""A short log with a message of every kind, its calibration inside."""

from pathlib import Path

import cv2
import numpy as np

from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.imports.calibration_text import text_of
from fusion_rt.imports.source import Mounting
from fusion_rt.logs.entry import entry
from fusion_rt.logs.rig import CALIBRATION_FILE, LoggedRig
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import AudioChunk, CameraFrame, Detections, GpsFix, LidarSweep, Message

START_NS = 1_700_000_000_000_000_000
MOUNTING = Mounting(
    method="made for a test",
    base_from={
        "camera_front": RigidTransform(
            np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([1.5, 0, 1.2])
        ),
        "lidar_top": RigidTransform.from_yaw(0.1, (1, 0, 1.8)),
    },
    cameras={
        "camera_front": Pinhole(
            width=16,
            height=8,
            fx_px=9,
            fy_px=10,
            cx_px=7.5,
            cy_px=3.5,
            distortion=(-0.1, 0.01, 0, 0, 0),
        )
    },
)


def messages() -> list[tuple[str, Message]]:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 255, (8, 16, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].reshape(-1)
    points = rng.random((7, 5), np.float32)
    points[:, 4] = np.linspace(-0.1, 0, 7)
    stamp = {"stamp_ns": START_NS}
    return [
        (
            "camera/front",
            CameraFrame(encoding="bgr8", width=16, height=8, image=pixels, **stamp),
        ),
        ("camera/rear", CameraFrame(encoding="jpeg", width=16, height=8, image=jpeg, **stamp)),
        ("lidar/top", LidarSweep(points=points, ring=np.arange(7, dtype=np.uint16), **stamp)),
        (
            "audio/array",
            AudioChunk(
                samples=rng.integers(-99, 99, (320, 2)).astype(np.int16),
                rate_hz=16000,
                first_sample=0,
                **stamp,
            ),
        ),
        (
            "gps/main",
            GpsFix(
                fix="3d",
                latitude_deg=49.01,
                longitude_deg=8.4,
                altitude_m=115,
                horizontal_accuracy_m=2,
                vertical_accuracy_m=3,
                **stamp,
            ),
        ),
        ("detections/fused", found(START_NS, 2)),
        ("detections/fused", found(START_NS + 100_000_000, 0)),
    ]


def found(stamp_ns: int, count: int) -> Detections:
    boxes = np.tile(np.array([10, -2, 0.5, 4.5, 2, 1.5, 0.5, 3, 0], np.float32), (count, 1))
    boxes[:, 0] += np.arange(count, dtype=np.float32)
    return Detections(
        stamp_ns=stamp_ns,
        boxes=boxes,
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_ids=np.arange(count, dtype=np.uint8),
        classes=("car", "pedestrian"),
        mode="DEGRADED",
        mode_reasons=("camera/front: silent",),
    )


def write_drive(path: Path) -> Path:
    rig = LoggedRig(
        name="test",
        digest="",
        files={CALIBRATION_FILE: text_of(MOUNTING)},
        frames={},
        base_from=MOUNTING.base_from,
        cameras=MOUNTING.cameras,
    )
    with LogWriter(path, rig) as writer:
        for number, (topic, message) in enumerate(messages()):
            at_ns = START_NS + number * 1_000_000
            writer.write(entry(topic, message, seq=number, sent_ns=at_ns, recv_ns=at_ns))
    return path
