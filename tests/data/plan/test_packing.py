"""Packing and cutting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.plan.packing import best_fit, cut


def loads(lengths: list[int] | np.ndarray, packs: np.ndarray) -> list[int]:
    return np.bincount(packs, lengths).astype(int).tolist() if len(packs) else []


def one_by_one(lengths: list[int], capacity: int) -> list[int]:
    """Best fit decreasing as it is defined: the free space of each pack, sorted."""
    free: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in free if space >= length]
        space = min(fitting) if fitting else capacity
        if fitting:
            free.remove(space)
        free.append(space - length)
    return sorted(free)


@given(st.lists(st.integers(1, 100), max_size=300))
def test_every_sample_has_one_pack_within_the_capacity(lengths: list[int]) -> None:
    packs = best_fit(lengths, 100)
    assert len(packs) == len(lengths)
    totals = loads(lengths, packs)
    assert all(0 < load <= 100 for load in totals), "numbered without a gap"
    assert sum(totals) == sum(lengths)


@given(st.lists(st.integers(1, 60) | st.sampled_from([7, 20, 34]), max_size=200))
def test_packs_equal_a_naive_best_fit_decreasing(lengths: list[int]) -> None:
    assert sorted(60 - load for load in loads(lengths, best_fit(lengths, 60))) == one_by_one(lengths, 60)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=300))
def test_no_two_packs_fit_into_one(lengths: list[int]) -> None:
    totals = sorted(loads(lengths, best_fit(lengths, 100)))
    assert len(totals) < 2 or totals[0] + totals[1] > 100


def test_packs_of_realistic_lengths_are_nearly_full() -> None:
    generator = np.random.default_rng(0)
    lengths = np.minimum(171 + 83 * generator.poisson(6, 1000) + generator.integers(20, 800, 1000), 4096)
    packs = best_fit(lengths, 4096)
    assert lengths.sum() / ((packs.max() + 1) * 4096) > 0.98


def test_length_that_cannot_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="length 101 does not fit"):
        best_fit([5, 101], 100)
    with pytest.raises(ValueError, match="length 0 does not fit"):
        best_fit([5, 0], 100)


@given(st.integers(101, 1000), st.integers(0, 50))
def test_pieces_cover_a_sample_once_and_fit_wherever_its_images_are(length: int, image: int) -> None:
    pieces = cut(length, image, 100)
    assert [piece.begin for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == length
    for piece in pieces:
        # At worst an image spans the beginning: then the piece starts with all of it.
        earliest = piece.begin - max(image - 1, 0) if piece.begin else 0
        assert piece.end - earliest <= piece.length <= 100


def test_sample_with_an_image_of_more_than_half_a_pack_is_not_cut() -> None:
    assert cut(300, 51, 100) == []
    assert len(cut(300, 50, 100)) == 6
