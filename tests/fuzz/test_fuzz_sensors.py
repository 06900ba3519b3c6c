import random

import pytest

from tests.fuzz.fuzz_sensors import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input_is_taken_in_good_order(target: str) -> None:
    counters = TARGETS[target](3000, random.Random(3))
    assert counters.total() > 1000
