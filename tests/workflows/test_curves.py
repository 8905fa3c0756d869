import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.workflows.curves import running_mean


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 12))
def test_a_running_mean_averages_the_neighbours_that_exist(values: list[float], span: int) -> None:
    means = running_mean(values, span)
    assert len(means) == len(values)
    for index, mean in enumerate(means):
        neighbours = values[max(index - span // 2, 0) : index + span // 2 + 1]
        assert mean == pytest.approx(statistics.fmean(neighbours), abs=1e-9)
