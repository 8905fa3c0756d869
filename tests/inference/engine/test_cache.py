"""The caches between requests: the longest cached prefix, and never more bytes than allowed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from step3vl.inference.engine import cache
from step3vl.inference.engine.cache import ImageCache, PrefixCache
from step3vl.inference.engine.cohort import KeyValues

TOKEN = 2 * 3 * 4  # bytes of one token below


def states(key: np.ndarray) -> list[KeyValues]:
    """Keys and values that say which tokens they belong to."""
    keys = torch.from_numpy(key).float()[None, None, :, None].repeat(1, 1, 1, 3)
    return [KeyValues(keys, -keys)]


keys = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(lambda ids: np.array(ids, np.int64))


@given(st.lists(keys, max_size=10), keys)
def test_the_longest_common_prefix_is_returned(cached, query) -> None:
    prefixes = PrefixCache(10**6)
    for key in cached:
        prefixes.put(key, states(key))

    def common(key: np.ndarray) -> int:
        equal = [token == expected for token, expected in zip(key, query[:-1], strict=False)]
        return equal.index(False) if False in equal else len(equal)

    expected = max(map(common, cached), default=0)
    prefix = prefixes.longest(query)
    assert prefixes.length(query) == expected
    if not expected:
        assert prefix is None
    else:
        assert prefix.length == expected
        assert prefix.layers[0].keys[0, 0, :, 0].tolist() == query[:expected].tolist()
        assert torch.equal(prefix.layers[0].values, -prefix.layers[0].keys)


@given(st.lists(keys, max_size=20), st.integers(0, 20))
def test_never_more_bytes_than_allowed(cached, tokens) -> None:
    prefixes = PrefixCache(tokens * TOKEN)
    for key in cached:
        prefixes.put(key, states(key))
        assert prefixes.held == sum(entry.size for entry in prefixes._entries.values()) <= prefixes.limit
        if len(key) <= tokens:
            assert prefixes.length(np.append(key, 9)) == len(key), "the newest stays"
    prefixes.clear()
    assert (prefixes.held, prefixes.longest(np.zeros(5, np.int64))) == (0, None)


def test_the_least_recently_used_prompt_is_evicted_first(monkeypatch) -> None:
    monkeypatch.setattr(cache, "MAX_PROMPTS", 2)
    prefixes = PrefixCache(10**6)
    first, second, third = (np.full(4, value, np.int64) for value in (1, 2, 3))
    prefixes.put(first, states(first))
    prefixes.put(second, states(second))
    prefixes.longest(np.append(first, 0))
    prefixes.put(third, states(third))
    assert [prefixes.length(np.append(key, 0)) for key in (first, second, third)] == [4, 0, 4]


def test_a_longer_prompt_replaces_its_prefix() -> None:
    prefixes = PrefixCache(10**6)
    long = np.arange(6)
    prefixes.put(long[:3], states(long[:3]))
    prefixes.put(long, states(long))
    assert prefixes.held == 6 * TOKEN
    assert prefixes.length(np.append(long[:3], 99)) == 3


def test_images_are_evicted_by_age_and_do_not_hold_their_batch() -> None:
    images = ImageCache(3 * 40)
    batch = torch.arange(40.0).view(4, 10)
    for name, features in enumerate(batch):
        if name == 3:
            assert torch.equal(images.get(0), batch[0])
        images.put(name, features)
    assert [images.get(name) is None for name in range(4)] == [False, True, False, False]
    assert images.held == 3 * 40
    assert images.get(2).untyped_storage().nbytes() == 40
    images.put(5, torch.zeros(31))
    assert images.get(5) is None, "what is larger than everything is not kept"
