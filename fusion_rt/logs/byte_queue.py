"""A queue bounded by bytes: who puts in waits until there is room, so that nothing is dropped."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteQueue(Generic[T]):
    """Between one thread that puts in and one that takes out."""

    def __init__(self, limit: int) -> None:
        """`limit` in bytes; one item always fits, however large."""
        self.bytes = 0
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, item: T, size: int) -> bool:
        """Wait until there is room; False, and nothing is put in, once nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room(size))
            if self._is_closed:
                return False
            self._items.append((item, size))
            self.bytes += size
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float | None = None) -> T | None:
        """The oldest; None when none came in time. Its room is free with the next call."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items), timeout_s)
            if not self._items:
                return None
            item, size = self._items.popleft()
            self.bytes -= size
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Nobody takes any more: who waits with something to put in is let go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._items or self.bytes + size <= self._limit
