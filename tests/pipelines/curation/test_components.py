"""Stars beside SciPy's connected components."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from step3vl.pipelines.curation.candidates import edges_of
from step3vl.pipelines.curation.components import HALF, large_star, small_star

_EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def rounds(edges: np.ndarray) -> tuple[np.ndarray, int]:
    """The stars of edges, and after how many rounds nothing changed."""
    for number in range(1, 50):
        halves = np.empty(2 * len(edges), HALF)
        halves["node"] = np.concatenate([edges["high"], edges["low"]])
        halves["other"] = np.concatenate([edges["low"], edges["high"]])
        after = small_star(large_star(halves))
        if np.array_equal(after, edges):
            return edges, number
        edges = after
    raise AssertionError("no end")


def as_edges(pairs: list[tuple[int, int]]) -> np.ndarray:
    nodes = np.array([pair for pair in pairs if pair[0] != pair[1]], np.uint64).reshape(-1, 2)
    return edges_of(nodes[:, 0], nodes[:, 1])


@settings(max_examples=30)
@given(_EDGES)
def test_stars_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    edges = as_edges(pairs)
    stars, _ = rounds(edges)
    count = 31
    graph = coo_array((np.ones(len(edges)), (edges["high"].astype(int), edges["low"].astype(int))), (count, count))
    _, labels = connected_components(graph, directed=False)
    smallest = [int(np.flatnonzero(labels == label)[0]) for label in labels]
    root = list(range(count))
    for high, low in zip(stars["high"].tolist(), stars["low"].tolist(), strict=True):
        root[high] = low
    assert root == smallest


def test_a_path_takes_logarithmic_rounds() -> None:
    order = np.random.default_rng(0).permutation(4096).astype(np.uint64)
    stars, count = rounds(edges_of(order[1:], order[:-1]))
    assert len(stars) == 4095
    assert (stars["low"] == 0).all()
    assert count <= 2 * math.log2(4096)


def test_no_edge_is_added_between_what_is_apart() -> None:
    stars, _ = rounds(as_edges([(1, 2), (2, 3), (10, 11)]))
    assert [tuple(edge) for edge in stars.tolist()] == [(2, 1), (3, 1), (11, 10)]
