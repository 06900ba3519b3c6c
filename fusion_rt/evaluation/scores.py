"""From cases to figures: one set of sensors under one condition. All of it plain values, for JSON.

`map_2m` is the mean over classes of `plain` average precision (average_precision.py) at 2 m between
centres on the ground, classes without truth left out; 0 for sensors that cannot place anything.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.evaluation.asked import FAR_M, Case
from fusion_rt.evaluation.average_precision import (
    Curve,
    PairErrors,
    curve_of,
    nuscenes_ap,
    pair_errors,
    plain_ap,
)
from fusion_rt.evaluation.confidence import ScoreBin, calibration_error, score_bins
from fusion_rt.evaluation.matching import Bools, Matches, match
from fusion_rt.evaluation.siren import Hearing, SirenScore, siren_score

LIMITS_M = (0.5, 1.0, 2.0, 4.0)
PAIR_LIMIT_M = 2.0
"""For errors, parts, calibration and `map_2m`."""
RANGES_M = {"0-15 m": (0.0, 15.0), "15-30 m": (15.0, 30.0), "beyond 30 m": (30.0, 1e9)}
WEATHERS = ("night", "rain", "fog")
HARD = "hard"
"""At night, in rain or fog, beyond FAR_M, or hidden by half from the camera."""
EASY = "easy"


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """One class."""

    truths: int
    """Asked for: in range, and seen by a sensor that is present."""
    ap: dict[str, float | None]
    """Plain, by limit in metres."""
    ap_nuscenes: dict[str, float | None]
    errors: PairErrors | None


class PartScore(msgspec.Struct, frozen=True):
    """Some of the truths, and the inventions among them."""

    truths: int
    map_2m: float | None


class SubsetScore(msgspec.Struct, frozen=True, kw_only=True):
    """One set of sensors."""

    map_2m: float
    """See above. Truth that no sensor present sees is not a miss."""
    map_2m_of_all: float
    """The same, asked for all that camera or LiDAR sees, present or not."""
    map_nuscenes: float
    """Over classes and LIMITS_M, by nuScenes' definition."""
    errors: PairErrors | None
    """Mean over classes."""
    classes: dict[str, ClassScore]
    parts: dict[str, PartScore]
    """By distance and weather, `hard` and `easy`."""
    hard_of_all: PartScore
    """What is hard, asked for all that camera or LiDAR sees."""
    ece: float | None
    """Expected calibration error of scores of 0.05 and more, right at 2 m."""
    bins: list[ScoreBin]
    siren: SirenScore | None


class Collected(msgspec.Struct, eq=False):
    """What has been gathered for one set of sensors."""

    cases: list[Case] = []
    hearings: list[Hearing] = []


def subset_score(
    collected: Collected, classes: Sequence[str], siren_threshold: float
) -> SubsetScore:
    """All figures of one set of sensors."""
    outcomes = [case.outcome for case in collected.cases]
    matches = [
        {limit: match(outcomes, number, limit) for limit in LIMITS_M}
        for number in range(len(classes))
    ]
    at_2m = [by_limit[PAIR_LIMIT_M] for by_limit in matches]
    curves = [curve_of(each) for each in at_2m]
    errors = [pair_errors(each) for each in at_2m]
    bins = score_bins(curves)
    of_all = [case.asked_for_all() for case in collected.cases]
    return SubsetScore(
        map_2m=_mean(plain_ap(curve) for curve in curves) or 0.0,
        map_2m_of_all=map_2m(of_all, len(classes)),
        map_nuscenes=_mean(nuscenes_ap(curve_of(m)) for by in matches for m in by.values()) or 0.0,
        errors=_mean_errors(errors),
        classes={
            name: ClassScore(
                truths=curve.asked,
                ap={f"{limit:g}": plain_ap(curve_of(m)) for limit, m in by.items()},
                ap_nuscenes={f"{limit:g}": nuscenes_ap(curve_of(m)) for limit, m in by.items()},
                errors=error,
            )
            for name, curve, by, error in zip(classes, curves, matches, errors, strict=True)
        },
        parts={name: part(at_2m) for name, part in _parts(collected.cases).items()},
        hard_of_all=_parts(of_all)[HARD](_at_2m(of_all, len(classes))),
        ece=calibration_error(bins),
        bins=bins,
        siren=siren_score(collected.hearings, siren_threshold),
    )


def map_2m(cases: Sequence[Case], classes: int) -> float:
    """Only this figure, for the many conditions."""
    return _mean(plain_ap(curve) for curve in curves_at_2m(cases, classes)) or 0.0


def curves_at_2m(cases: Sequence[Case], classes: int) -> list[Curve]:
    """Per class."""
    return [curve_of(matches) for matches in _at_2m(cases, classes)]


def _at_2m(cases: Sequence[Case], classes: int) -> list[Matches]:
    outcomes = [case.outcome for case in cases]
    return [match(outcomes, number, PAIR_LIMIT_M) for number in range(classes)]


def _parts(cases: Sequence[Case]) -> dict[str, Callable[[Sequence[Matches]], PartScore]]:
    """How to score each part, from the matches of every class at 2 m."""
    weather = {
        name: np.array([name in case.weather for case in cases], np.bool_) for name in WEATHERS
    }
    is_bad = np.logical_or.reduce([np.zeros(len(cases), np.bool_), *weather.values()])

    def of_distance(low: float, high: float) -> Callable[[Sequence[Matches]], PartScore]:
        def inside(boxes: npt.NDArray[np.float64]) -> Bools:
            far_m = np.hypot(boxes[:, 0], boxes[:, 1])
            return (far_m >= low) & (far_m < high)

        return lambda all_: _part(all_, [(inside(m.boxes), inside(m.truth_boxes)) for m in all_])

    def of_moments(wanted: Bools) -> Callable[[Sequence[Matches]], PartScore]:
        return lambda all_: _part(
            all_, [(wanted[m.moments], wanted[m.truth_moments]) for m in all_]
        )

    def of_hard(all_: Sequence[Matches]) -> PartScore:
        return _part(all_, [_hard(cases, is_bad, m) for m in all_])

    def of_easy(all_: Sequence[Matches]) -> PartScore:
        masks = [_hard(cases, is_bad, m) for m in all_]
        return _part(all_, [(~found, ~true) for found, true in masks])

    return {
        **{name: of_distance(*limits) for name, limits in RANGES_M.items()},
        "clear day": of_moments(~is_bad),
        **{name: of_moments(wanted) for name, wanted in weather.items()},
        EASY: of_easy,
        HARD: of_hard,
    }


def _hard(cases: Sequence[Case], is_bad: Bools, matches: Matches) -> tuple[Bools, Bools]:
    """Whether each detection and each truth is hard."""
    hidden = np.array(
        [
            cases[moment].is_occluded[row]
            for moment, row in zip(matches.truth_moments, matches.truth_rows, strict=True)
        ],
        np.bool_,
    )
    far_found, far_true = (
        np.hypot(boxes[:, 0], boxes[:, 1]) >= FAR_M
        for boxes in (matches.boxes, matches.truth_boxes)
    )
    return is_bad[matches.moments] | far_found, is_bad[matches.truth_moments] | far_true | hidden


def _part(all_: Sequence[Matches], masks: Sequence[tuple[Bools, Bools]]) -> PartScore:
    curves = [
        curve_of(matches, found, true) for matches, (found, true) in zip(all_, masks, strict=True)
    ]
    return PartScore(sum(c.asked for c in curves), _mean(plain_ap(curve) for curve in curves))


def _mean_errors(errors: Sequence[PairErrors | None]) -> PairErrors | None:
    known = [msgspec.structs.astuple(each) for each in errors if each is not None]
    return PairErrors(*np.mean(known, axis=0).tolist()) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
