"""Every kernel's GPU side compiles; the image is shipped, or compiled at first use and kept."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fusion_rt.errors import BackendMissingError, EngineBuildError
from fusion_rt.gpu import kernel_image as image_module
from fusion_rt.gpu.kernel_image import find_nvcc, kernel_image, shipped_image, source_folder

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


@pytest.fixture
def nothing_shipped(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(image_module, "shipped_image", lambda: tmp_path / "absent")


def fake_nvcc(folder: Path, script: str) -> str:
    nvcc = folder / "nvcc"
    nvcc.write_text(f"#!/bin/sh\n{script}\n")
    nvcc.chmod(0o755)
    return str(nvcc)


@pytest.mark.skipif(not shipped_image().is_file(), reason="this install was built without nvcc")
def test_the_shipped_image_is_a_fatbin_with_all_kernels(tmp_path):
    assert kernel_image("sm_90", tmp_path) == shipped_image().read_bytes()
    assert shipped_image().read_bytes()[:4] == b"\x50\xed\x55\xba"


@needs_nvcc
@pytest.mark.usefixtures("nothing_shipped")
def test_an_image_compiled_at_first_use_is_kept(tmp_path, monkeypatch):
    first = kernel_image("sm_90", tmp_path)
    for kernel in (b"pillarize_points", b"image_prepare_u8", b"project_points", b"audio_features"):
        assert kernel in first
    monkeypatch.setattr(image_module, "find_nvcc", lambda: "/bin/false")
    assert kernel_image("sm_90", tmp_path) == first


@pytest.mark.usefixtures("nothing_shipped")
def test_a_failing_nvcc_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    nvcc = fake_nvcc(tmp_path, "echo unsupported gpu architecture >&2; exit 1")
    monkeypatch.setattr(image_module, "find_nvcc", lambda: nvcc)
    message = r"build all.cu: .*unsupported gpu architecture; does this nvcc know sm_999\?"
    with pytest.raises(EngineBuildError, match=message):
        kernel_image("sm_999", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_nvcc_is_found_in_the_toolkits_folder(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    nvcc = fake_nvcc(tmp_path / "bin", "exit 0")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert find_nvcc() == nvcc


def test_without_an_image_and_without_nvcc_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(image_module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BackendMissingError, match="no nvcc to compile them; install the CUDA"):
        find_nvcc()


def test_the_sources_are_found():
    assert (source_folder() / "pillarize.cuh").is_file()
