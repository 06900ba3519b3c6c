"""What every foreign recording becomes: our messages in order of arrival, and an account of it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.imports.ros_audio import SoundFormat
from fusion_rt.messages import Message


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording does not say of itself."""

    topics: Mapping[str, str] = {}
    """Ours by foreign; when not empty, nothing else is imported."""
    base_frame: str | None = None
    """ROS: the vehicle's frame in TF; None: the usual names."""
    intensity_max: float | None = None
    """ROS: full scale of the clouds' intensities; None: as each topic's first cloud suggests."""
    sound: SoundFormat | None = None
    """ROS: of sound that no AudioInfo describes."""
    scene: str | None = None
    """nuScenes: which of several."""


class Imported(NamedTuple):
    """One message of a foreign recording."""

    topic: str
    """Ours, KIND/NAME."""
    message: Message
    recv_ns: int


class ForeignTopic(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of a foreign recording."""

    name: str
    type: str
    count: int
    """Messages by the recording's own account."""
    rate_hz: float | None = None
    """None where too few messages tell."""
    ours: str = ""
    """The topic it becomes; empty when it is not imported."""
    reason: str = ""
    """Why it is not imported."""


def rate_of(count: int, span_ns: int) -> float | None:
    """Of messages over so long; None where too few tell, or no rig would take it."""
    if count < 2 or span_ns <= 0:
        return None
    rate_hz = round((count - 1) * NS_PER_S / span_ns, 3)
    return rate_hz if 0 < rate_hz <= 1000 else None


class Mounting(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration that a recording brings: what of it our calibration file can say."""

    method: str
    """Where the numbers come from, for the file's provenance."""
    base_from: Mapping[str, RigidTransform] = {}
    """By our frame, KIND_NAME."""
    cameras: Mapping[str, CameraModel] = {}
    left_out: tuple[str, ...] = ()
    """What the recording says of its sensors and our file does not, one sentence each."""


class Source(Protocol):
    """A foreign recording that was opened; messages are made one by one."""

    format: str
    """In a word or two, for people: `ROS 1 bag`."""
    topics: tuple[ForeignTopic, ...]
    counters: Counter[str]
    """Bad messages by cause, as `TOPIC: cause`; complete when `messages` has ended."""

    def messages(self) -> Iterator[Imported]:
        """All messages of the topics that are imported, in order of arrival.

        Raises ForeignLogError where the recording is damaged: what came before is good.
        """
        ...

    def mounting(self) -> Mounting | None:
        """What the recording says of its sensors' places; None when it says nothing."""
        ...
