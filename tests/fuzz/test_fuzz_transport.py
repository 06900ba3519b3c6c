"""A short run of the fuzzer, and the proof that it would notice."""

import mmap
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from fusion_rt.transport import sources, subscriber, wire
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.inbox import Inbox
from fusion_rt.transport.lane import Packet
from tests.fuzz import fuzz_transport
from tests.fuzz.fuzz_transport import Unaccounted, fuzz


def test_damaged_frames_are_all_counted_and_nothing_grows() -> None:
    total = fuzz(30_000, seed=1)
    causes = {cause.split(maxsplit=1)[1] for cause in total if " " in cause}
    expected = {drop.value for drop in Drop} - {"lost", "overflow", "ring_full", "reader_behind"}
    assert causes >= expected | {"delivered", "ring opened"}


def test_the_fuzzer_notices_an_exception_in_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_DECODE_ERRORS", (msgspec.MsgspecError,))
    with pytest.raises((RecursionError, UnicodeDecodeError)):
        fuzz(30_000, seed=1)


def test_the_fuzzer_notices_a_size_that_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(payload: wire.Payload, data: Any) -> wire.Array:
        return data.view(payload.dtype).reshape(payload.shape)

    monkeypatch.setattr(sources, "array_from_bytes", believe)
    with pytest.raises((ValueError, AttributeError, TypeError)):
        fuzz(30_000, seed=1)


@pytest.mark.parametrize("cause", [Drop.STALE, Drop.INVALID, Drop.BAD_DESCRIPTOR, Drop.OVERRUN])
def test_the_fuzzer_notices_an_uncounted_drop(monkeypatch: pytest.MonkeyPatch, cause: Drop) -> None:
    count = Inbox.count

    def forget(self: Inbox, drop: Drop, by: int = 1) -> None:
        if drop is not cause:
            count(self, drop, by)

    monkeypatch.setattr(Inbox, "count", forget)
    monkeypatch.setattr(fuzz_transport, "_SETTLE_S", 1.0)
    with pytest.raises(Unaccounted, match=r"sent \d+, accounted for \d+"):
        fuzz(5_000, seed=1)


def test_the_fuzzer_notices_a_message_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def trust(self: wire.MessageCodec, body: msgspec.Raw, arrays: Sequence[wire.Array]) -> object:
        self._arrays = list(arrays)
        try:
            return self._decoder.decode(body)
        except wire._DECODE_ERRORS:
            return Drop.INVALID

    monkeypatch.setattr(wire.MessageCodec, "decode", trust)
    with pytest.raises(Unaccounted, match="delivered although"):
        fuzz(5_000, seed=1)


def test_the_fuzzer_notices_a_leaked_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packet, "discard", lambda _: None)
    with pytest.raises(Unaccounted, match="open files: expected"):
        fuzz(2_000, seed=1)


def test_the_fuzzer_notices_memory_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []  # of pages of their own: what tests before this one have freed is not used again

    def keep(data: bytes | bytearray | memoryview) -> wire.Header | Drop:
        kept.append(mmap.mmap(-1, mmap.PAGESIZE))
        kept[-1].write(bytes(mmap.PAGESIZE))
        return wire.decode_header(data)

    monkeypatch.setattr(subscriber, "decode_header", keep)
    with pytest.raises(Unaccounted, match="memory grew by"):
        fuzz(15_000, seed=1)
