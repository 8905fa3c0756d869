"""The rule that chooses the source of the next pack."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.plan.mixture import choose_source

CAPACITY = 100


@given(st.lists(st.integers(1, 100), min_size=1, max_size=9), st.integers(0, 2**32))
@settings(max_examples=60)
def test_every_source_stays_within_a_pack_of_its_share(weights: list[int], seed: int) -> None:
    """Whatever the weights and the lengths of the packs."""
    generator = np.random.default_rng(seed)
    shares = [weight / sum(weights) for weight in weights]
    smallest = generator.integers(1, CAPACITY, len(weights))
    consumed, total = [0] * len(weights), 0
    following = [int(generator.integers(low, CAPACITY + 1)) for low in smallest]
    for _ in range(400):
        source = choose_source(shares, consumed, following, CAPACITY)
        consumed[source] += following[source]
        total += following[source]
        following[source] = int(generator.integers(smallest[source], CAPACITY + 1))
        assert all(abs(tokens - share * total) < CAPACITY for tokens, share in zip(consumed, shares, strict=True))
