import math

import numpy as np
import pytest

from fusion_rt.fusion.ego_motion import EgoMotion
from fusion_rt.messages import GpsFix

PERIOD_NS = 100_000_000


def driven(
    speed_mps: float, yaw_rate_radps: float, seed: int, noise_mps: float = 0.06
) -> EgoMotion:
    """A second of fixes along a circle, with the noise of a Doppler velocity."""
    rng = np.random.default_rng(seed)
    motion = EgoMotion()
    for number in range(11):
        course = yaw_rate_radps * number * PERIOD_NS / 1e9
        east, north = rng.normal(0, noise_mps, 2) + speed_mps * np.array(
            [math.cos(course), math.sin(course)]
        )
        fix = GpsFix(stamp_ns=number * PERIOD_NS, fix="3d", velocity_enu_mps=(east, north, 0.0))
        motion.add(fix)
    return motion


@pytest.mark.parametrize("speed_mps", [1.0, 2.0, 5.0, 10.0])
def test_straight_on_is_not_taken_for_a_turn(speed_mps: float) -> None:
    rates = []
    for seed in range(40):
        twist = driven(speed_mps, 0.0, seed).twist(10 * PERIOD_NS)
        assert twist is not None
        rates.append(abs(twist.yaw_rate_radps))
    assert np.mean(np.array(rates) == 0) > 0.8


@pytest.mark.parametrize("yaw_rate_radps", [0.5, -0.5])
def test_a_turn_is_a_turn(yaw_rate_radps: float) -> None:
    twist = driven(5.0, yaw_rate_radps, 1).twist(10 * PERIOD_NS)
    assert twist is not None
    assert twist.yaw_rate_radps == pytest.approx(yaw_rate_radps, rel=0.1)
    assert twist.speed_mps == pytest.approx(5.0, abs=0.2)


def test_without_noise_to_explain_it_the_measured_turn_holds() -> None:
    twist = driven(20.0, 0.4, 1, noise_mps=0.0).twist(10 * PERIOD_NS)
    assert twist is not None
    assert twist.yaw_rate_radps == pytest.approx(0.4, rel=0.01)
