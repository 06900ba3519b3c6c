import re
from pathlib import Path

import msgspec
import pytest

from fusion_rt.camera.picture_list import CODECS
from fusion_rt.drivers.port import SensorOptions
from fusion_rt.drivers.registry import find_driver, list_drivers

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/connect_a_camera.md").read_text()
MISSING = {driver.name for driver in list_drivers() if driver.problem}


@pytest.mark.parametrize("name", ["v4l2", "rtsp", "file", "images"])
def test_every_option_is_told(name: str) -> None:
    if name in MISSING:
        pytest.skip(f"driver {name} does not load here")
    common = {field.name for field in msgspec.structs.fields(SensorOptions)}
    for field in msgspec.structs.fields(find_driver(name, "camera").options):
        assert field.name in common or re.search(rf"`{field.name}\b|{field.name}:", PAGE), field


def test_every_counter_told_is_counted_and_every_one_counted_is_told() -> None:
    table = PAGE.split("| counter | meaning |")[1]
    told = set(
        re.findall(r"`(\w+)`", "\n".join(row.split("|")[0] for row in table.split("\n|")[1:]))
    )
    modules = [*(ROOT / "fusion_rt/camera").glob("*.py")]
    modules += [ROOT / f"fusion_rt/drivers/{name}.py" for name in ("v4l2", "rtsp", "images")]
    code = "".join(file.read_text() for file in modules)
    counted = set(re.findall(r'^[A-Z_]+ = "(\w+)"\n"""Counter', code, re.MULTILINE))
    assert len(counted) >= 9
    assert counted - told == set()
    assert told - counted == {"clock_jumps", "reconnects"}  # counted by what others use too


def test_every_kind_of_picture_is_told() -> None:
    for codec in CODECS.values():
        assert codec in PAGE.lower()
