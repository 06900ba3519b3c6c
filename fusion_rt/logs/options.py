"""The sections `record` and `foxglove` of a rig file: what is kept, and what is shown live."""

from typing import Annotated, Literal

import msgspec

from fusion_rt.clock import NS_PER_MS, NS_PER_S

Megabytes = Annotated[int, msgspec.Meta(ge=1, le=1_000_000, description="megabytes")]


class RecordOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `fusion-rt run` and `record` keep logs."""

    folder: Annotated[
        str, msgspec.Meta(description="where logs go, relative to where the rig is started")
    ] = "logs"
    topics: tuple[str, ...] = ()
    """Empty: every topic of the rig that is logged."""
    mode: Literal["always", "snapshot"] = "always"
    """`snapshot` keeps only the last `snapshot_s`, saved on a change of mode and on demand."""
    snapshot_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 30
    part_mb: Megabytes = 1024
    """A part is closed, and the next one begun, at this size."""
    part_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 60
    """Or after so long."""
    keep_mb: Megabytes | None = None
    """Of this rig's parts in the folder, the oldest go first; None: as long as there is room."""
    min_free_mb: Megabytes = 1024
    """Of disk, never touched."""
    when_full: Literal["drop_oldest", "stop"] = "stop"
    """`drop_oldest` removes closed parts of this rig; `stop` records on when there is room."""
    flush_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 200
    """What a crash of the recorder may cost at most."""
    fsync: bool = False
    """Also survive a power cut, at the price of the disk's patience."""
    compression: Literal["none", "lz4", "zstd"] = "none"
    queue_mb: Megabytes = 256
    """Waiting for the disk; beyond it the transport's own queues fill, and count."""

    @property
    def flush_ns(self) -> int:
        return self.flush_ms * NS_PER_MS

    @property
    def part_ns(self) -> int:
        return round(self.part_s * NS_PER_S)

    @property
    def snapshot_ns(self) -> int:
        return round(self.snapshot_s * NS_PER_S)


class FoxgloveOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `foxglove` of a rig file."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65_535, description="0: any that is free")] = 8765
