"""The rigs that the pages on connecting sensors show can be run as they stand."""

import re
from pathlib import Path

import pytest

from fusion_rt.drivers.registry import list_drivers
from fusion_rt.rig import load_rig

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = re.compile(r"```yaml\n# (\S+)\n(.*?)```", re.DOTALL)
CAR = dict(EXAMPLE.findall((DOCS / "rig_file.md").read_text()))
PAGES = ("connect_a_camera.md", "connect_a_gps.md", "connect_microphones.md")
RIGS = [
    (page, name, text)
    for page in PAGES
    for name, text in re.findall(
        r"```yaml\n# (\S+)\n(.*?)```", (DOCS / page).read_text(), re.DOTALL
    )
]
MISSING = [driver.name for driver in list_drivers() if driver.problem]


@pytest.mark.parametrize(("page", "name", "text"), RIGS, ids=[name for _, name, _ in RIGS])
def test_the_rig_can_be_run(page: str, name: str, text: str, tmp_path: Path) -> None:
    driver = re.search(r"driver: (\w+)", text)
    assert driver is not None, page
    if driver[1] in MISSING:
        pytest.skip(f"driver {driver[1]} does not load here")
    (tmp_path / "car.calibration.yaml").write_text(CAR["car.calibration.yaml"])
    (tmp_path / name).write_text(text)
    assert load_rig(tmp_path / name).sensors
