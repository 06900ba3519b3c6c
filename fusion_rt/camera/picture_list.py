"""Finds the pictures of a folder and when each of them was taken."""

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import RecordingError

JPEGS = frozenset((".jpg", ".jpeg"))
CODECS = {
    ".png": "png",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".pgm": "pgm",
    ".ppm": "ppm",
}
"""Ending of a file -> FFmpeg's name of its format, for all that are no JPEGs."""
_MOST_LINES = 10_000_000
_DIGITS = re.compile(r"(\d+)")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")
_LARGEST_NS = 2**63 - 1


class Picture(NamedTuple):
    """One file and its time, as whatever made the recording counts it."""

    path: Path
    time_ns: int | None


def pictures(folder: Path, timestamps: Path | None) -> list[Picture]:
    """In the order in which they were taken. Raises RecordingError or OSError.

    Without timestamps, numbers in the names give the order: 2.png is before 10.png.
    """
    files = sorted(_files(folder), key=lambda path: _natural(path.name))
    if timestamps is None:
        return [Picture(path, None) for path in files]
    lines = list(read_timestamps(timestamps))
    if all(name is None for _, name in lines):
        if len(lines) != len(files):
            got = f"{len(lines)} times in {timestamps.name}"
            raise RecordingError(
                str(folder), f"expected as many times as pictures, {got} for {len(files)}"
            )
        return [Picture(path, time) for path, (time, _) in zip(files, lines, strict=True)]
    named = [Picture(_named(folder, timestamps, name or ""), time) for time, name in lines]
    return sorted(named, key=lambda picture: picture.time_ns or 0)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix.lower() in CODECS or path.suffix.lower() in JPEGS:
            yield path


def _named(folder: Path, timestamps: Path, name: str) -> Path:
    """Lists name files as seen from the folder, or from themselves."""
    inside = folder / name
    return inside if inside.exists() else timestamps.parent / name


def _natural(name: str) -> list[tuple[int, str]]:
    parts = _DIGITS.split(name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def read_timestamps(path: Path) -> Iterator[tuple[int, str | None]]:
    """Time and, where the list has it, name of each picture; lines with # are passed over."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if number > _MOST_LINES:
                raise RecordingError(str(path), f"expected at most {_MOST_LINES} lines, got more")
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            found = _parsed(text)
            if found is None:
                wanted = "expected a time in the first column"
                raise RecordingError(str(path), f"{wanted}, got {text[:40]!r} in line {number}")
            yield found


def _parsed(text: str) -> tuple[int, str | None] | None:
    if date := _DATE.match(text):
        time_ns, rest = _date_ns(*date.groups()), text[date.end() :]
    else:
        first, _, rest = text.replace(",", " ", 1).partition(" ")
        time_ns = _number_ns(first)
    name = rest.strip(" ,\t")
    return None if time_ns is None else (time_ns, name or None)


def _date_ns(day: str, time: str, fraction: str | None) -> int | None:
    try:
        whole = datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    time_ns = round(whole.timestamp()) * NS_PER_S + int((fraction or "0").ljust(9, "0"))
    return time_ns if 0 <= time_ns <= _LARGEST_NS else None


def _number_ns(text: str) -> int | None:
    """Seconds, unless a whole number is so large that it can only be ms, us or ns since 1970."""
    try:
        number = Decimal(text)
        if not number.is_finite() or number < 0 or number.adjusted() > 19:
            return None
    except InvalidOperation:
        return None
    digits = len(text)
    if not text.isdigit() or digits < 12:
        unit = NS_PER_S
    else:
        unit = NS_PER_MS if digits < 15 else NS_PER_S // NS_PER_MS if digits < 18 else 1
    time_ns = int(number * unit)
    return time_ns if time_ns <= _LARGEST_NS else None
