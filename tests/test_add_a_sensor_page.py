"""Follows docs/add_a_sensor.md to the letter, in a copy of the sources."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fusion_rt._kernels
import fusion_rt.transport._ring

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/add_a_sensor.md").read_text()
DIFFS = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
# An editable installation would find the library where it was installed from, not in the copy.
FROM_HERE = """
import runpy, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
sys.path.insert(0, ".")
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page tells to make, laid out as an installation is."""
    copy = tmp_path_factory.mktemp("sources")
    for folder in ("fusion_rt", "nodes", "calibration", "docs", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copy(fusion_rt._kernels.__file__, copy / "fusion_rt")
    shutil.copy(fusion_rt.transport._ring.__file__, copy / "fusion_rt/transport")
    for name, text in FILES.items():
        (copy / name).write_text(text)
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-"], cwd=copy, input=diff, text=True, check=True)
    for folder in ("nodes", "calibration"):
        shutil.copytree(copy / folder, copy / "fusion_rt" / folder)
    return copy


def run(sources: Path, *module_and_arguments: str) -> str:
    command = [sys.executable, "-c", FROM_HERE, *module_and_arguments]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_names_every_file_it_makes() -> None:
    assert len(DIFFS) == 2
    assert len(FILES) == PAGE.count("```python") + PAGE.count("```yaml") == 5


def test_the_radar_passes_its_tests(sources: Path) -> None:
    assert "4 passed" in run(sources, "pytest", "-q", "tests/test_radar.py")


def test_the_rig_with_the_radar_can_be_run(sources: Path) -> None:
    assert "radar/front" in run(sources, "fusion_rt", "check", "radar.yaml")


def test_the_size_that_the_page_states_is_true() -> None:
    new = sum(len(re.findall(r"^\+[^+]", diff, re.MULTILINE)) for diff in DIFFS)
    new += sum(text.count("\n") for text in FILES.values())
    assert f"{new} lines" in PAGE, new
