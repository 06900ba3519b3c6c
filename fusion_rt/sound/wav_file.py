"""Reads WAV files of any PCM or float format in pieces, several of them as one microphone array.

Recorders that crashed leave sizes of zero, of 4 GiB, or beyond the end of the file: then the sound
ends where the file does.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.errors import RecordingError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_COMPRESSED = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x50: "MPEG", 0x55: "MP3"}
_READABLE = {(_PCM, 1), (_PCM, 2), (_PCM, 3), (_PCM, 4), (_FLOAT, 4), (_FLOAT, 8)}
_MAX_CHANNELS = 256
_WAY_OUT = "convert it: ffmpeg -i IN -c:a pcm_s16le OUT.wav"

Samples = npt.NDArray[Any]


class WavHead(msgspec.Struct, frozen=True):
    """What a WAV file holds and where."""

    format: int
    """1: PCM, 3: float."""
    sample_bytes: int
    """Of one sample of one channel, as stored."""
    channels: int
    rate_hz: int
    data_start: int
    frames: int

    @property
    def frame_bytes(self) -> int:
        return self.sample_bytes * self.channels


def read_head(path: str) -> WavHead:
    """Raises RecordingError where the file is no WAV file that can be read."""
    with open(path, "rb") as file:
        kind = file.read(12)
        if kind[:4] not in (b"RIFF", b"RF64", b"BW64") or kind[8:] != b"WAVE":
            raise RecordingError(path, f"expected a WAV file, it starts with {kind[:12]!r}")
        file.seek(0, 2)
        end = file.tell()
        return head_from_chunks(file, end, path)


def head_from_chunks(file: BinaryIO, end: int, path: str) -> WavHead:
    """Of a file of `end` bytes; chunks other than format and data are passed over."""
    place, shape, long_size = 12, None, None
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        start = place + 8
        if name == b"fmt ":
            shape = _shape(file.read(min(size, 40)), path)
        elif name == b"ds64" and size >= 16:
            _, long_size = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        elif name == b"data":
            if shape is None:
                raise RecordingError(path, "expected its format before its data, got none")
            if size == 0xFFFFFFFF and long_size is not None:
                size = long_size
            there = end - start
            size = there if size in (0, 0xFFFFFFFF) else min(size, there)
            code, sample_bytes, channels, rate_hz = shape
            frames = size // (sample_bytes * channels)
            return WavHead(code, sample_bytes, channels, rate_hz, start, frames)
        place = start + size + size % 2
    raise RecordingError(path, "expected sound, got a WAV file without data")


def _shape(chunk: bytes, path: str) -> tuple[int, int, int, int]:
    """Format, bytes per sample, channels and rate."""
    if len(chunk) < 16:
        raise RecordingError(path, f"expected 16 bytes or more of format, got {len(chunk)}")
    code, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    if not 1 <= channels <= _MAX_CHANNELS or not 1000 <= rate_hz <= 384_000:
        raise RecordingError(path, f"expected sound, got {channels} channels at {rate_hz} Hz")
    sample_bytes = frame_bytes // channels
    if (code, sample_bytes) not in _READABLE or frame_bytes % channels:
        got = f"{bits} bits of {_COMPRESSED.get(code, f'format {code}')}"
        raise RecordingError(path, f"expected PCM or float samples, got {got}", _WAY_OUT)
    return code, sample_bytes, channels, rate_hz


class WavArray:
    """Files that belong together, read in step: their channels side by side, in their order."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.heads = [read_head(path) for path in paths]
        self.rate_hz = self.heads[0].rate_hz
        self.channels = sum(head.channels for head in self.heads)
        self.frames = min(head.frames for head in self.heads)
        for path, head in zip(paths, self.heads, strict=True):
            if head.rate_hz != self.rate_hz:
                problem = f"expected {self.rate_hz} Hz as {Path(paths[0]).name} has"
                raise RecordingError(path, f"{problem}, got {head.rate_hz} Hz")
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115 (close() closes)
        is_short = all(head.format == _PCM and head.sample_bytes <= 2 for head in self.heads)
        self.dtype: type[np.int16] | type[np.float32] = np.int16 if is_short else np.float32

    def read(self, start: int, count: int) -> Samples:
        """(frames, channels) from frame `start` on, fewer than `count` at the end."""
        count = max(0, min(count, self.frames - start))
        parts = [
            stored_frames(file, head, start, count)
            for file, head in zip(self._files, self.heads, strict=True)
        ]
        shortest = min(len(part) for part in parts)  # a file may have been cut since
        sound = [as_type(part[:shortest], self.dtype) for part in parts]
        return sound[0] if len(sound) == 1 else np.concatenate(sound, axis=1)

    def close(self) -> None:
        for file in self._files:
            file.close()


def stored_frames(file: BinaryIO, head: WavHead, start: int, count: int) -> Samples:
    """(frames, channels) int16, int32 or float64 as stored, integers left-justified."""
    file.seek(head.data_start + start * head.frame_bytes)
    raw = file.read(count * head.frame_bytes)
    raw = raw[: len(raw) // head.frame_bytes * head.frame_bytes]
    if head.format == _FLOAT:
        samples: Samples = np.frombuffer(raw, f"<f{head.sample_bytes}")
    elif head.sample_bytes == 1:
        samples = (np.frombuffer(raw, np.uint8).astype(np.int16) - 128) << 8
    elif head.sample_bytes == 3:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        samples = wide.reshape(-1).view("<i4")
    else:
        samples = np.frombuffer(raw, f"<i{head.sample_bytes}")
    frames: Samples = samples.reshape(-1, head.channels)
    return frames


def as_type(samples: Samples, dtype: type[np.int16] | type[np.float32]) -> Samples:
    """int16, or float32 in -1..1; what is not a number is silence."""
    if dtype is np.int16:
        return samples.astype(np.int16)
    if samples.dtype.kind == "i":
        full_scale = 1 << (8 * samples.dtype.itemsize - 1)
        return (samples / full_scale).astype(np.float32)
    sound: Samples = np.clip(np.nan_to_num(samples, posinf=1, neginf=-1), -1, 1)
    return sound.astype(np.float32)
