from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from fusion_rt.drivers.registry import list_drivers
from fusion_rt.rig import find_rig
from fusion_rt.rig_schema import rig_schema, rig_schema_text
from fusion_rt.yaml_file import read_yaml

COMMITTED = Path(__file__).parents[1] / "docs/rig.schema.json"


def demo() -> dict[str, Any]:
    return read_yaml(find_rig("demo")).tree


def test_the_committed_schema_is_current() -> None:
    missing = [listing.name for listing in list_drivers() if listing.problem]
    if missing:
        pytest.skip(f"needs the extras of drivers {', '.join(missing)}")
    assert COMMITTED.read_text() == rig_schema_text(), "run fusion-rt check --schema > docs/..."


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(msgspec.json.decode(rig_schema_text()))


def test_the_schema_accepts_the_demo_rig() -> None:
    jsonschema.validate(demo(), msgspec.to_builtins(rig_schema()))


@pytest.mark.parametrize(
    ("topic", "entry"),
    [
        ("lidr/top", {"driver": "synthetic"}),
        ("lidar/", {"driver": "synthetic"}),
        ("lidar/x", {"driver": "unheard_of"}),
        ("lidar/x", {"driver": "synthetic", "rate_ms": 100}),
        ("lidar/x", {"driver": "synthetic", "width": 640}),
        ("camera/x", {"driver": "synthetic", "encoding": "jpeg"}),
        ("camera/x", {}),
    ],
)
def test_the_schema_refuses_a_wrong_sensor(topic: str, entry: dict[str, Any]) -> None:
    rig = demo()
    rig["sensors"][topic] = entry
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(rig, msgspec.to_builtins(rig_schema()))
