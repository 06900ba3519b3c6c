"""What decoding cameras costs, as a share of one core at 1920x1080 and 30 Hz.

python benchmarks/decoders.py --cameras [--runs 5]

The picture is real where ../shared/data is there, else made up. `decode` is everything between the
bytes in memory and a message in its loan; `peer` is OpenCV on the same bytes; `floor` copies a
decoded picture once.
"""

import contextlib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
import simplejpeg

from fusion_rt.camera.frames import FrameMaker, Instant
from fusion_rt.camera.v4l2_modes import Choice
from fusion_rt.camera.video_file import VideoFile
from fusion_rt.clock import RigClock
from fusion_rt.drivers.port import CameraOptions, DriverPort
from fusion_rt.drivers.v4l2 import pixels_of

_WIDTH, _HEIGHT, _RATE_HZ, _FRAMES = 1920, 1080, 30, 30
_REAL = Path(__file__).parents[2] / "shared/data/calibration/joint_board_sim/01.jpg"

Image = npt.NDArray[np.uint8]


class Row(NamedTuple):
    name: str
    decode: Callable[[], int]
    """Returns how many frames it made."""
    peer: Callable[[], int] | None = None


def picture() -> Image:
    """(1080, 1920, 3) with edges and grain, as cameras deliver."""
    if _REAL.exists():
        real = simplejpeg.decode_jpeg(_REAL.read_bytes(), "BGR")
        tiles = (-(-_HEIGHT // real.shape[0]), -(-_WIDTH // real.shape[1]), 1)
        return np.ascontiguousarray(np.tile(real, tiles)[:_HEIGHT, :_WIDTH])
    random = np.random.default_rng(1)
    blocks = np.kron(random.integers(0, 255, (54, 96, 3)), np.ones((20, 20, 1)))
    return (blocks * 0.9 + random.normal(0, 4, blocks.shape) + 12).clip(0, 255).astype(np.uint8)


@contextlib.contextmanager
def _loan(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    yield _SLOT[: int(np.prod(shape))].reshape(shape).view(dtype)


_SLOT = np.zeros(_WIDTH * _HEIGHT * 3 + 1, np.uint8)  # as a ring's: its pages are there


def _maker() -> FrameMaker:
    port = DriverPort("camera/a", RigClock(0), _loan, Counter())
    return FrameMaker(CameraOptions(driver="bench"), port)


def _jpeg_row(data: bytes, encoding: str) -> Row:
    maker = _maker()

    def decode() -> int:
        frames = 0
        for _ in range(_FRAMES):
            for _frame in maker.from_jpeg(data, encoding, Instant(0)):  # type: ignore[arg-type]
                frames += 1
        return frames

    def peer() -> int:
        import cv2

        encoded = np.frombuffer(data, np.uint8)
        return sum(cv2.imdecode(encoded, cv2.IMREAD_COLOR) is not None for _ in range(_FRAMES))

    return Row(f"jpeg -> {encoding}", decode, peer if encoding == "bgr8" else None)


def _yuyv_row() -> Row:
    maker, data = _maker(), np.zeros(_WIDTH * _HEIGHT * 2, np.uint8)
    choice = Choice("yuyv", _WIDTH, _HEIGHT, None)

    def decode() -> int:
        frames = 0
        for _ in range(_FRAMES):
            pixels = pixels_of(data, choice, 2 * _WIDTH)
            assert pixels is not None
            for _frame in maker.from_pixels(pixels, "yuyv", (_WIDTH, _HEIGHT), Instant(0)):
                frames += 1
        return frames

    return Row("yuyv as it is", decode)


def _h264_row(path: Path, encoding: str) -> Row:
    def decode() -> int:
        maker, frames = _maker(), 0
        with contextlib.closing(VideoFile(str(path), encoding, Counter())) as file:  # type: ignore[arg-type]
            for one in filter(None, file.pictures()):
                for _frame in maker.from_pixels(one.pixels, encoding, one.size, Instant(0)):  # type: ignore[arg-type]
                    frames += 1
        return frames

    def peer() -> int:
        import cv2

        capture, frames = cv2.VideoCapture(str(path)), 0
        while capture.read()[0]:
            frames += 1
        return frames

    return Row(f"h264 -> {encoding}", decode, peer if encoding == "bgr8" else None)


def _write_h264(path: Path, image: Image) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "b": "8000000"}
        for n in range(_FRAMES):
            moved = np.ascontiguousarray(np.roll(image, 4 * n, axis=1))
            for packet in stream.encode(av.VideoFrame.from_ndarray(moved, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def _share(run: Callable[[], int], runs: int) -> float | None:
    """Of one core; None where what it needs is not installed."""
    spent = []
    for _ in range(runs + 1):  # the first warms
        started = time.process_time()
        try:
            frames = run()
        except ImportError:
            return None
        spent.append(time.process_time() - started)
        if frames != _FRAMES:
            raise SystemExit(f"expected {_FRAMES} frames, got {frames}")
    return statistics.median(spent[1:]) * _RATE_HZ / _FRAMES


def _floor() -> int:
    source = np.zeros_like(_SLOT)
    for _ in range(_FRAMES):
        np.copyto(_SLOT, source)
    return _FRAMES


def print_table(runs: int) -> None:
    image = picture()
    data = simplejpeg.encode_jpeg(image, 85, "BGR", "420")
    print(f"{_WIDTH}x{_HEIGHT} at {_RATE_HZ} Hz, JPEG of {len(data) >> 10} KiB")
    print(f"{'picture':16} {'decode':>8} {'peer':>8} {'floor':>8}")
    with tempfile.TemporaryDirectory() as folder:
        video = _write_h264(Path(folder, "a.mp4"), image)
        rows = [_jpeg_row(data, encoding) for encoding in ("bgr8", "mono8", "jpeg")]
        rows += [_yuyv_row(), *(_h264_row(video, encoding) for encoding in ("bgr8", "nv12"))]
        for row in rows:
            values = [row.decode, row.peer, _floor]
            shares = [_share(one, runs) if one is not None else None for one in values]
            cells = [f"{'-':>8}" if one is None else f"{one:8.2%}" for one in shares]
            print(f"{row.name:16} {' '.join(cells)}", flush=True)
