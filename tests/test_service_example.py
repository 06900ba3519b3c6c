import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fusion_rt.cli import EXIT_REFUSED
from fusion_rt.rig import SupervisorPolicy

UNIT = Path(__file__).parents[1] / "examples/fusion-rt.service"


@pytest.fixture
def service():
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def seconds(text):
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text[:-1])


def test_systemd_is_told_and_told_on(service):
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert seconds(service["WatchdogSec"]) >= 1  # the loop comes round every 50 ms
    assert (service["Restart"], seconds(service["RestartSec"])) == ("always", 0.1)


def test_systemd_waits_for_longer_than_the_supervisor_does(service):
    policy = SupervisorPolicy()
    assert seconds(service["TimeoutStartSec"]) * 1000 > policy.startup_ms
    assert seconds(service["TimeoutStopSec"]) * 1000 > policy.stop_ms
    assert service["KillMode"] == "mixed"


def test_a_rig_that_cannot_be_run_is_not_tried_again(service):
    assert int(service["RestartPreventExitStatus"]) == EXIT_REFUSED


def test_the_rig_runs_in_the_directory_that_systemd_makes(service):
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).is_absolute()
    assert Path(program).name == "fusion-rt"
    assert (words[0], words[2]) == ("run", "--run-dir")
    assert Path(words[3]).parent == Path("/run", service["RuntimeDirectory"])
    assert service["RuntimeDirectoryMode"] == "0700"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong(tmp_path):
    program = tmp_path / "fusion-rt"  # must exist to be verified
    program.touch(mode=0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/fusion_rt/bin/fusion-rt", str(program)))
    ran = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert unit.name not in ran.stderr, ran.stderr
