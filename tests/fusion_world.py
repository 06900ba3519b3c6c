"""Four sensors in exact time, for tests of fusion without processes: headers, bodies, faults."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fusion_rt.calibration_file import load_calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.fusion.inline import InlineFusion
from fusion_rt.fusion.options import FusionOptions, FusionPlan, StreamPlan
from fusion_rt.messages import (
    AudioChunk,
    CameraFrame,
    Detections,
    GpsFix,
    LidarSweep,
    Message,
)
from fusion_rt.perception import Mounts, Perception
from fusion_rt.rig import shipped_rigs
from fusion_rt.transport.wire import WIRE_VERSION, Header

START_NS = 1_700_000_000 * NS_PER_S
RATES_HZ = {"camera/front": 30.0, "lidar/top": 10.0, "audio/array": 50.0, "gps/main": 10.0}
DELAYS_MS = {"camera/front": 14, "lidar/top": 5, "audio/array": 26, "gps/main": 70}
PHASES_MS = {"camera/front": 7, "lidar/top": 31, "audio/array": 3, "gps/main": 17}
SPEED_MPS = 10.0


class Sent(msgspec.Struct, frozen=True):
    """One message as it reaches the consumer; `message` None: its body is damaged."""

    recv_ns: int
    topic: str
    seq: int
    stamp_ns: int
    message: Message | None
    fingerprint: int
    incarnation: int = 1

    @property
    def header(self) -> Header:
        return Header(
            version=WIRE_VERSION,
            topic=self.topic,
            node=self.topic,
            incarnation=self.incarnation,
            seq=self.seq,
            stamp_ns=self.stamp_ns,
            sent_ns=self.recv_ns - NS_PER_MS,
            body=msgspec.Raw(b""),
            fingerprint=self.fingerprint,
        )


Fault = Callable[[Sent], Sent | None]


def plan(options: FusionOptions | None = None) -> FusionPlan:
    matches: dict[str, tuple[Any, int]] = {
        "camera": ("nearest", 60),
        "lidar": ("nearest", 60),
        "audio": ("at_hand", 300),
        "gps": ("at_hand", 1000),
    }
    streams = tuple(
        StreamPlan(
            topic=topic,
            kind=(kind := topic.split("/")[0]),  # type: ignore[arg-type]
            frame=topic.replace("/", "_"),
            rate_hz=rate_hz,
            match=matches[kind][0],
            tolerance_ns=matches[kind][1] * NS_PER_MS,
            device=f"the {kind}",
        )
        for topic, rate_hz in RATES_HZ.items()
    )
    return FusionPlan(streams=streams, reference="lidar/top", options=options or FusionOptions())


def demo_mounts() -> Mounts:
    calibration = load_calibration(shipped_rigs()["sim"].with_name("demo.calibration.yaml"))
    pinhole = calibration.cameras["camera_front"]
    return Mounts(
        pinhole=pinhole,
        base_from_camera=calibration.base_from["camera_front"],
        base_from_lidar=calibration.base_from["lidar_top"],
    )


_IMAGE = np.full((180, 320, 3), 60, np.uint8)
_POINTS = np.array([[10, 0, 0, 0.5, 0], [12, 1, 0, 0.5, -0.05]], np.float32)


def body(topic: str, stamp_ns: int, number: int) -> Message:
    kind = topic.split("/")[0]
    if kind == "camera":
        return CameraFrame(stamp_ns=stamp_ns, encoding="bgr8", width=320, height=180, image=_IMAGE)
    if kind == "lidar":
        return LidarSweep(stamp_ns=stamp_ns, points=_POINTS)
    if kind == "audio":
        samples = np.full((320, 4), 100, np.int16)
        return AudioChunk(
            stamp_ns=stamp_ns, samples=samples, rate_hz=16000, first_sample=number * 320
        )
    return GpsFix(
        stamp_ns=stamp_ns,
        fix="3d",
        latitude_deg=48.0 + SPEED_MPS * (stamp_ns - START_NS) / NS_PER_S / 111_194.9,
        longitude_deg=11.0,
        velocity_enu_mps=(0.0, SPEED_MPS, 0.0),
        horizontal_accuracy_m=1.0,
        satellites=12,
    )


def stream(topic: str, seconds: float, faults: Iterable[Fault] = ()) -> Iterator[Sent]:
    period_ns = round(NS_PER_S / RATES_HZ[topic])
    first_ns = START_NS + PHASES_MS[topic] * NS_PER_MS
    for number in range(int(seconds * RATES_HZ[topic])):
        stamp_ns = first_ns + number * period_ns
        sent: Sent | None = Sent(
            stamp_ns + DELAYS_MS[topic] * NS_PER_MS,
            topic,
            number,
            stamp_ns,
            body(topic, stamp_ns, number),
            number + 1,
        )
        for fault in faults:
            sent = fault(sent) if sent is not None else None
        if sent is not None:
            yield sent


def world(seconds: float, faults: dict[str, list[Fault]] | None = None) -> list[Sent]:
    """Everything that arrives, in the order of arrival."""
    streams = [stream(topic, seconds, (faults or {}).get(topic, ())) for topic in RATES_HZ]
    order = heapq.merge(*(sorted(s, key=_order) for s in streams), key=_order)
    return list(order)


def _order(sent: Sent) -> tuple[int, str, int]:
    return sent.recv_ns, sent.topic, sent.seq


def during(begin_s: float, end_s: float, change: Fault) -> Fault:
    """A fault that is on for so long."""

    def fault(sent: Sent) -> Sent | None:
        is_on = begin_s <= (sent.stamp_ns - START_NS) / NS_PER_S < end_s
        return change(sent) if is_on else sent

    return fault


def silent(_sent: Sent) -> Sent | None:
    return None


def late(sent: Sent) -> Sent:
    return msgspec.structs.replace(sent, recv_ns=sent.recv_ns + 400 * NS_PER_MS)


def frozen(sent: Sent) -> Sent:
    return msgspec.structs.replace(sent, fingerprint=7)


def corrupt(sent: Sent) -> Sent:
    return msgspec.structs.replace(sent, message=None)


def stepped(sent: Sent) -> Sent:
    stamp_ns = sent.stamp_ns + 5 * NS_PER_S
    message = sent.message and msgspec.structs.replace(sent.message, stamp_ns=stamp_ns)
    return msgspec.structs.replace(sent, stamp_ns=stamp_ns, message=message)


def run(fusion: InlineFusion, arrivals: Iterable[Sent], until_s: float) -> list[Detections]:
    answers: list[Detections] = []
    for sent in arrivals:
        answers += fusion.arrived(sent.header, sent.recv_ns, lambda sent=sent: sent.message)
    return answers + fusion.advance(START_NS + round(until_s * NS_PER_S))


def inline(perception: Perception, options: FusionOptions | None = None) -> InlineFusion:
    return InlineFusion(plan(options), perception, START_NS, (0.4, 0.0, 1.6))


def seconds_of(answer: Detections) -> float:
    return (answer.stamp_ns - START_NS) / NS_PER_S


def write_rig(folder: Path, sensors: str = "") -> Path:
    """A rig of synthetic sensors with the tiny model beside it."""
    import tests.tiny_model as tiny

    tiny.write_model(folder / "tiny")
    calibration = shipped_rigs()["sim"].with_name("demo.calibration.yaml")
    (folder / "demo.calibration.yaml").write_bytes(calibration.read_bytes())
    path = folder / "rig.yaml"
    path.write_text(
        "rig: fused\ncalibration: demo.calibration.yaml\nfusion: {model: tiny}\n"
        "sensors:\n" + (sensors or SYNTHETIC)
    )
    return path


SYNTHETIC = """\
  camera/front: {driver: synthetic, width: 1280, height: 720, rate_hz: 30}
  lidar/top: {driver: synthetic, rate_hz: 10, points: 6400}
  audio/array: {driver: synthetic, channels: 4, sample_rate_hz: 16000}
  gps/main: {driver: synthetic}
"""
