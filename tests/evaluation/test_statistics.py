"""Standard errors agree with the closed form and with a bootstrap over groups."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from step3vl.evaluation.item import Item, Metrics, Score, Scored, mean_percent
from step3vl.evaluation.statistics import difference_error, standard_errors


class Mean:
    """A benchmark as far as statistics need one."""

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        return Metrics("accuracy", {"accuracy": mean_percent(scored)})


def scores(values: np.ndarray, group_size: int = 1) -> list[Scored]:
    return [
        Scored(Item(f"{n}", (), None, group=f"g{n // group_size}"), Score.of(bool(value), None))
        for n, value in enumerate(values)
    ]


def test_independent_items_have_the_error_of_a_mean() -> None:
    values = np.random.default_rng(1).random(400) < 0.3
    expected = 100 * values.std(ddof=1) / math.sqrt(len(values))
    assert standard_errors(Mean(), scores(values), halves=2000).headline == pytest.approx(expected, rel=0.06)


def test_items_of_a_group_count_as_a_cluster() -> None:
    random = np.random.default_rng(2)
    rates = random.random(60)  # the items of a group are alike
    values = random.random((60, 5)) < rates[:, None]
    measured = standard_errors(Mean(), scores(values.ravel(), 5), halves=2000).headline
    resamples = random.integers(0, 60, (20_000, 60))
    bootstrap = 100 * values.mean(axis=1)[resamples].mean(axis=1).std()
    assert measured == pytest.approx(bootstrap, rel=0.06)
    assert measured > 1.3 * standard_errors(Mean(), scores(values.ravel()), halves=2000).headline


def test_the_error_of_a_difference_is_paired() -> None:
    random = np.random.default_rng(3)
    before = random.random(300) < 0.5
    after = before ^ (random.random(300) < 0.1)
    expected = 100 * (after.astype(int) - before.astype(int)).std(ddof=1) / math.sqrt(300)
    measured = difference_error(Mean(), scores(before), scores(after), halves=2000)
    assert measured == pytest.approx(expected, rel=0.06)


def test_a_single_group_has_no_error() -> None:
    assert standard_errors(Mean(), scores(np.ones(3), 3)).headline is None
    assert standard_errors(Mean(), []).headline is None
    assert standard_errors(Mean(), scores(np.ones(4))).headline == 0.0
