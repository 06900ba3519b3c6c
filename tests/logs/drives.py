"""A minute of a rig's messages with small arrays, as a recorder would have received them."""

from collections.abc import Iterator

import numpy as np

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.logs.entry import entry
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep, Message
from fusion_rt.transport.inbox import Received

START_NS = 1_700_000_000 * NS_PER_S
_RATES_HZ = {"camera/front": 30, "lidar/top": 10, "audio/array": 50, "gps/main": 10}
_HOPS_NS = {
    "camera/front": 12 * NS_PER_MS,
    "lidar/top": 4 * NS_PER_MS,
    "audio/array": 2 * NS_PER_MS,
    "gps/main": 30 * NS_PER_MS,
}


def drive(seconds: float, seed: int = 1) -> list[Received]:
    """The demo rig's four sensors, with jitter, in order of receipt."""
    rng = np.random.default_rng(seed)
    messages = [one for topic in _RATES_HZ for one in _stream(topic, seconds, rng)]
    return sorted(messages, key=lambda one: (one.recv_ns, one.header.topic))


def _stream(topic: str, seconds: float, rng: np.random.Generator) -> Iterator[Received]:
    period_ns = NS_PER_S // _RATES_HZ[topic]
    sent_ns = 0
    for seq in range(round(seconds * _RATES_HZ[topic])):
        jitter_ns = int(rng.integers(-NS_PER_MS, NS_PER_MS))
        stamp_ns = START_NS + (seq + 1) * period_ns + jitter_ns
        late_ns = int(rng.exponential(2 * NS_PER_MS))
        sent_ns = max(sent_ns + 1, stamp_ns + _HOPS_NS[topic] + late_ns)
        message = _message(topic, stamp_ns, seq)
        hop_ns = int(rng.integers(100_000, 900_000))
        yield entry(topic, message, seq=seq, sent_ns=sent_ns, recv_ns=sent_ns + hop_ns, node=topic)


def _message(topic: str, stamp_ns: int, seq: int) -> Message:
    match topic.partition("/")[0]:
        case "camera":
            image = np.full((18, 32, 3), seq % 256, np.uint8)
            return CameraFrame(stamp_ns=stamp_ns, encoding="bgr8", width=32, height=18, image=image)
        case "lidar":
            return LidarSweep(stamp_ns=stamp_ns, points=np.full((3, 5), seq, np.float32))
        case "audio":
            samples = np.full((320, 4), seq % 1000, np.int16)
            first = seq * 320
            return AudioChunk(
                stamp_ns=stamp_ns, samples=samples, rate_hz=16_000, first_sample=first
            )
        case _:
            return GpsFix(stamp_ns=stamp_ns, fix="3d", latitude_deg=47.0, longitude_deg=8.0)
