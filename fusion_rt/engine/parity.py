"""After a conversion: how far a network's answers are from those of its fp32 original."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.engine.engine import Engine
from fusion_rt.engine.open import open_engine

Sample = dict[str, AnyArray]


@dataclass(frozen=True)
class Parity:
    """Of one output, over all samples: largest difference, that as a share of the largest value,
    and the mean cosine between the two answers.
    """

    output: str
    largest: float
    relative: float
    cosine: float


def random_samples(inputs: Iterable[TensorSpec], count: int, seed: int = 0) -> list[Sample]:
    """Bytes over their whole range, all else standard normal: enough to see a broken graph."""
    rng = np.random.default_rng(seed)
    specs = list(inputs)
    return [{spec.name: _random(rng, spec) for spec in specs} for _ in range(count)]


def parity(reference: Path, converted: Path, samples: list[Sample] | None = None) -> list[Parity]:
    """Run both on the CPU with the same inputs (random ones, if there are no real ones)."""
    with open_engine(reference, "onnxruntime") as a, open_engine(converted, "onnxruntime") as b:
        return compare(a, b, samples or random_samples(a.inputs.values(), 4))


def compare(reference: Engine, other: Engine, samples: list[Sample]) -> list[Parity]:
    """The same, of two engines that are open; inputs are cast to what each of them takes."""
    pairs: dict[str, list[tuple[AnyArray, AnyArray]]] = {name: [] for name in reference.outputs}
    for sample in samples:
        expected = _answers(reference, sample)
        got = _answers(other, sample)
        for name, collected in pairs.items():
            collected.append((expected[name], got[name]))
    return [_parity(name, collected) for name, collected in pairs.items()]


def _answers(engine: Engine, sample: Sample) -> Sample:
    inputs = {
        name: np.ascontiguousarray(sample[name], spec.dtype) for name, spec in engine.inputs.items()
    }
    return {name: array.astype(np.float64) for name, array in engine.run(inputs).items()}


def _parity(name: str, pairs: list[tuple[AnyArray, AnyArray]]) -> Parity:
    largest = max(float(np.abs(a - b).max(initial=0)) for a, b in pairs)
    scale = max(float(np.abs(a).max(initial=0)) for a, _ in pairs)
    cosines = [_cosine(a.ravel(), b.ravel()) for a, b in pairs]
    return Parity(name, largest, largest / scale if scale else largest, float(np.mean(cosines)))


def _cosine(a: AnyArray, b: AnyArray) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else float((a == b).all())


def _random(rng: np.random.Generator, spec: TensorSpec) -> AnyArray:
    if spec.dtype.kind in "ui":
        top = 256 if spec.dtype == np.uint8 else 2
        return rng.integers(0, top, spec.shape).astype(spec.dtype)
    return rng.normal(size=spec.shape).astype(spec.dtype)
