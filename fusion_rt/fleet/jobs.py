"""The jobs of a fleet: what a worker does with one slice."""

from functools import partial
from pathlib import Path

from fusion_rt.fleet.measures import row_of
from fusion_rt.fleet.run import RUN, detections_of
from fusion_rt.fleet.task import Job, Row, Slice

RECORDED = "recorded"
"""In place of a model: what the rig itself detected, as it stands in the log."""


def open_job(model: str) -> Job:
    """The job of one model."""
    return partial(_recorded, model)


def _recorded(_: str, part: Slice) -> Row:
    row = row_of(detections_of(Path(part.log), part))
    return {**row, RUN: part.log}
