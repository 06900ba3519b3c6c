"""The door every sensor driver enters by: bytes or frames in, stamped messages out.

A driver module declares `DRIVERS`, one `Driver` per kind of sensor it serves. `open` returns a
context manager whose value iterates over messages, or None when its read deadline passed without
data: a driver never blocks longer than `READ_DEADLINE_NS` and never raises for bad data, which it
counts by cause in `port.counters`. It stamps first and decodes after.

A module that needs more than the core imports it under `with from_extra(...)`, so that a rig that
names it says what to install; everybody else never notices.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol, get_args, get_type_hints

import msgspec
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS, Clock
from fusion_rt.errors import MissingExtraError
from fusion_rt.messages import Message

READ_DEADLINE_NS = 500 * NS_PER_MS


class Loan(Protocol):
    """Lends an uninitialised array that the transport publishes without a copy.

    The array is the driver's until the message that holds it was yielded and taken back.
    """

    def __call__(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> AbstractContextManager[npt.NDArray[Any]]: ...


class DriverPort(msgspec.Struct, frozen=True):
    """What a node hands its driver."""

    topic: str
    clock: Clock
    loan: Loan
    counters: Counter[str]
    session_start_ns: int = 0
    """Rig time at which the session started: the same for all its processes, whenever they do."""
    calibration: Path | None = None
    """The rig's, for drivers that need it; None where there is none."""


RateHz = Annotated[float, msgspec.Meta(gt=0, le=1000, description="messages per second")]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=16_384, description="pixels")]
Channels = Annotated[int, msgspec.Meta(ge=1, le=64, description="microphones")]
SampleRateHz = Annotated[
    int, msgspec.Meta(ge=1000, le=384_000, description="samples per second and channel")
]

_OF_RIG = "relative_to_rig"
RigPath = Annotated[
    str,
    msgspec.Meta(description="path, relative to the rig file", extra={_OF_RIG: True}),
]
"""What an option that names a file is: drivers see it absolute (`with_absolute_paths`)."""


class SensorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every sensor entry of a rig file may say; drivers add their own fields.

    A driver's options check what holds between their fields in `__post_init__`, by ValueError.
    """

    driver: str
    rate_hz: RateHz | None = None
    """Expected message rate; the topic kind's usual rate when absent."""
    frame: str | None = None
    """Frame of reference of the measurements; KIND_NAME of the topic when absent."""

    def stated_rate_hz(self) -> float | None:
        """The rate these options settle, if they do."""
        return self.rate_hz

    def payload_bytes(self) -> int | None:
        """Size of one message's arrays where the options settle it: `check` adds up bandwidth."""
        return None


class CameraOptions(SensorOptions, frozen=True, kw_only=True):
    """What every camera entry may say."""

    width: Pixels | None = None
    """None: whatever the device delivers, so nobody can check it against the intrinsics."""
    height: Pixels | None = None


class AudioOptions(SensorOptions, frozen=True, kw_only=True):
    """What every microphone array entry may say."""

    channels: Channels | None = None
    sample_rate_hz: SampleRateHz | None = None


def with_absolute_paths(options: SensorOptions, folder: Path) -> SensorOptions:
    """The options with every `RigPath` as seen from the rig file's folder."""
    hints = get_type_hints(type(options), include_extras=True)
    found: dict[str, Any] = {}
    for name, hint in hints.items():
        value = getattr(options, name)
        if _OF_RIG in _extras(hint) and value is not None:
            is_one = isinstance(value, str)
            found[name] = _placed(value, folder) if is_one else [_placed(x, folder) for x in value]
    return msgspec.structs.replace(options, **found) if found else options


def _placed(path: str, folder: Path) -> str:
    return str(folder.resolve() / Path(path).expanduser())


def _extras(hint: Any) -> set[str]:
    """The keys of all `Meta(extra=...)` in an annotation."""
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    keys = {key for meta in metas for key in meta.extra or ()}
    return keys.union(*(_extras(part) for part in get_args(hint)))


KIND_OPTIONS: dict[str, type[SensorOptions]] = {"camera": CameraOptions, "audio": AudioOptions}
"""What a driver's options must extend, for kinds the rig file checks against the calibration."""

Messages = AbstractContextManager[Iterator[Message | None]]


class Driver(msgspec.Struct, frozen=True):
    """One way to get messages of one kind: its options in the rig file and how to open it."""

    options: type[SensorOptions]
    open: Callable[[Any, DriverPort], Messages]
    is_in_time: bool = False
    """Its stamps are rig time whatever the calibration says of the sensor that it stands for."""


@contextmanager
def from_extra(extra: str) -> Iterator[None]:
    """Wraps the imports that come with an optional extra of the package."""
    try:
        yield
    except (ImportError, OSError) as error:  # OSError: a C library behind the module is missing
        raise MissingExtraError(extra, str(error)) from error
