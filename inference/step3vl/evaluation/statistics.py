"""Standard errors of any metric, from random halves of the groups of items.

A benchmark's number is often no mean over items: a worst case over variants, a mean of categories, a share of groups
of questions that are all right. Resampling with replacement, as the bootstrap does, would give such metrics the same
group twice. Halves have no group twice, and need no correction: the variance of a mean over a half of n values, taken
without replacement, is that of the mean over all n (the delete-d jackknife with d = n / 2; Shao and Wu, Annals of
Statistics 17, 1989).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.item import Scored

HALVES = 200
"""Random halves; the standard error is then right to five percent."""
_SEED = 0


@dataclass(frozen=True)
class StandardErrors:
    """The standard errors of a run's numbers, in their unit.

    Args:
        headline: Of the headline; None with fewer than two groups.
        categories: Of the headline by category. One that some half has no item of is too small for an error: None.
    """

    headline: float | None
    categories: Mapping[str, float | None] = field(default_factory=dict)


def standard_errors(benchmark: Benchmark, scored: Sequence[Scored], halves: int = HALVES) -> StandardErrors:
    """The standard errors of a benchmark's headline and of its categories."""
    groups = _indices_by_cluster(scored)
    values: list[float] = []
    categories: list[Mapping[str, float]] = []
    for half in _halves(len(groups), halves):
        metrics = benchmark.summarise([scored[index] for index in _indices(groups, half)])
        values.append(metrics.value)
        categories.append(metrics.categories)
    names = dict.fromkeys(name for by_name in categories for name in by_name)
    return StandardErrors(
        _spread(values, len(groups)),
        {
            name: _spread([by_name[name] for by_name in categories], len(groups))
            if all(name in by_name for by_name in categories)
            else None
            for name in names
        },
    )


def difference_error(
    benchmark: Benchmark, before: Sequence[Scored], after: Sequence[Scored], halves: int = HALVES
) -> float | None:
    """The standard error of the difference of two runs' headlines, over the same groups of items.

    Args:
        benchmark: The benchmark.
        before: Responses of a run.
        after: Responses of another run, to the same items.
        halves: How many random halves.
    """
    groups = _indices_by_cluster((*before, *after))
    values = []
    for half in _halves(len(groups), halves):
        indices = _indices(groups, half)
        first = [before[index] for index in indices if index < len(before)]
        second = [after[index - len(before)] for index in indices if index >= len(before)]
        values.append(benchmark.summarise(second).value - benchmark.summarise(first).value)
    return _spread(values, len(groups))


def _indices_by_cluster(scored: Sequence[Scored]) -> list[np.ndarray]:
    """The places of the responses of each cluster: all those to an item, and to the items that share its group."""
    _, codes = np.unique(np.asarray([each.item.cluster for each in scored]), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if scored else []


def _halves(count: int, halves: int) -> Iterator[np.ndarray]:
    """Random halves of `count` groups; none of fewer than two."""
    random = np.random.default_rng(_SEED)
    for _ in range(halves if count > 1 else 0):
        yield np.sort(random.permutation(count)[: count // 2])


def _indices(groups: Sequence[np.ndarray], half: np.ndarray) -> list[int]:
    return np.sort(np.concatenate([groups[index] for index in half])).tolist()


def _spread(values: Sequence[float], groups: int) -> float | None:
    """The standard deviation of a number over random halves of groups, which is its standard error over all."""
    if not values:
        return None
    size = groups // 2
    return float(np.std(values, ddof=1)) * math.sqrt(size / (groups - size))  # the factor is 1 for an even count
