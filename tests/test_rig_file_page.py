import re
from pathlib import Path

import pytest

from fusion_rt.errors import ConfigErrors
from fusion_rt.rig import load_rig

PAGE = (Path(__file__).parents[1] / "docs/rig_file.md").read_text()
EXAMPLES = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
RIGS = [name for name in EXAMPLES if "calibration" not in name]


@pytest.fixture(autouse=True)
def _examples_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in EXAMPLES.items():
        Path(name).write_text(f"# {name}\n{text}")
    Path("keys/allowed").mkdir(parents=True)
    Path("keys/allowed/rearbox.key").touch()


def test_every_block_of_yaml_is_an_example_with_a_name() -> None:
    assert len(EXAMPLES) == PAGE.count("```yaml")


@pytest.mark.parametrize("name", [name for name in RIGS if name != "wrong.yaml"])
def test_the_example_can_be_run(name: str) -> None:
    assert load_rig(Path(name)).name == name.removesuffix(".yaml")


def test_the_wrong_example_gives_the_errors_shown() -> None:
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    with pytest.raises(ConfigErrors) as caught:
        load_rig(Path("wrong.yaml"))
    assert str(caught.value) == shown.strip()
