"""Opens what a replay drives: the fusion with its networks, or its decisions alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion_rt.calibration_file import Calibration
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.replay.lockstep import DecisionsOnly, Fusion


@contextmanager
def opened_fusion(plan: FusionPlan, calibration: Calibration, started_ns: int) -> Iterator[Fusion]:
    """The model of the plan, loaded and warm; without one, decisions only."""
    if not plan.model:
        yield DecisionsOnly(plan, started_ns)
        return
    # Engines take seconds to import, and decisions need none.
    from fusion_rt.engine.engine import EngineOptions
    from fusion_rt.fusion.encoding import warm_up
    from fusion_rt.fusion.inline import InlineFusion
    from fusion_rt.fusion.runner import antenna_m, mounts_of
    from fusion_rt.perception import open_model

    mounts, options = mounts_of(plan, calibration), plan.options
    folder = Path(plan.model)
    with open_model(folder, mounts, options.backend, EngineOptions(), options.precision) as opened:
        warm_up(opened)
        yield InlineFusion(plan, opened, started_ns, antenna_m(plan, calibration))
