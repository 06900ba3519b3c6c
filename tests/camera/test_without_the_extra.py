"""What needs neither PyAV nor simplejpeg works without them."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["fusion_rt.drivers.file", "fusion_rt.commands.devices"])
def test_it_loads(module: str) -> None:
    program = f"import sys; sys.modules['av'] = sys.modules['simplejpeg'] = None; import {module}"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["v4l2", "rtsp", "images"])
def test_a_driver_that_needs_them_says_what_to_install(name: str) -> None:
    program = (
        "import sys; sys.modules['av'] = sys.modules['simplejpeg'] = None\n"
        "from fusion_rt.drivers.registry import list_drivers\n"
        f"print(*(one.problem for one in list_drivers() if one.name == '{name}'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert 'pip install "fusion_rt[sensors]"' in ran.stdout
