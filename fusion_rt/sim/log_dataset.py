"""Writes a simulated drive as a log, as if a recorder had stood in it (docs/simulator.md).

Times count from the start of the drive. Nothing lies between sensor and log: a message is received
as it is sent. Pictures are compressed, as in a dataset.
"""

from pathlib import Path
from typing import Any

import msgspec

from fusion_rt.logs.entry import Aside, entry, fingerprint_of
from fusion_rt.logs.rig import logged_rig
from fusion_rt.logs.write import OWN, LogWriter
from fusion_rt.messages import CameraFrame, Message
from fusion_rt.rig import Rig
from fusion_rt.sim.dataset import jpeg_from_frame
from fusion_rt.sim.drive import Made
from fusion_rt.sim.scenario import Scenario

TRUTH = f"{OWN}truth"
METADATA = "fusion_rt.simulation"
_INCARNATION = 1


class TruthRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is true at one time; fields as in truth.Truth.row."""

    t_ns: int
    ego: tuple[float, ...]
    ids: tuple[int, ...]
    classes: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...]
    sirens: tuple[tuple[float, ...], ...]


class LogDatasetWriter:
    """Writes one drive within a `with`; the same surface as `dataset.DatasetWriter`."""

    def __init__(self, path: Path, rig: Rig) -> None:
        self._log = LogWriter(path, logged_rig(rig))

    def __enter__(self) -> "LogDatasetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def add(self, made: Made) -> None:
        """Write one message."""
        message, sent_ns = _compressed(made.message), made.shot.sent_ns
        self._log.write(
            entry(
                made.topic,
                message,
                seq=made.shot.number,
                sent_ns=sent_ns,
                recv_ns=sent_ns,
                node=made.topic,
                incarnation=_INCARNATION,
                aside=Aside(fingerprint=fingerprint_of(message)),
            )
        )

    def add_truth(self, row: dict[str, Any]) -> None:
        truth = msgspec.convert(row, TruthRow)
        self._log.write_row(TRUTH, truth, truth.t_ns)

    def finish(
        self, scenario: str, world: Scenario, seed: int, seconds: float, digest: str
    ) -> None:
        """Say what was made; a drive that was cut short says nothing."""
        about = {"scenario": scenario, "seed": str(seed), "seconds": f"{seconds:g}"}
        written = msgspec.json.encode(world).decode()
        self._log.note(METADATA, {**about, "world": written, "digest": digest})


def _compressed(message: Message) -> Message:
    if not isinstance(message, CameraFrame):
        return message
    jpeg = jpeg_from_frame(message)
    return msgspec.structs.replace(message, encoding="jpeg", image=jpeg)
