"""Means with standard errors, paired differences and the level of chance: pure arithmetic on values in 0..1."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean and its standard error."""

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
    """Estimate a mean and its standard error, the sample deviation (n - 1 degrees of freedom) over the root of n.

    The values must be independent of each other: several samples of one prompt are averaged first, and count as one.
    Where all values are equal, the sample says nothing of its spread; the error is then 1 / n, what it would be had
    one answer come out the other way.

    Args:
        values: n >= 1 values in 0..1, or differences of such values.

    Raises:
        ValueError: there are no values.
    """
    count = len(values)
    if not count:
        raise ValueError("no values to average")
    mean = math.fsum(values) / count
    spread = math.fsum((value - mean) ** 2 for value in values)
    if count == 1 or spread < 1e-18 * count:
        return Estimate(mean, 1 / count)
    return Estimate(mean, math.sqrt(spread / (count - 1) / count))


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Estimate the mean gain on the same prompts.

    Args:
        before: a value for each prompt.
        after: a value for each of the same prompts, in the same order.

    Raises:
        ValueError: the lengths differ, or there are no values.
    """
    return estimate([new - old for old, new in zip(before, after, strict=True)])


class Constant(NamedTuple):
    """The one answer that scores best when it is given to every prompt, and its mean value."""

    answer: str
    mean: float


def best_constant(candidates: Iterable[str], score: Sequence[Callable[[str], float]]) -> Constant:
    """Find the level of chance: the candidate with the best mean over the prompts; of equal ones the first.

    It is chosen on the very prompts that it is scored on, which flatters it: a model that beats it has beaten more
    than guessing.

    Args:
        candidates: answers to try.
        score: for each prompt, the function from an answer to its value.

    Raises:
        ValueError: there are no candidates.
    """
    best: Constant | None = None
    for answer in candidates:
        mean = math.fsum(value_of(answer) for value_of in score) / len(score)
        if best is None or mean > best.mean:
            best = Constant(answer, mean)
    if best is None:
        raise ValueError("no candidates for a constant answer")
    return best
