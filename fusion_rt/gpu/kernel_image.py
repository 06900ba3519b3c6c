"""The GPU image of kernels/: shipped in the wheel, or compiled with nvcc at first use and kept."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import fusion_rt
from fusion_rt import _kernels
from fusion_rt.engine.plan_cache import default_cache_dir
from fusion_rt.errors import BackendMissingError, EngineBuildError


def shipped_image() -> Path:
    """Where a wheel built with nvcc has its image; the file may be absent."""
    return Path(_kernels.__file__).with_name("_kernels.fatbin")


def source_folder() -> Path:
    """The kernels' sources: inside the installed package, or beside it in a checkout."""
    package = Path(fusion_rt.__file__).parent
    installed = package / "cuda" / "kernels"
    return installed if (installed / "all.cu").is_file() else package.parent / "kernels"


def kernel_image(sm: str, cache_dir: Path | None = None) -> bytes:
    """The image to load on a GPU ("sm_90"): the shipped one, a kept one, or one compiled now."""
    shipped = shipped_image()
    if shipped.is_file():
        return shipped.read_bytes()
    folder = source_folder()
    kept = (cache_dir or default_cache_dir()) / f"kernels-{sm}-{_digest(folder)}.cubin"
    if not kept.is_file():
        _compile(find_nvcc(), folder / "all.cu", sm, kept)
    return kept.read_bytes()


def find_nvcc() -> str:
    """nvcc on PATH or in the toolkit's usual place."""
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    folders = [os.environ.get("PATH", ""), *(f"{home}/bin" for home in homes if home)]
    if found := shutil.which("nvcc", path=os.pathsep.join(folders)):
        return found
    problem = "this install has no compiled kernels and there is no nvcc to compile them"
    raise BackendMissingError("gpu kernels", problem, "install the CUDA toolkit or set CUDA_HOME")


def _compile(nvcc: str, source: Path, sm: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    command = [
        nvcc,
        "-cubin",
        "-O3",
        "-std=c++17",
        f"-arch={sm}",
        str(source),
        "-o",
        str(temporary),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        temporary.unlink(missing_ok=True)
        problem = f"{nvcc} failed: {(done.stderr or done.stdout).strip()[-600:]}"
        raise EngineBuildError(source.name, problem, f"does this nvcc know {sm}?")
    temporary.replace(target)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cu"), *folder.glob("*.cuh")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
