"""Feeds damaged pictures and videos to the decoders of cameras, and demands order.

    python tests/fuzz/fuzz_cameras.py --inputs 1000000 --seed 1 [--only jpeg]

Exit code 1, with the reason, when a decoder raised, crashed the process, handed on a frame that may
not be published, asked for more memory than a frame may have, or grew.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import psutil
import simplejpeg

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a program, it finds the tests

from fusion_rt.camera.frames import MAX_PIXELS, FrameMaker, Instant
from fusion_rt.camera.picture_list import read_timestamps
from fusion_rt.camera.video import VideoDecoder, decoder_named, own_decoder
from fusion_rt.camera.video_file import VideoFile
from fusion_rt.clock import SettableClock
from fusion_rt.drivers.port import CameraOptions, DriverPort
from fusion_rt.errors import RecordingError
from fusion_rt.messages import CameraFrame
from tests.camera.fake_camera import picture
from tests.camera.videos import write_png, write_video

Random = random.Random
_GROWTH_LIMIT = 64 << 20
_SIZE = (48, 32)
_MEANINGFUL = (b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xdd")
_MEANINGFUL += (b"\xff\xff", b"\0\0\1", b"\0\0\0\1\x67", b"\xff" * 8, b"\0" * 8)


def damaged(data: bytes, random: Random) -> bytes:
    """Flipped bits, cuts, repeats, and what has a meaning put where it has none."""
    at = random.randrange(len(data) + 1)
    if random.random() < 0.5:
        at = min(at, random.randrange(700))  # headers are where lengths and sizes are said
    to = random.randrange(at, len(data) + 1)
    kind = random.random()
    if kind < 0.5:
        flipped = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 8))):
            place = min(at + random.randrange(64), len(data) - 1)
            flipped[place] = random.choice((flipped[place] ^ 1 << random.randrange(8), 0, 255))
        return bytes(flipped)
    if kind < 0.6:
        return data[:at]
    if kind < 0.7:
        return data[:at] + data[to:]
    if kind < 0.85:
        return data[:at] + random.choice(_MEANINGFUL) + data[random.choice((at, to)) :]
    if kind < 0.9:
        return random.randbytes(random.choice((0, 1, 5, 60, 900)))
    return data[:at] + data[at : at + 50] * random.choice((2, 3, 20)) + data[at:]


class Camera:
    """A maker of frames whose messages are checked as a publisher would."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        port = DriverPort("camera/a", SettableClock(), self._loan, self.counters)
        self.maker = FrameMaker(CameraOptions(driver="fuzz"), port)

    @contextmanager
    def _loan(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
        if np.prod(shape) > 3 * MAX_PIXELS:
            raise AssertionError(f"asked for {shape}")
        yield np.empty(shape, dtype)

    def check(self, frames: Iterator[CameraFrame]) -> None:
        self.maker.forget_size()
        for frame in frames:
            self.counters["frames"] += 1
            if (problem := frame.problem()) is not None:
                raise AssertionError(problem)


def fuzz_jpeg(inputs: int, random: Random) -> Counter[str]:
    """Baseline and progressive JPEGs, grey and in colour, with and without Huffman tables."""
    camera = Camera()
    image = picture(*_SIZE)
    whole = [
        simplejpeg.encode_jpeg(image, 80, "BGR", subsampling) for subsampling in ("444", "420")
    ]
    whole.append(simplejpeg.encode_jpeg(image[..., :1].copy(), 80, "GRAY", "Gray"))
    for number in range(inputs):
        encoding = ("bgr8", "mono8", "jpeg")[number % 3]
        data = damaged(random.choice(whole), random)
        camera.check(camera.maker.from_jpeg(data, encoding, Instant(0)))  # type: ignore[arg-type]
    return camera.counters


def fuzz_png(inputs: int, random: Random) -> Counter[str]:
    camera = Camera()
    with tempfile.TemporaryDirectory() as folder:
        data = write_png(Path(folder, "a.png"), picture(*_SIZE)).read_bytes()
    decoder = VideoDecoder(decoder_named("png"), "bgr8", camera.counters)
    for _ in range(inputs):
        _decode(decoder, av.Packet(damaged(data, random)), camera)
    return camera.counters


def fuzz_h264(inputs: int, random: Random) -> Counter[str]:
    """Packets of a stream in disorder, every other one damaged, one decoder for many of them."""
    camera = Camera()
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder, "a.h264"), 20, _SIZE, container_format="h264")
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
            for number in range(inputs):
                if number % 10_000 == 0:
                    decoder = VideoDecoder(own_decoder(stream), "bgr8", camera.counters)
                data = random.choice(packets)
                packet = av.Packet(damaged(data, random) if number % 2 else data)
                _decode(decoder, packet, camera)
    return camera.counters


def fuzz_mp4(inputs: int, random: Random) -> Counter[str]:
    """Whole files: their heads, tables and packets."""
    camera = Camera()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        whole = [
            write_video(Path(folder, f"a.{end}"), 4, _SIZE).read_bytes()
            for end in ("mp4", "mkv", "avi", "ts")
        ]
        path = Path(folder, "fuzzed")
        for _ in range(inputs):
            data = damaged(random.choice(whole), random)
            if random.random() < 0.3:
                data = damaged(data, random) if data else data
            path.write_bytes(data)
            try:
                file = VideoFile(str(path), "bgr8", camera.counters)
            except RecordingError:
                camera.counters["refused"] += 1
                continue
            with closing(file):
                for number, one in enumerate(file.pictures()):
                    if one is not None:
                        made = camera.maker.from_pixels(one.pixels, "bgr8", one.size, Instant(0))
                        camera.check(made)
                    if number > 100:
                        break
    return camera.counters


def fuzz_times(inputs: int, random: Random) -> Counter[str]:
    counters: Counter[str] = Counter()
    whole = b"2011-09-26 13:02:25.951199337 a.png\n1403636579763555584,b.png\n1.5e+01 c.png\n"
    path = Path(tempfile.mkstemp(dir="/dev/shm")[1])
    try:
        for _ in range(inputs):
            path.write_bytes(damaged(whole, random))
            try:
                times = [time_ns for time_ns, _ in read_timestamps(path)]
            except RecordingError:
                counters["refused"] += 1
                continue
            counters["read"] += 1
            if not all(0 <= one < 2**63 for one in times):
                raise AssertionError(times)
    finally:
        os.unlink(path)
    return counters


def _decode(decoder: VideoDecoder, packet: Any, camera: Camera) -> None:
    for frame in decoder.pictures(packet):
        if (pixels := decoder.pixels(frame)) is None:
            continue
        size = (frame.width, frame.height)
        camera.check(camera.maker.from_pixels(pixels, "bgr8", size, Instant(0)))


TARGETS: dict[str, Callable[[int, Random], Counter[str]]] = {
    "jpeg": fuzz_jpeg,
    "png": fuzz_png,
    "h264": fuzz_h264,
    "mp4": fuzz_mp4,
    "times": fuzz_times,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=TARGETS)
    options = parser.parse_args()
    for name in [options.only] if options.only else TARGETS:
        TARGETS[name](500, Random(0))  # warm: libraries take their memory once
        before, started_s = psutil.Process().memory_info().rss, time.monotonic()
        counters = TARGETS[name](options.inputs, Random(options.seed))
        rate = options.inputs / (time.monotonic() - started_s)
        grown = psutil.Process().memory_info().rss - before
        print(f"{name}: {rate:,.0f} inputs/s, memory {grown >> 10:+,} KiB, {dict(counters)}")
        if grown > _GROWTH_LIMIT:
            raise SystemExit(f"{name}: memory grew by {grown >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
