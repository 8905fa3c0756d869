"""Packing laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.packing import best_fit


@given(st.lists(st.integers(1, 100), max_size=300))
def test_every_index_is_packed_once_within_capacity(lengths: list[int]) -> None:
    packs = best_fit(lengths, 100)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in pack) <= 100 for pack in packs)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=300))
def test_no_two_packs_could_have_been_one(lengths: list[int]) -> None:
    loads = sorted(sum(lengths[index] for index in pack) for pack in best_fit(lengths, 100))
    assert len(loads) < 2 or loads[0] + loads[1] > 100


def test_packs_of_realistic_lengths_are_nearly_full() -> None:
    generator = np.random.default_rng(0)
    lengths = np.minimum(171 + 83 * generator.poisson(6, 1000) + generator.integers(20, 800, 1000), 4096)
    packs = best_fit(lengths, 4096)
    assert lengths.sum() / (len(packs) * 4096) > 0.98


def test_sample_that_cannot_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="length 101 does not fit"):
        best_fit([5, 101], 100)
