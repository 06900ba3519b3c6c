"""Opens a replay: a log, and the fusion that it drives, with networks or without."""

from pathlib import Path
from typing import TYPE_CHECKING

from fusion_rt.calibration_file import Calibration
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.logs.read import LogReader
from fusion_rt.replay.lockstep import DecisionsOnly, Fusion
from fusion_rt.replay.plan import ReplayOptions, planned, schedule_for
from fusion_rt.replay.run import Replay, Slice, whole

if TYPE_CHECKING:
    from fusion_rt.perception import Perception


class Networks:
    """The networks of one model, kept for the next replay. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        self._opened: Perception | None = None
        self._key: tuple[object, ...] = ()

    @property
    def digest(self) -> str | None:
        """Of the model last used; None before, and where only decisions were made."""
        return None if self._opened is None else self._opened.model.digest

    def fusion(self, plan: FusionPlan, calibration: Calibration, started_ns: int) -> Fusion:
        """For one replay after the other: the networks are the same."""
        if not plan.model:
            self.close()
            return DecisionsOnly(plan, started_ns)
        # Engines take seconds to import, and decisions need none.
        from fusion_rt.fusion.inline import InlineFusion
        from fusion_rt.fusion.runner import antenna_m

        opened = self._mounted(plan, calibration)
        return InlineFusion(plan, opened, started_ns, antenna_m(plan, calibration))

    def _mounted(self, plan: FusionPlan, calibration: Calibration) -> "Perception":
        from fusion_rt.engine.engine import EngineOptions
        from fusion_rt.fusion.encoding import warm_up
        from fusion_rt.fusion.runner import mounts_of
        from fusion_rt.perception import open_model

        mounts, options = mounts_of(plan, calibration), plan.options
        key = plan.model, options.backend, options.precision
        if self._opened is not None and self._key == key:
            self._opened.mount(mounts)
            return self._opened
        self.close()
        engines = EngineOptions()
        folder = Path(plan.model)
        self._opened = open_model(folder, mounts, options.backend, engines, options.precision)
        self._key = key
        warm_up(self._opened)
        return self._opened

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def __enter__(self) -> "Networks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened_replay(
    log: LogReader,
    options: ReplayOptions,
    networks: Networks,
    part: Slice | None = None,
    rows: Path | None = None,
) -> Replay:
    """A replay of the log, or a part of it; `rows` as for `Replay`.

    Raises what the rig, the model or the faults are refused with.
    """
    rig, plan = planned(log, options)
    schedule = schedule_for(options, rig)
    part = part or whole(log)
    fusion = networks.fusion(plan, rig.calibration, part.start_ns)
    return Replay(log, plan, fusion, part, schedule, rows)
