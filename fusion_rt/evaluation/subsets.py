"""The sets of sensors that a model is asked with: every one of those it takes, from all to one."""

from collections.abc import Sequence
from itertools import combinations

from fusion_rt.errors import ConfigError
from fusion_rt.messages import Mode
from fusion_rt.model_file import STREAM_KINDS
from fusion_rt.modes import SIGHT_KINDS

Subset = tuple[str, ...]
"""Kinds of streams, in the order of STREAM_KINDS."""


def subsets_of(kinds: Sequence[str]) -> list[Subset]:
    """All sets but the empty one, larger ones first."""
    ordered = [kind for kind in STREAM_KINDS if kind in kinds]
    return [
        subset for count in range(len(ordered), 0, -1) for subset in combinations(ordered, count)
    ]


def subset_name(subset: Subset) -> str:
    return "+".join(subset)


def named_subsets(names: Sequence[str], kinds: Sequence[str]) -> list[Subset]:
    """The sets that a person wrote as `camera+lidar`, in any order; raises ConfigError."""
    known = {frozenset(subset): subset for subset in subsets_of(kinds)}
    found = []
    for name in names:
        asked = frozenset(name.split("+"))
        if asked not in known:
            problem = f"expected some of {', '.join(kinds)}, joined by +, got {name}"
            raise ConfigError("--subsets", "", problem)
        found.append(known[asked])
    return found


def can_place(subset: Subset) -> bool:
    """Whether a sensor is among them that can tell where something is."""
    return any(kind in SIGHT_KINDS for kind in subset)


def mode_of(subset: Subset, kinds: Sequence[str]) -> Mode:
    """The mode of a rig of which these sensors are left (fusion_rt.modes)."""
    sights = [kind for kind in kinds if kind in SIGHT_KINDS]
    left = [kind for kind in subset if kind in SIGHT_KINDS]
    if not left:
        return "BLIND"
    if len(left) < len(sights):
        return "MINIMAL"
    return "NORMAL" if len(subset) == len(kinds) else "DEGRADED"
