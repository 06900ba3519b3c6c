"""How well sirens are heard: from the answers' siren and the truth's bearings."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np


class Hearing(msgspec.Struct, frozen=True):
    """What was said about sirens in one moment, and what is true."""

    probability: float
    bearing_rad: float
    true_bearings_rad: tuple[float, ...]
    """Loudest first; none: no siren is to be heard."""


class SirenScore(msgspec.Struct, frozen=True):
    """Over all moments that had sound."""

    moments: int
    with_siren: int
    recall: float | None
    false_alarms: float | None
    """Share of the moments without a siren in which one was reported."""
    bearing_median_deg: float | None
    """To the loudest siren, where one was reported rightly."""
    bearing_p90_deg: float | None


def siren_score(hearings: Sequence[Hearing], threshold: float) -> SirenScore | None:
    """None where no moment had sound."""
    if not hearings:
        return None
    with_siren = [one for one in hearings if one.true_bearings_rad]
    without = [one for one in hearings if not one.true_bearings_rad]
    heard = [one for one in with_siren if one.probability >= threshold]
    alarms = sum(one.probability >= threshold for one in without)
    errors = np.array([bearing_error_deg(one) for one in heard])
    return SirenScore(
        moments=len(hearings),
        with_siren=len(with_siren),
        recall=len(heard) / len(with_siren) if with_siren else None,
        false_alarms=alarms / len(without) if without else None,
        bearing_median_deg=float(np.median(errors)) if len(heard) else None,
        bearing_p90_deg=float(np.percentile(errors, 90)) if len(heard) else None,
    )


def bearing_error_deg(hearing: Hearing) -> float:
    """To the loudest siren, 0..180."""
    apart = math.remainder(hearing.bearing_rad - hearing.true_bearings_rad[0], math.tau)
    return math.degrees(abs(apart))
