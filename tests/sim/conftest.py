from functools import cache
from pathlib import Path

import pytest

from fusion_rt.calibration_file import Calibration, load_calibration
from fusion_rt.sim.scenario import load_scenario
from fusion_rt.sim.world import World

_CALIBRATION = Path("calibration/rigs/demo.calibration.yaml")


@cache
def shared_world(scenario: str, seed: int) -> World:
    """Building one takes a tenth of a second; nothing a test asks of it changes its answers."""
    return World(load_scenario(scenario), seed)


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return load_calibration(Path(__file__).parents[2] / _CALIBRATION)


@pytest.fixture(scope="session")
def urban() -> World:
    return shared_world("urban_day", 1)
