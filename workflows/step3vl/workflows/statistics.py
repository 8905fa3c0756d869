"""Means with standard errors, paired differences and the level of chance: pure arithmetic on scores in 0..1."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean over prompts and its standard error."""

    mean: float
    se: float

    def __sub__(self, level: float) -> "Estimate":
        """The distance to a fixed level, which has no error of its own."""
        return Estimate(self.mean - level, self.se)

    @property
    def z(self) -> float:
        """The mean in standard errors; 0 for a mean of exactly 0."""
        return self.mean / self.se if self.mean else 0.0


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of n values and its standard error, std / sqrt(n) with n - 1 degrees of freedom.

    Where all values are equal the sample says nothing of its spread; the error is then 1 / n, what it would be had one
    answer come out the other way. Raises ValueError for no values.
    """
    count = len(values)
    if not count:
        raise ValueError("no values to average")
    mean = math.fsum(values) / count
    spread = math.fsum((value - mean) ** 2 for value in values)
    if count == 1 or spread < 1e-18 * count:
        return Estimate(mean, 1 / count)
    return Estimate(mean, math.sqrt(spread / (count - 1) / count))


def paired(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """The mean gain on the same prompts and its standard error. Raises ValueError for unequal lengths."""
    return estimate([two - one for one, two in zip(before, after, strict=True)])


class Constant(NamedTuple):
    """The one answer that scores best when it is given to every prompt."""

    answer: str
    mean: float


def best_constant(candidates: Iterable[str], score: Sequence[Callable[[str], float]]) -> Constant:
    """Chance level: the candidate with the best mean over the prompts, each given as its scoring function.

    It is chosen on the very prompts that it is scored on, which flatters it: a model that beats it has beaten more
    than guessing. Of equal candidates the first wins. Raises ValueError for none.
    """
    best: Constant | None = None
    for answer in candidates:
        mean = math.fsum(one(answer) for one in score) / len(score)
        if best is None or mean > best.mean:
            best = Constant(answer, mean)
    if best is None:
        raise ValueError("no candidates for a constant answer")
    return best
