"""What a run comes to in numbers, and how far two runs over the same log agree."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.fleet.task import Row
from fusion_rt.messages import Detections, Mode

MATCH_M = 2.0
"""Boxes of one class whose centres lie closer than this are the same object, as nuScenes has it."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs over one slice, set by set of the same reference time."""

    sets: int
    """That both have."""
    only_a_sets: int
    only_b_sets: int
    matched: int
    """Boxes that both found."""
    only_a: int
    only_b: int
    apart_m: float | None
    """Median distance of the centres of what both found; None where they found nothing alike."""
    worst_ns: int | None
    """Reference time at which they differ most; None where they agree in all."""

    @property
    def share(self) -> float:
        """Of all boxes, those that both found: 1 when they agree, also on nothing."""
        total = 2 * self.matched + self.only_a + self.only_b
        return 2 * self.matched / total if total else 1.0


def row_of(sets: Iterable[Detections]) -> Row:
    """Counts and shares of one run."""
    modes: Counter[str] = Counter()
    scores: list[float] = []
    first_ns = last_ns = missing = members = 0
    for number, one in enumerate(sets):
        first_ns = one.stamp_ns if number == 0 else first_ns
        last_ns = one.stamp_ns
        modes[one.mode] += 1
        members += len(one.members)
        missing += sum(member.quality == "missing" for member in one.members)
        scores.extend(one.scores.tolist())
    count = modes.total()
    shares = {f"share_{mode.lower()}": _share(modes[mode], count) for mode in get_args(Mode)}
    return {
        "sets": count,
        "span_s": (last_ns - first_ns) / 1e9,
        "detections": len(scores),
        "detections_per_set": len(scores) / count if count else 0.0,
        "median_score": float(np.median(scores)) if scores else None,
        "share_members_missing": _share(missing, members),
        **shares,
    }


def agreement(run_a: Iterable[Detections], run_b: Iterable[Detections]) -> Agreement:
    """Matched greedily, the nearest first, within each set and class."""
    a, b = ({one.stamp_ns: one for one in run} for run in (run_a, run_b))
    both = sorted(a.keys() & b.keys())
    apart: list[float] = []
    alone = {stamp_ns: _alone(a[stamp_ns], b[stamp_ns], apart) for stamp_ns in both}
    differing = {stamp_ns: one + other for stamp_ns, (one, other) in alone.items() if one + other}
    worst_ns = max(differing, key=lambda stamp_ns: differing[stamp_ns], default=None)
    return Agreement(
        sets=len(both),
        only_a_sets=len(a) - len(both),
        only_b_sets=len(b) - len(both),
        matched=len(apart),
        only_a=sum(one for one, _ in alone.values()),
        only_b=sum(other for _, other in alone.values()),
        apart_m=float(np.median(apart)) if apart else None,
        worst_ns=worst_ns,
    )


def _alone(a: Detections, b: Detections, apart: list[float]) -> tuple[int, int]:
    """Boxes only one of them found; the distances of the others are added to `apart`."""
    labels_a, labels_b = _labels(a), _labels(b)
    matched = 0
    for label in labels_a.keys() & labels_b.keys():
        distances = np.linalg.norm(labels_a[label][:, None] - labels_b[label][None], axis=-1)
        while distances.size and (nearest := float(distances.min())) < MATCH_M:
            row, column = np.unravel_index(int(distances.argmin()), distances.shape)
            distances = np.delete(np.delete(distances, row, 0), column, 1)
            apart.append(nearest)
            matched += 1
    return len(a.boxes) - matched, len(b.boxes) - matched


def _labels(one: Detections) -> Mapping[str, npt.NDArray[np.float32]]:
    """Centres on the ground (N, 2) by class: two models may count their classes differently."""
    names = [one.classes[n] if n < len(one.classes) else str(n) for n in one.class_ids.tolist()]
    return {
        name: one.boxes[[other == name for other in names], :2] for name in dict.fromkeys(names)
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
