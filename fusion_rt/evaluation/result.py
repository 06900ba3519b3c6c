"""All figures of one evaluation, as `fusion-rt eval --json` writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fusion_rt.errors import ConfigError
from fusion_rt.evaluation.scores import SubsetScore

FORMAT = 1
_DIGITS = 4


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and on what."""

    model: str
    digest: str
    """Of model.yaml and its ONNX files."""
    engine: str
    """What ran the fusion graph."""
    data: str
    """Seeds of simulated worlds, or a folder."""
    scenes: int
    moments: int
    date: str = ""


class Retention(msgspec.Struct, frozen=True):
    """What is left of the full score without one sensor, as a share."""

    own: float | None
    """Asked for what the sensors left see."""
    of_all: float | None
    """Asked for what all sensors see."""


class HardGain(msgspec.Struct, frozen=True):
    """Fusing beside the best single sensor on the hard part, both asked for the same: all that
    camera or LiDAR sees. Seeing what the other cannot is what one fuses for."""

    fused: float
    best_single: float
    single: str
    gain: float
    """Relative."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything."""

    format: int = FORMAT
    measured: Measured
    classes: tuple[str, ...]
    subsets: dict[str, SubsetScore]
    """By names such as `camera+lidar+audio+gps`."""
    corruptions: dict[str, dict[str, float]]
    """map_2m by corruption, then by set of sensors; the clean ones are in `subsets`."""
    retention: dict[str, Retention]
    """By the sensor that is missing."""
    hard_gain: HardGain | None
    thresholds: dict[str, float]
    """Scores to cut at, by mode: highest F1 at 2 m over the sets of that mode."""
    attribution: dict[str, dict[str, float]]
    """Per class, Shapley share of each sensor in the scores of right detections."""


def retentions(subsets: Mapping[str, SubsetScore]) -> dict[str, Retention]:
    """Of every sensor whose absence was measured."""
    full_name = max(subsets, key=lambda name: name.count("+"), default="")
    if not full_name:
        return {}
    full, kinds = subsets[full_name], full_name.split("+")
    found = {}
    for kind in kinds:
        left = subsets.get("+".join(other for other in kinds if other != kind))
        if left is not None:
            found[kind] = Retention(
                _share(left.map_2m, full.map_2m), _share(left.map_2m_of_all, full.map_2m_of_all)
            )
    return found


def hard_gain(subsets: Mapping[str, SubsetScore]) -> HardGain | None:
    """None where the whole rig or every single sensor was left out."""
    full_name = max(subsets, key=lambda name: name.count("+"), default="")
    singles = {
        name: part.map_2m
        for name, score in subsets.items()
        if "+" not in name and (part := score.hard_of_all).map_2m is not None
    }
    if "+" not in full_name or not singles:
        return None
    best = max(singles, key=lambda name: singles[name] or 0.0)
    fused, single = subsets[full_name].hard_of_all.map_2m, singles[best]
    if fused is None or not single:
        return None
    return HardGain(fused, single, best, fused / single - 1)


def write_result(result: Result, path: Path) -> None:
    """As JSON, figures to four digits."""
    tree = _rounded(msgspec.to_builtins(result))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(tree), indent=1) + b"\n")


def read_result(path: Path) -> Result:
    """Raises ConfigError for what is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as error:
        problem = f"expected figures of an evaluation; {error.strerror}"
        raise ConfigError(str(path), "", problem) from error
    except msgspec.DecodeError as error:
        problem = f"expected figures of an evaluation ({error})"
        raise ConfigError(str(path), "", problem, "write them: fusion-rt eval --json") from error


def _share(left: float, full: float) -> float | None:
    return left / full if full else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
