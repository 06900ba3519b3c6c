"""Reads one LiDAR sweep from a file, for calibration: PCD, KITTI's .bin, or .npy."""

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MAX_BYTES = 1 << 28
_MAX_HEADER_BYTES = 4096


class SweepFile(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One sweep as stored."""

    points_m: Floats
    """(N, 3)."""
    intensity: Floats
    """(N,), 0..1."""
    ring: Indices | None


def read_sweep(path: Path) -> SweepFile:
    """Raises CalibrationError for what is no sweep."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        raise CalibrationError(
            str(path), f"expected a readable file, got: {error.strerror}"
        ) from error
    if not raw:
        raise CalibrationError(str(path), f"expected 1 to {MAX_BYTES >> 20} MiB, got none or more")
    columns = _columns(path, raw)
    missing = {"x", "y", "z"} - columns.keys()
    if missing:
        raise CalibrationError(str(path), f"expected fields x, y, z, got {', '.join(columns)}")
    points = np.stack([columns[axis] for axis in "xyz"], axis=1)
    intensity = columns.get("intensity", np.zeros(len(points)))
    full_scale = 255.0 if intensity.max(initial=0.0) > 1.0 else 1.0
    ring = columns.get("ring")
    return SweepFile(
        points_m=points,
        intensity=np.clip(intensity / full_scale, 0, 1),
        ring=None if ring is None else ring.astype(np.int64),
    )


def _columns(path: Path, raw: bytes) -> dict[str, Floats]:
    try:
        if path.suffix == ".pcd":
            return _pcd(raw)
        if path.suffix == ".bin":
            table = np.frombuffer(raw, "<f4").reshape(-1, 4)
            return dict(zip(("x", "y", "z", "intensity"), table.T.astype(np.float64), strict=True))
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            return dict(zip(("x", "y", "z", "intensity"), array.T.astype(np.float64), strict=False))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CalibrationError(
            str(path), f"expected a sweep, got a damaged file: {error}"
        ) from error
    raise CalibrationError(
        str(path), f"expected .pcd, .bin or .npy, got {path.suffix or 'no suffix'}"
    )


def _pcd(raw: bytes) -> dict[str, Floats]:
    """Point Cloud Data 0.7, all three ways of storing it, fields of one element each."""
    header, found, body = raw[:_MAX_HEADER_BYTES].partition(b"\nDATA ")
    if not found:
        raise ValueError("no DATA line")
    kind, _, _ = body.partition(b"\n")
    start = len(header) + len(found) + len(kind) + 1
    words = {line.split()[0]: line.split()[1:] for line in header.decode().splitlines() if line}
    count = int(words["POINTS"][0])
    if set(words.get("COUNT", ["1"])) != {"1"}:
        raise ValueError("fields of several elements")
    types = [
        np.dtype(f"<{kind_of.lower()}{size}")
        for kind_of, size in zip(words["TYPE"], words["SIZE"], strict=True)
    ]
    data = raw[start:]
    if kind.strip() == b"ascii":
        table = np.array(data.split(), dtype=np.float64).reshape(count, len(types))
        columns = list(table.T)
    elif kind.strip() == b"binary":
        record = np.dtype([(str(k), one) for k, one in enumerate(types)])
        rows = np.frombuffer(data, record, count)
        columns = [rows[str(k)].astype(np.float64) for k in range(len(types))]
    else:
        columns = _compressed_columns(data, types, count)
    return dict(zip(words["FIELDS"], columns, strict=True))


def _compressed_columns(data: bytes, types: list[np.dtype[np.generic]], count: int) -> list[Floats]:
    """binary_compressed stores field after field, LZF-compressed as one block."""
    packed, unpacked = (int(size) for size in np.frombuffer(data[:8], "<u4"))
    if unpacked != count * sum(one.itemsize for one in types) or unpacked > MAX_BYTES:
        raise ValueError(f"{unpacked} bytes for {count} points")
    plain = _lzf(data[8 : 8 + packed], unpacked)
    columns, start = [], 0
    for one in types:
        end = start + count * one.itemsize
        columns.append(np.frombuffer(plain[start:end], one).astype(np.float64))
        start = end
    return columns


def _lzf(packed: bytes, size: int) -> bytes:
    """LibLZF's format: up to 32 literal bytes, or a copy of 3 to 264 from up to 8 KiB back."""
    out = bytearray()
    at = 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < 32:
            out += packed[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[at]
            at += 1
        back = ((control & 31) << 8) + packed[at] + 1
        at += 1
        if back > len(out) or len(out) + length + 2 > size:
            raise ValueError("compressed data that leads nowhere")
        while length + 2 > 0:  # copies may overlap what they write: at most `back` bytes at once
            piece = out[len(out) - back : len(out) - back + min(length + 2, back)]
            out += piece
            length -= len(piece)
    if len(out) != size:
        raise ValueError(f"{len(out)} of {size} bytes")
    return bytes(out)
