"""Measures a model: moments in, all figures out, in one pass; only answers are kept."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from fusion_rt.evaluation.asked import LEAST_SCORE, Asker, Case, hearing
from fusion_rt.evaluation.attribution import shapley_scores
from fusion_rt.evaluation.confidence import ScoreFit, best_threshold, fit_scores
from fusion_rt.evaluation.matching import match
from fusion_rt.evaluation.picture import answer_picture, jpeg_of
from fusion_rt.evaluation.result import Measured, Result, hard_gain, retentions
from fusion_rt.evaluation.scenes import CLEAN, Shown
from fusion_rt.evaluation.scores import (
    PAIR_LIMIT_M,
    Collected,
    curves_at_2m,
    map_2m,
    subset_score,
)
from fusion_rt.evaluation.subsets import Subset, can_place, mode_of, subset_name, subsets_of
from fusion_rt.messages import Mode
from fusion_rt.model.moments import Moment
from fusion_rt.perception import Answer, Perception

_MODES: tuple[Mode, ...] = ("NORMAL", "DEGRADED", "MINIMAL", "BLIND")


class Example(msgspec.Struct, frozen=True, eq=False):
    """A moment worth a picture, with the answers to it."""

    moment: Moment
    answers: dict[Subset, Answer]


class Evaluation:
    """Collects answers to moments; `result` scores them."""

    def __init__(self, perception: Perception, subsets: Sequence[Subset] | None = None) -> None:
        file = perception.model.file
        self.kinds = file.kinds
        self._perception, self._asker = perception, Asker(perception)
        self._subsets = list(subsets or subsets_of(file.kinds))
        self._collected: dict[tuple[str, Subset], Collected] = {}
        self._shares: dict[str, list[tuple[float, ...]]] = {}
        self._richest: dict[str, tuple[int, Example]] = {}
        self._moments, self._seeds = 0, set[int]()

    def add(self, shown: Shown) -> None:
        """Ask about one moment, from every set of sensors; corrupted ones from a few."""
        moment, is_clean = shown.moment, shown.condition == CLEAN
        encoded = self._asker.encode(moment)
        answers = {}
        for subset in self._subsets if is_clean else self._few():
            answer = answers[subset] = self._asker.answer(moment, encoded, subset)
            collected = self._collected.setdefault(
                (shown.condition, subset), Collected(cases=[], hearings=[])
            )
            collected.cases.append(self._asker.case(moment, subset, answer))
            if (heard := hearing(moment, subset, answer)) is not None:
                collected.hearings.append(heard)
        if is_clean:
            self._moments += 1
            self._seeds.add(moment.seed)
            self._explain(answers)
            self._keep_example(Example(moment, answers))

    def result(self, data: str, date: str = "") -> Result:
        """All figures of what has been added."""
        file, engine = self._perception.model.file, self._perception.engines["fusion"]
        scores = {
            subset_name(subset): subset_score(
                self._of(CLEAN, subset), file.classes, file.siren_threshold
            )
            for subset in self._subsets
        }
        return Result(
            measured=Measured(
                model=file.name,
                digest=self._perception.model.digest,
                engine=f"{engine.info.backend} {engine.info.version} on {engine.info.device}",
                data=data,
                scenes=len(self._seeds),
                moments=self._moments,
                date=date,
            ),
            classes=file.classes,
            subsets=scores,
            corruptions=self._corrupted(),
            retention=retentions(scores),
            hard_gain=hard_gain(scores),
            thresholds=self.thresholds(),
            attribution={
                name: dict(zip(self.kinds, np.mean(rows, axis=0).tolist(), strict=True))
                for name, rows in self._shares.items()
            },
        )

    def thresholds(self) -> dict[str, float]:
        """Where to cut scores, by mode of the rig."""
        count = len(self._perception.model.file.classes)
        cases: dict[Mode, list[Case]] = {}
        for subset in self._subsets:
            mode = mode_of(subset, self.kinds)
            cases.setdefault(mode, []).extend(self._of(CLEAN, subset).cases)
        found: dict[str, float] = {}
        for mode in _MODES:
            threshold = best_threshold(curves_at_2m(cases.get(mode, []), count))
            if threshold is not None:
                found[mode] = threshold
        return found

    def score_fit(self) -> ScoreFit:
        """What would make the scores of all sets say how often they are right."""
        count = len(self._perception.model.file.classes)
        cases = [self._of(CLEAN, subset).cases for subset in self._subsets]
        return fit_scores([curve for each in cases for curve in curves_at_2m(each, count)])

    def pictures(self) -> list[tuple[bytes, str]]:
        """JPEG and caption of the moments that show most, one of each sort."""
        file = self._perception.model.file
        drawn = []
        for sort, (_, example) in self._richest.items():
            for subset, answer in example.answers.items():
                if subset in self._few():
                    threshold = file.thresholds.of(mode_of(subset, self.kinds))
                    image = answer_picture(example.moment, answer, file, threshold)
                    drawn.append((jpeg_of(image), f"{sort}: {subset_name(subset)}"))
        return drawn

    # --- inside ---------------------------------------------------------------------------------

    def _of(self, condition: str, subset: Subset) -> Collected:
        return self._collected.get((condition, subset), Collected(cases=[], hearings=[]))

    def _few(self) -> list[Subset]:
        """The whole rig, and each sensor alone that can place something."""
        singles = [(kind,) for kind in self.kinds if can_place((kind,))]
        return [self.kinds, *(single for single in singles if single != self.kinds)]

    def _corrupted(self) -> dict[str, dict[str, float]]:
        count = len(self._perception.model.file.classes)
        found: dict[str, dict[str, float]] = {}
        for (condition, subset), collected in self._collected.items():
            if condition != CLEAN:
                figure = map_2m(collected.cases, count)
                found.setdefault(condition, {})[subset_name(subset)] = figure
        return found

    def _explain(self, answers: dict[Subset, Answer]) -> None:
        """Shares of the sensors in right detections that are worth publishing."""
        if len(answers) < len(subsets_of(self.kinds)):
            return
        full, file = answers[self.kinds], self._perception.model.file
        shares = shapley_scores(answers, self.kinds)
        outcome = self._collected[CLEAN, self.kinds].cases[-1].outcome
        for number, name in enumerate(file.classes):
            rows = np.flatnonzero((full.labels == number) & (full.scores >= LEAST_SCORE))
            rows = rows[np.argsort(-full.scores[rows], kind="stable")]  # as `match` has them
            is_hit = match([outcome], number, PAIR_LIMIT_M).truth >= 0
            for row in rows[is_hit & (full.scores[rows] >= file.thresholds.normal)].tolist():
                parts = shares[row] / full.scores[row]
                self._shares.setdefault(name, []).append(tuple(parts.tolist()))

    def _keep_example(self, example: Example) -> None:
        moment = example.moment
        richness = sum(label.points > 20 for label in moment.labels)
        sorts = {
            "siren": bool(moment.sirens),
            "night": moment.conditions.is_night,
            "wet": moment.conditions.rain_mm_h > 0 or moment.conditions.visibility_m < 400,
            "clear": not moment.conditions.is_night and moment.conditions.rain_mm_h == 0,
        }
        for sort, is_so in sorts.items():
            if is_so and richness > self._richest.get(sort, (-1, None))[0]:
                self._richest[sort] = (richness, example)


def evaluate(
    perception: Perception,
    shown: Iterable[Shown],
    subsets: Sequence[Subset] | None = None,
    step: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Ask about everything; `step` is called after each moment."""
    evaluation = Evaluation(perception, subsets)
    for one in shown:
        evaluation.add(one)
        step()
    return evaluation
