"""The arithmetic behind every figure of the reports."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.grading import best_constant, estimate, paired_difference

scores = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(scores)
def test_estimate_is_the_mean_and_its_standard_error(values: list[float]) -> None:
    result = estimate(values)
    assert result.mean == pytest.approx(statistics.fmean(values))
    spread = statistics.stdev(values)
    expected = spread / math.sqrt(len(values)) if spread > 1e-6 else pytest.approx(result.se)
    assert result.se == pytest.approx(expected)
    assert result.se > 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_values_are_as_uncertain_as_if_one_had_come_out_the_other_way(value: float) -> None:
    almost = estimate([value] * 99 + [1 - value])
    assert estimate([value] * 100).se == pytest.approx(almost.se, rel=1e-6)


def test_single_value_has_an_error_of_1() -> None:
    assert estimate([0.5]) == (0.5, 1.0)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@given(scores)
def test_paired_difference_is_the_difference_of_the_means(before: list[float]) -> None:
    after = [1 - value for value in before]
    difference = estimate(after).mean - estimate(before).mean
    assert paired_difference(before, after).mean == pytest.approx(difference, abs=1e-12)


def test_pairing_sees_a_gain_that_unpaired_scatter_hides() -> None:
    before = [0.0, 1.0] * 50
    after = [value + 0.01 + 0.001 * (index % 3) for index, value in enumerate(before)]
    assert paired_difference(before, after).z > 50
    assert estimate(after).se > paired_difference(before, after).mean


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1.0], [1.0, 0.0])


def test_distance_from_chance_is_in_standard_errors() -> None:
    result = estimate([1.0, 0.0, 1.0, 1.0])
    assert (result - 0.25).z == pytest.approx((0.75 - 0.25) / result.se)


def test_chance_is_the_best_constant_on_the_prompts() -> None:
    truths = ["a", "b", "b", "c"]
    constant = best_constant("abcd", [lambda answer, truth=truth: float(answer == truth) for truth in truths])
    assert constant == ("b", 0.5)
    with pytest.raises(ValueError, match="no candidates"):
        best_constant([], [])
