"""Standard errors of any metric, from random halves of the groups of items.

A benchmark's number is often no mean over items: a worst case over variants, a mean of categories, a share of groups
of questions that are all right. Resampling with replacement, as the bootstrap does, would give such metrics the same
group twice. Halves have no group twice, and need no correction: the variance of a mean over a half of n values, taken
without replacement, is that of the mean over all n (the delete-d jackknife with d = n / 2; Shao and Wu, Annals of
Statistics 17, 1989).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.item import Scored

HALVES = 200
"""Random halves; the standard error is then right to five percent."""
_SEED = 0


def standard_error(benchmark: Benchmark, scored: Sequence[Scored], halves: int = HALVES) -> float | None:
    """The standard error of a benchmark's headline, in its unit; None with fewer than two groups."""
    groups = _indices_by_cluster(scored)
    return _spread_over_halves(
        groups, lambda half: benchmark.summarise([scored[index] for index in half]).value, halves
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

    def difference(half: list[int]) -> float:
        first = [before[index] for index in half if index < len(before)]
        second = [after[index - len(before)] for index in half if index >= len(before)]
        return benchmark.summarise(second).value - benchmark.summarise(first).value

    return _spread_over_halves(groups, difference, halves)


def _indices_by_cluster(scored: Sequence[Scored]) -> list[np.ndarray]:
    """The places of the responses of each cluster: all those to an item, and to the items that share its group."""
    _, codes = np.unique(np.asarray([each.item.cluster for each in scored]), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if scored else []


def _spread_over_halves(
    groups: Sequence[np.ndarray], statistic: Callable[[list[int]], float], halves: int
) -> float | None:
    """The standard deviation of a statistic over random halves of groups, which is its standard error over all."""
    count = len(groups)
    if count < 2:
        return None
    random = np.random.default_rng(_SEED)
    size = count // 2
    values = []
    for _ in range(halves):
        chosen = np.sort(random.permutation(count)[:size])
        values.append(statistic(np.sort(np.concatenate([groups[index] for index in chosen])).tolist()))
    scale = math.sqrt(size / (count - size))  # 1 for an even count
    return float(np.std(values, ddof=1)) * scale
