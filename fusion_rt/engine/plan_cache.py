"""Built engines on disk, keyed by what went into them.

Builds are not byte-deterministic, so a key is never made from a plan: it is a digest of the ONNX,
the builder and its version, the target and the device where that matters. An entry is one file,
written beside and renamed, that carries its key and the digest of its own content: whatever is
cut off, altered, or from elsewhere is seen before a library reads it.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_MAGIC = b"fusion_rt plan 1\n"


@dataclass(frozen=True)
class PlanKey:
    """What decides whether a plan may be used; `device` is empty if it is not bound to one."""

    model: str  # file name, for people; not part of the digest
    onnx_sha256: str
    built_by: str  # "tensorrt_rtx 1.7.1.116"
    target: str  # "sm_86", or "current" with the device below
    device: str = ""

    @property
    def digest(self) -> str:
        fields = {name: value for name, value in asdict(self).items() if name != "model"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def plan_key(path: Path, built_by: str, target: str, device: str = "") -> PlanKey:
    """The key of an ONNX file for one target; `device` where the plan is good for one GPU only."""
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return PlanKey(path.name, content, built_by, target, device)


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/fusion_rt/engines`, usually under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fusion_rt" / "engines"


class PlanCache:
    """Plans in one folder. Several processes may share it: the last to finish a build wins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: PlanKey) -> Path:
        return self.folder / f"{Path(key.model).stem}-{key.target}-{key.digest[:16]}.plan"

    def read(self, key: PlanKey) -> tuple[bytes | None, str]:
        """The plan, or None and why there is none that can be used."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None, "not built yet"
        header, _, plan = content.removeprefix(_MAGIC).partition(b"\n")
        if not content.startswith(_MAGIC):
            return None, f"{path.name} is no plan of ours"
        return _checked(path.name, key, header, plan)

    def write(self, key: PlanKey, plan: bytes) -> Path:
        """Store a plan, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {"key": asdict(key), "digest": key.digest, "sha256": _sha256(plan)}
        path = self.path(key)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(_MAGIC + json.dumps(header).encode() + b"\n" + plan)
        temporary.replace(path)
        return path

    def discard(self, key: PlanKey) -> None:
        """Drop a plan that the library refused."""
        self.path(key).unlink(missing_ok=True)


def _checked(name: str, key: PlanKey, header: bytes, plan: bytes) -> tuple[bytes | None, str]:
    try:
        fields = json.loads(header)
        digest, sha256 = fields["digest"], fields["sha256"]
    except (ValueError, KeyError, TypeError):
        return None, f"{name} has a damaged header"
    if digest != key.digest:
        return None, f"{name} was built from something else"
    if sha256 != _sha256(plan):
        return None, f"{name} is cut off or altered"
    return plan, "cached"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
