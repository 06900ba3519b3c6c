"""Faults on purpose, between sensor and transport: the schedule. `fault_injector` acts it out.

A schedule is a list of short forms, `WHO KIND [AMOUNT] [WHEN]`:

    lidar drop 10s..15s        nothing comes
    lidar drop 30%             each may be missing, by chance
    camera delay 80ms          comes later, its stamp as it was
    camera jitter 40ms         each comes later by 0..40 ms
    camera freeze 10s..15s     the same content, under new stamps
    camera corrupt 5s..        values that cannot be: every receiver refuses them
    camera garbage 5s..        noise that could be: only its use may tell
    gps clock +2s at 20s       the stamps step, and stay off
    gps drift 200ppm           the stamps run fast
    audio duplicate            everything twice
    audio reorder 5s..9s       pairs change places
    lidar rate 50%             evenly thinned out
    lidar flap 500ms 5s..9s    away and back, so long each
    camera kill at 10s         the node's process dies; with a window, whenever it lives in it
    fuse kill at 10s           the same of the process that fuses

WHO is a kind of sensor (all of them), a topic, or `fuse`, which can only be killed. WHEN counts
from the start of the run: `A..B`, `A..`, `at A` (which is `A..`), or nothing: always. Faults of one
topic act one after another, as written. The same seed and the same messages give the same faults,
live as in replay.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.config import Problems, checked, known_names
from fusion_rt.errors import FaultError
from fusion_rt.topics import sensor_kinds
from fusion_rt.yaml_file import read_yaml

FaultKind = Literal[
    "drop",
    "delay",
    "jitter",
    "freeze",
    "corrupt",
    "garbage",
    "clock",
    "drift",
    "duplicate",
    "reorder",
    "flap",
    "rate",
    "kill",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
FUSE = "fuse"
"""The one process that is no sensor's and can be killed on purpose."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of one sensor, or of all of a kind."""

    who: str
    """A topic, a kind of sensor, or FUSE."""
    kind: FaultKind
    amount: float = 0.0
    """drop, rate: share; delay, jitter, flap, clock: nanoseconds; drift: share of time."""
    start_ns: int = 0
    """After the start of the run."""
    end_ns: int | None = None
    """None: to the end of the run."""

    def concerns(self, topic: str) -> bool:
        return self.who in (topic, topic.partition("/")[0])

    def is_on(self, at_ns: int) -> bool:
        """At this time after the start of the run."""
        return self.start_ns <= at_ns and (self.end_ns is None or at_ns < self.end_ns)


class FaultFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule as a YAML file."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    faults: list[str]


class FaultSchedule(msgspec.Struct, frozen=True):
    """Faults and the seed of their chances."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    def for_topic(self, topic: str) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.faults if fault.concerns(topic))


_TIME = r"(?P<{0}>[+-]?\d+(?:\.\d+)?)(?P<{0}_unit>ms|s|min)"
_SHAPE = re.compile(
    r"(?P<who>\S+)\s+(?P<kind>[a-z]+)"
    r"(?:\s+(?P<number>[+-]?\d+(?:\.\d+)?)(?P<unit>ms|s|min|%|ppm))?"
    rf"(?:\s+(?:at\s+{_TIME.format('at')}|{_TIME.format('a')}\.\.(?:{_TIME.format('b')})?))?\s*"
)
_UNIT_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "min": 60 * NS_PER_S}
_DURATION, _SHARE, _PPM = ("ms", "s", "min"), ("%",), ("ppm",)
_AMOUNTS: dict[FaultKind, tuple[tuple[str, ...], bool, str]] = {
    "drop": (_SHARE, False, "a share such as 30%, or nothing"),
    "delay": (_DURATION, True, "a time such as 80ms"),
    "jitter": (_DURATION, True, "a time such as 40ms"),
    "flap": (_DURATION, True, "a time such as 500ms"),
    "clock": (_DURATION, True, "a time such as +2s"),
    "drift": (_PPM, True, "a rate such as 200ppm"),
    "rate": (_SHARE, True, "a share such as 50%"),
}
"""By kind: units, whether it must be there, and how to say it. The others take none."""
_NO_AMOUNT = ((), False, "no amount")


def parse_fault(text: str) -> Fault:
    """A fault from its short form; raises FaultError with what was expected."""
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        way_out = "for example: lidar drop 10s..15s, camera delay 80ms, gps clock +2s at 20s"
        raise FaultError(text, "expected WHO KIND [AMOUNT] [A..B | at A]", way_out)
    who, kind = shape["who"], shape["kind"]
    if kind not in FAULT_KINDS:
        raise FaultError(text, f'unknown kind of fault "{kind}"', known_names(kind, FAULT_KINDS))
    if who.partition("/")[0] not in sensor_kinds() and who != FUSE:
        problem = f'expected a kind of sensor, a topic or {FUSE}, got "{who}"'
        raise FaultError(text, problem, known_names(who, (*sensor_kinds(), FUSE)))
    if who == FUSE and kind != "kill":
        raise FaultError(text, f"{FUSE}: expected kill, got {kind}")
    known = cast("FaultKind", kind)
    start_ns, end_ns = _window(text, shape, known)
    return Fault(
        who=who, kind=known, amount=_amount(text, shape, known), start_ns=start_ns, end_ns=end_ns
    )


def parse_schedule(texts: Iterable[str], seed: int = 0) -> FaultSchedule:
    """Short forms as a schedule; one text may hold several, separated by ';'."""
    each = [part for text in texts for part in text.split(";") if part.strip()]
    return FaultSchedule(tuple(parse_fault(text) for text in each), seed)


def load_fault_file(path: Path) -> FaultFile:
    """A schedule's seed and short forms, all of them right; raises with everything that is not."""
    file = read_yaml(path)
    problems = Problems(file)
    written = checked(file.tree, FaultFile, (), problems)
    if written is None:
        raise problems.as_error()
    for index, text in enumerate(written.faults):
        try:
            parse_schedule([text])
        except FaultError as error:
            problems.add(("faults", index), str(error))
    if problems.errors:
        raise problems.as_error()
    return written


def _amount(text: str, shape: "re.Match[str]", kind: FaultKind) -> float:
    units, is_needed, wanted = _AMOUNTS.get(kind, _NO_AMOUNT)
    number, unit = shape["number"], shape["unit"]
    if number is None:
        if is_needed:
            raise FaultError(text, f"{kind}: expected {wanted}, got nothing")
        return 1.0 if kind == "drop" else 0.0
    if unit not in units:
        raise FaultError(text, f"{kind}: expected {wanted}, got {number}{unit}")
    if unit in _UNIT_NS:
        amount = float(number) * _UNIT_NS[unit]
    else:
        amount = float(number) / (100 if unit == "%" else 1_000_000)
    highest = 1 if unit == "%" else float("inf")
    if kind not in ("clock", "drift") and not 0 < amount <= highest:
        raise FaultError(text, f"{kind}: expected {wanted}, got {number}{unit}")
    return amount


def _window(text: str, shape: "re.Match[str]", kind: FaultKind) -> tuple[int, int | None]:
    if shape["at"] is not None:
        start_ns = _time_ns(shape, "at")
        return start_ns, (start_ns if kind == "kill" else None)
    if shape["a"] is None:
        if kind == "kill":
            raise FaultError(text, "kill: expected a time such as at 10s, got nothing")
        return 0, None
    start_ns = _time_ns(shape, "a")
    end_ns = None if shape["b"] is None else _time_ns(shape, "b")
    if end_ns is not None and end_ns <= start_ns:
        raise FaultError(text, "expected a window that ends after it begins")
    return start_ns, end_ns


def _time_ns(shape: "re.Match[str]", name: str) -> int:
    return round(float(shape[name]) * _UNIT_NS[shape[f"{name}_unit"]])
