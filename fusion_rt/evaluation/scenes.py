"""Where the moments come from that a model is measured on: held-out simulated worlds, or a folder.

Worlds are drawn by seed, one after another; training starts at other seeds. By default they are
seen by the calibration's own rig, all sensors in step; `is_varied` gives each world another rig,
whose sensors run free, as training does (`fusion_rt.model.render`).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from fusion_rt.calibration_file import Calibration
from fusion_rt.evaluation.corruptions import Corruption, corrupted_moments
from fusion_rt.model.moments import Moment, all_moments, moment_files, read_moments
from fusion_rt.model.render import RenderedWorld, RenderSize
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.sim.beams import Beams
from fusion_rt.sim.samples import SampleFrames
from fusion_rt.sim.scenario import Scenario, Siren

CLEAN = ""
"""Name of the condition in which nothing is made worse."""
FIRST_SEED = 500_000
MOMENTS_PER_SCENE = 5


class ScenePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which worlds, and how they are looked at."""

    scenes: int = 60
    seed: int = FIRST_SEED
    is_varied: bool = False
    beams: Beams = "hdl64"
    """The LiDAR's, unless varied."""
    corruptions: tuple[Corruption, ...] = ()
    """Each shows all worlds once more."""
    folder: Path | None = None
    """Moments to read instead: simulated ones, or those of a data set."""

    @property
    def count(self) -> int:
        """Of moments, conditions counted one by one."""
        if self.folder is not None:
            return sum(len(read_moments(path)) for path in moment_files(self.folder))
        return self.scenes * MOMENTS_PER_SCENE * (1 + len(self.corruptions))


class Shown(msgspec.Struct, frozen=True, eq=False):
    """One moment, and what was done to it."""

    moment: Moment
    condition: str = CLEAN


def scenes(plan: ScenePlan, calibration: Calibration) -> Iterator[Shown]:
    """All moments of a plan."""
    if plan.folder is not None:
        yield from map(Shown, all_moments(plan.folder))
        return
    size = RenderSize(
        per_world=MOMENTS_PER_SCENE, spacing_s=2.5, is_varied=plan.is_varied, beams=plan.beams
    )
    for seed in range(plan.seed, plan.seed + plan.scenes):
        world = RenderedWorld(calibration, seed, size, SampleFrames(), partial(peopled, seed=seed))
        yield from map(Shown, world.moments())
        for corruption in plan.corruptions:
            for moment in _worse(corruption, calibration, seed, size):
                yield Shown(moment, corruption.name)


def peopled(scenario: Scenario, seed: int) -> Scenario:
    """Every second world has more of what is rare and fewer parked cars: APs of trucks, cyclists
    and ambulances would else rest on a handful each."""
    if seed % 2:
        return scenario
    traffic, layout = scenario.traffic, scenario.layout
    sirens = (
        Siren(start_s=0.5, route="roaming", pattern="yelp"),
        Siren(start_s=0.5, route="behind", pattern="hilo", distance_m=30.0),
    )
    traffic = msgspec.structs.replace(
        traffic,
        trucks=traffic.trucks + 5,
        cyclists=traffic.cyclists + 16,
        sirens=(*traffic.sirens, *sirens),
    )
    layout = msgspec.structs.replace(layout, parked=0.4 * layout.parked)
    return msgspec.structs.replace(scenario, traffic=traffic, layout=layout)


def demo_calibration() -> Calibration:
    """Of the rig that the worlds are seen by."""
    return load_rig(find_rig("sim")).calibration


def _worse(
    corruption: Corruption, calibration: Calibration, seed: int, size: RenderSize
) -> list[Moment]:
    def change(scenario: Scenario) -> Scenario:
        usual = peopled(scenario, seed)
        return corruption.of_scenario(usual) if corruption.of_scenario else usual

    world = RenderedWorld(calibration, seed, size, SampleFrames(), change)
    return corrupted_moments(corruption, world.moments(corruption.camera_late_ns), seed)
