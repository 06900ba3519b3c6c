import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fusion_rt import __version__
from fusion_rt.cli import COMMANDS, app_for


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app_for(arguments), list(arguments))
    return result.exit_code, result.output


def test_help_lists_every_command() -> None:
    code, output = run("--help")
    assert code == 0
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    code, output = run(name, "--help")
    assert code == 0
    assert f"fusion-rt {name}" in output


def test_an_unknown_command_is_refused() -> None:
    code, output = run("dmeo")
    assert code == 2
    assert "dmeo" in output


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"fusion-rt {__version__}\n")


def test_a_command_does_not_pay_for_the_others() -> None:
    program = "import sys, fusion_rt.cli as c; c.app_for(['run']); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = done.stdout.splitlines()
    assert "fusion_rt.commands.run" in modules
    assert not {"fusion_rt.commands.demo", "fusion_rt.commands.tune_sync"} & set(modules)
