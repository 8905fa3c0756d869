"""Pairs of samples that share a key."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.curation.candidates import KEY, bucket_pairs
from step3vl.pipelines.curation.exchange import deal, distinct


def rows_of(buckets: dict[int, list[int]]) -> np.ndarray:
    return np.array([(key, node) for key, nodes in buckets.items() for node in nodes], KEY)


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(high, low) for high, low in pairs.tolist()}


@settings(max_examples=30)
@given(st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 20), max_size=9), max_size=4))
def test_all_pairs_of_small_buckets(buckets: dict[int, list[int]]) -> None:
    pairs, hot = bucket_pairs(rows_of(buckets), 9)
    expected = {(max(pair), min(pair)) for nodes in buckets.values() for pair in combinations(set(nodes), 2)}
    assert as_set(pairs) == expected
    assert len(pairs) == len(expected)
    assert hot == 0


def test_a_hot_bucket_makes_a_star_and_a_chain() -> None:
    pairs, hot = bucket_pairs(rows_of({7: list(range(10)), 8: [3, 4]}), 4)
    assert as_set(pairs) == {(i, 0) for i in range(1, 10)} | {(i + 1, i) for i in range(9)}
    assert hot == 1


def test_a_bucket_of_a_million_is_linear() -> None:
    pairs, _ = bucket_pairs(rows_of({1: list(range(100_000))}), 16)
    assert len(pairs) == 2 * 99_999 - 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_distinct_rows_are_sorted_and_each_once(rows: list[tuple[int, int]]) -> None:
    assert [tuple(row) for row in distinct(np.array(rows, KEY)).tolist()] == sorted(set(rows))


def test_equal_keys_go_to_one_partition() -> None:
    rows = np.array([(key, node) for node in range(5) for key in range(100)], KEY)
    seen: dict[int, int] = {}
    total = 0
    for number, part in deal(rows, rows["key"], 7):
        total += len(part)
        for key in part["key"].tolist():
            assert seen.setdefault(key, number) == number
    assert total == len(rows)
    assert len(set(seen.values())) == 7
