"""Puts results into a calibration file, with where they come from."""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import yaml

from fusion_rt import __version__
from fusion_rt.calibration_file import (
    BASE,
    CalibrationFile,
    Made,
    Provenance,
    Residuals,
    WrittenCamera,
    WrittenTransform,
)
from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.config import Problems, checked
from fusion_rt.geometry import CameraModel, Fisheye, RigidTransform
from fusion_rt.time_offsets import TimeOffset
from fusion_rt.yaml_file import read_yaml

HEADER = "# Written by fusion-rt calibrate; what stood here as a comment is gone."
_DIGITS = 9


class _Plain(yaml.SafeDumper):
    """Short lists on one line, and no anchors: people read these files."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def read_calibration_file(source: Path) -> CalibrationFile:
    """What a calibration file says; an empty one where there is no file yet."""
    if not source.exists():
        return CalibrationFile(provenance=Provenance(method="fusion-rt calibrate"))
    file = read_yaml(source)
    problems = Problems(file)
    written = checked(file.tree, CalibrationFile, (), problems)
    if written is None or problems.errors:
        raise problems.as_error()
    return written


def write_calibration_file(file: CalibrationFile, target: Path) -> None:
    """Replace `target` in one step: a rig never reads half of it."""
    beside = target.with_name(target.name + ".new")
    beside.write_text(calibration_text(file, HEADER))
    beside.replace(target)


def calibration_text(file: CalibrationFile, header: str) -> str:
    """The file as YAML behind a comment that says who wrote it."""
    tree = msgspec.to_builtins(file, builtin_types=(datetime.date,))
    text = yaml.dump(
        _tidy(tree),
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return f"{header}\n{text}"


def made_from(
    method: str,
    inputs: Iterable[Path],
    clock: Clock,
    residuals: Residuals,
    valid_days: int | None = None,
) -> Made:
    """The record of a result made now from these files."""
    return Made(
        method=method,
        date=today(clock),
        data_sha256=digest_of(inputs),
        valid_days=valid_days,
        residuals=residuals,
    )


def today(clock: Clock) -> datetime.date:
    """The date in UTC."""
    return datetime.datetime.fromtimestamp(clock.now_ns() // NS_PER_S, datetime.timezone.utc).date()


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 over names and contents, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda one: one.name):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def with_camera(
    file: CalibrationFile, frame: str, camera: CameraModel, made: Made
) -> CalibrationFile:
    model = "fisheye" if isinstance(camera, Fisheye) else "pinhole"
    fields = {**msgspec.structs.asdict(camera), "model": model}
    written = msgspec.convert(fields, WrittenCamera)
    changed = msgspec.structs.replace(file, cameras={**file.cameras, frame: written})
    return _recorded(changed, f"cameras.{frame}", made)


def with_transform(
    file: CalibrationFile, target: str, source: str, pose: RigidTransform, made: Made
) -> CalibrationFile:
    """Place `source` in `target`, in place of what placed it before.

    Where `target` itself was placed through `source`, the inverse places `target` instead.
    """
    if source in _chain(file, target) or source == BASE:
        target, source, pose = source, target, pose.inverse()
    kept = {key: value for key, value in file.transforms.items() if _source(key) != source}
    translation = pose.translation_m.tolist()
    quaternion = pose.quaternion_wxyz.tolist()
    written = WrittenTransform(
        translation_m=(translation[0], translation[1], translation[2]),
        quaternion_wxyz=(quaternion[0], quaternion[1], quaternion[2], quaternion[3]),
    )
    key = f"{target}_from_{source}"
    gone = {f"transforms.{old}" for old in file.transforms.keys() - kept.keys()}
    results = {k: v for k, v in file.provenance.results.items() if k not in gone}
    provenance = msgspec.structs.replace(file.provenance, results=results)
    changed = msgspec.structs.replace(
        file, transforms={**kept, key: written}, provenance=provenance
    )
    return _recorded(changed, f"transforms.{key}", made)


def with_time_offset(
    file: CalibrationFile, frame: str, offset: TimeOffset, made: Made
) -> CalibrationFile:
    changed = msgspec.structs.replace(file, time_offsets={**file.time_offsets, frame: offset})
    return _recorded(changed, f"time_offsets.{frame}", made)


def with_microphones(
    file: CalibrationFile, frame: str, places_m: Sequence[Sequence[float]], made: Made
) -> CalibrationFile:
    places = tuple((float(x), float(y), float(z)) for x, y, z in places_m)
    changed = msgspec.structs.replace(file, microphones={**file.microphones, frame: places})
    return _recorded(changed, f"microphones.{frame}", made)


def _source(key: str) -> str:
    return key.partition("_from_")[2]


def _chain(file: CalibrationFile, frame: str) -> list[str]:
    """Frames on the way from `frame` to base."""
    targets = {_source(key): key.partition("_from_")[0] for key in file.transforms}
    chain = [frame]
    while chain[-1] in targets and targets[chain[-1]] not in chain:
        chain.append(targets[chain[-1]])
    return chain


def _recorded(file: CalibrationFile, entry: str, made: Made) -> CalibrationFile:
    provenance = msgspec.structs.replace(
        file.provenance,
        tool=f"fusion_rt {__version__}",
        date=made.date,
        results={**file.provenance.results, entry: made},
    )
    return msgspec.structs.replace(file, provenance=provenance)


def _tidy(tree: object) -> object:
    """Without fields that say nothing, numbers rounded to what they are worth, tuples as lists."""
    if isinstance(tree, dict):
        tidy = {key: _tidy(value) for key, value in tree.items()}
        return {key: value for key, value in tidy.items() if value not in (None, "", {}, [])}
    if isinstance(tree, (list, tuple)):
        return [_tidy(value) for value in tree]
    return round(tree, _DIGITS) if isinstance(tree, float) else tree
