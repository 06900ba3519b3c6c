"""A progress bar on stderr for calibration that takes longer than a moment."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def tracked(title: str, items: Iterable[T]) -> Iterator[T]:
    """The same items; the bar goes when they are done and is not drawn into files."""
    total = len(items) if isinstance(items, Sized) else None
    yield from track(items, title, total=total, console=Console(stderr=True), transient=True)
