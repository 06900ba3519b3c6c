import re
from pathlib import Path

import msgspec
import pytest

from fusion_rt.drivers.port import SensorOptions
from fusion_rt.drivers.registry import find_driver
from fusion_rt.lidar.hesai_models import MODELS as HESAI
from fusion_rt.lidar.options import LidarOptions
from fusion_rt.lidar.velodyne_models import MODELS as VELODYNE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/connect_a_lidar.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_accepted(example: str) -> None:
    entries = msgspec.yaml.decode(example.encode())
    assert entries
    for entry in entries.values():
        msgspec.convert(entry, find_driver(entry["driver"], "lidar").options)


def test_every_option_is_told() -> None:
    common = {field.name for field in msgspec.structs.fields(SensorOptions)}
    for field in msgspec.structs.fields(LidarOptions):
        assert field.name in common or re.search(rf"`{field.name}\b|{field.name}:", PAGE)


@pytest.mark.parametrize("model", [*VELODYNE, *HESAI])
def test_every_model_is_told(model: str) -> None:
    assert f"`{model}`" in PAGE


def test_every_counter_told_is_counted() -> None:
    table = PAGE.split("| counter | meaning |")[1]
    told = re.findall(r"`(\w+)`", "\n".join(row.split("|")[0] for row in table.split("\n|")[1:]))
    folders = [ROOT / "fusion_rt" / name for name in ("lidar", "packets")]
    files = [ROOT / "fusion_rt/device_clock.py", *(f for one in folders for f in one.glob("*.py"))]
    code = "".join(file.read_text() for file in files)
    assert len(told) >= 12
    assert [name for name in told if f'"{name}"' not in code] == []
