"""Recorded packets with reference answers, beside this repository; tests skip without them."""

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fusion_rt.lidar.cloud import Cloud, Decoder
from fusion_rt.lidar.stream import Intake
from fusion_rt.lidar.turns import Turn
from fusion_rt.packets.recording import read_recording

PACKETS = Path(__file__).parents[1] / ".." / "shared" / "data" / "lidar_packets"


def recorded(*parts: str) -> Path:
    """A file or folder of the recordings."""
    path = PACKETS.joinpath(*parts).resolve()
    if not path.exists():
        pytest.skip(f"no recording {'/'.join(parts)} beside the repository")
    return path


def turns(
    path: Path, decoder: Decoder, counters: Counter[str] | None = None, cut_deg: float = 0
) -> list[Turn]:
    """All turns of a recording, without its pace."""
    counted: Counter[str] = Counter() if counters is None else counters
    intake = Intake(decoder, cut_deg, counted)
    found = [intake.push(packet) for packet in read_recording(path, None, counted)]
    return [turn for turn in (*found, intake.flush()) if turn is not None]


def xyz(cloud: Cloud) -> npt.NDArray[np.float64]:
    """(N, 3)."""
    return np.stack([cloud.x_m, cloud.y_m, cloud.z_m], axis=1).astype(np.float64)


def read_pcd(path: Path) -> npt.NDArray[np.float64]:
    """(N, 3) of a binary PCD file."""
    data = path.read_bytes()
    start = data.index(b"DATA binary\n") + len(b"DATA binary\n")
    header = dict(line.split(" ", 1) for line in data[:start].decode().splitlines() if " " in line)
    sizes, kinds = header["SIZE"].split(), header["TYPE"].split()
    formats = [{"F": "f", "U": "u"}[kind] + size for kind, size in zip(kinds, sizes, strict=True)]
    points = np.frombuffer(
        data[start:],
        np.dtype({"names": header["FIELDS"].split(), "formats": formats}),
        int(header["POINTS"]),
    )
    return np.stack([points["x"], points["y"], points["z"]], axis=1).astype(np.float64)


def distances_m(
    points: npt.NDArray[np.float64], others: npt.NDArray[np.float64], sample: int = 150
) -> npt.NDArray[np.float64]:
    """From a sample of `points` to the nearest of `others`."""
    chosen = points[:: max(len(points) // sample, 1)]
    squares = (chosen**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :]
    return np.sqrt(np.maximum(squares - 2 * chosen @ others.T, 0).min(axis=1))
