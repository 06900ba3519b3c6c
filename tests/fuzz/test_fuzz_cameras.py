import random

import pytest

pytest.importorskip("av")
pytest.importorskip("simplejpeg")
from tests.fuzz.fuzz_cameras import TARGETS

INPUTS = {"mp4": 300}


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_pictures_are_taken_in_good_order(target: str) -> None:
    inputs = INPUTS.get(target, 3000)
    assert TARGETS[target](inputs, random.Random(3)).total() >= inputs / 2
