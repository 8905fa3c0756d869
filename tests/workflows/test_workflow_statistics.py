"""The arithmetic behind every figure of the report."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.workflows.plots import smoothed
from step3vl.workflows.show import duration
from step3vl.workflows.statistics import best_constant, estimate, paired

scores = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(scores)
def test_an_estimate_is_the_mean_and_its_standard_error(values: list[float]) -> None:
    found = estimate(values)
    assert found.mean == pytest.approx(statistics.fmean(values))
    spread = statistics.stdev(values)
    expected = spread / math.sqrt(len(values)) if spread > 1e-6 else pytest.approx(found.se)
    assert found.se == pytest.approx(expected)
    assert found.se > 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_are_as_uncertain_as_one_other_answer(value: float) -> None:
    almost = estimate([value] * 99 + [1 - value])
    assert estimate([value] * 100).se == pytest.approx(almost.se, rel=1e-6)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@given(scores, st.randoms())
def test_a_paired_difference_is_that_of_the_means(before: list[float], chance: object) -> None:
    after = [1 - value for value in before]
    assert paired(before, after).mean == pytest.approx(estimate(after).mean - estimate(before).mean, abs=1e-12)


def test_pairing_sees_a_gain_that_unpaired_scatter_hides() -> None:
    before = [0.0, 1.0] * 50
    after = [value + 0.01 + 0.001 * (place % 3) for place, value in enumerate(before)]
    assert paired(before, after).z > 50
    assert estimate(after).se > paired(before, after).mean


def test_distance_from_chance_is_in_standard_errors() -> None:
    found = estimate([1.0, 0.0, 1.0, 1.0])
    assert (found - 0.25).z == pytest.approx((0.75 - 0.25) / found.se)


def test_chance_is_the_best_constant_on_the_prompts() -> None:
    truths = ["a", "b", "b", "c"]
    found = best_constant("abcd", [lambda answer, truth=truth: float(answer == truth) for truth in truths])
    assert found == ("b", 0.5)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 12))
def test_smoothing_is_the_mean_of_the_neighbours_that_there_are(values: list[float], span: int) -> None:
    line = smoothed(values, span)
    assert len(line) == len(values)
    for place, found in enumerate(line):
        near = values[max(place - span // 2, 0) : place + span // 2 + 1]
        assert found == pytest.approx(statistics.fmean(near), abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
