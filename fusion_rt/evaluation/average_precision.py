"""Scores from matches: average precision in two definitions, and errors of what was found.

Recall is sampled at 0, 0.01, ..., 1. `plain` is the mean over these of the highest precision at
that recall or beyond (COCO's, 0 where recall ends). `nuscenes` interpolates the precision itself,
leaves out recalls up to 0.1, takes 0.1 off each precision and scales what is left to 1 (Caesar and
others, "nuScenes", 2020).
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.evaluation.matching import EXCUSED, NOBODY, Bools, Floats, Matches

RECALLS = np.linspace(0, 1, 101)
_LEAST = 0.1
_FIRST = round(100 * _LEAST) + 1


class Curve(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Detections by falling score, excused ones left out, and how many truths were asked for."""

    scores: Floats
    is_hit: Bools
    asked: int

    @property
    def recall(self) -> Floats:
        return np.cumsum(self.is_hit) / max(self.asked, 1)

    @property
    def precision(self) -> Floats:
        return np.cumsum(self.is_hit) / np.arange(1, len(self.is_hit) + 1)


class PairErrors(msgspec.Struct, frozen=True):
    """Means over recalls of 0.1 and more of the running mean of errors, as nuScenes takes them.

    1 each where recall stays below 0.1.
    """

    translation_m: float
    """Between centres, on the ground."""
    scale: float
    """1 - IoU of the sizes, laid over one another."""
    orientation_rad: float
    velocity_mps: float


def curve_of(matches: Matches, keep: Bools | None = None, asked: Bools | None = None) -> Curve:
    """The curve of some detections (`keep`) and some truths (`asked`); of all without.

    A hit counts if its truth does, wherever the detection lies.
    """
    wanted = matches.is_asked if asked is None else matches.is_asked & asked
    is_hit = matches.truth >= 0
    hits_wanted = np.zeros(len(is_hit), np.bool_)
    hits_wanted[is_hit] = wanted[matches.truth[is_hit]]
    kept = np.ones(len(is_hit), np.bool_) if keep is None else keep
    used = hits_wanted | ((matches.truth == NOBODY) & kept)
    return Curve(
        scores=matches.scores[used], is_hit=is_hit[used], asked=int(np.count_nonzero(wanted))
    )


def plain_ap(curve: Curve) -> float | None:
    """None where nothing was asked for."""
    if not curve.asked:
        return None
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    # Recall is a count over a count: an ulp must not decide.
    at = np.searchsorted(curve.recall, RECALLS - 1e-12)
    sampled = np.append(envelope, 0.0)[at]
    return float(sampled.mean())


def nuscenes_ap(curve: Curve) -> float | None:
    """None where nothing was asked for."""
    if not curve.asked:
        return None
    if not curve.is_hit.any():
        return 0.0
    precision = np.interp(RECALLS, curve.recall, curve.precision, right=0)[_FIRST:]
    return float(np.maximum(precision - _LEAST, 0).mean() / (1 - _LEAST))


def pair_errors(matches: Matches) -> PairErrors | None:
    """Of the hits; None where nothing was asked for."""
    used = matches.truth != EXCUSED
    is_hit = (matches.truth >= 0)[used]
    asked = int(np.count_nonzero(matches.is_asked))
    if not asked:
        return None
    hits = matches.truth >= 0
    found, true = matches.boxes[hits], matches.truth_boxes[matches.truth[hits]]
    sampled = np.interp(RECALLS, np.cumsum(is_hit) / asked, matches.scores[used], right=0) if (
        is_hit.any()
    ) else np.zeros_like(RECALLS)  # fmt: skip
    last = int(np.flatnonzero(sampled)[-1]) if sampled.any() else 0
    if last < _FIRST:
        return PairErrors(1.0, 1.0, 1.0, 1.0)
    scores = matches.scores[hits]
    values = []
    for errors in _errors(found, true):
        running = np.interp(sampled[::-1], scores[::-1], _running_mean(errors)[::-1])[::-1]
        values.append(float(running[_FIRST : last + 1].mean()))
    return PairErrors(*values)


def _errors(found: Floats, true: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Per pair: centre distance, 1 - aligned IoU, angle, difference of velocities."""
    apart_m = np.hypot(*(found[:, :2] - true[:, :2]).T)
    common = np.minimum(found[:, 3:6], true[:, 3:6]).prod(axis=1)
    volumes = found[:, 3:6].prod(axis=1) + true[:, 3:6].prod(axis=1)
    turned = np.abs(np.remainder(found[:, 6] - true[:, 6] + math.pi, math.tau) - math.pi)
    velocity = np.hypot(*(found[:, 7:9] - true[:, 7:9]).T)
    return apart_m, 1 - common / (volumes - common), turned, velocity


def _running_mean(values: npt.NDArray[np.float64]) -> Floats:
    """Of what is known so far; 1 before anything is (truths may have no velocity)."""
    is_known = ~np.isnan(values)
    count = np.cumsum(is_known)
    total = np.cumsum(np.where(is_known, values, 0))
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)
