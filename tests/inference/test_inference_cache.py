"""What is remembered between requests: the longest known beginning, and never more bytes than allowed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from step3vl.inference import cache
from step3vl.inference.cache import PictureCache, PrefixCache
from step3vl.inference.cohort import KeyValues

TOKEN = 2 * 3 * 4  # bytes of one token below


def states(key: np.ndarray) -> list[KeyValues]:
    """Keys and values that say which tokens they belong to."""
    keys = torch.from_numpy(key).float()[None, None, :, None].repeat(1, 1, 1, 3)
    return [KeyValues(keys, -keys)]


keys = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(lambda ids: np.array(ids, np.int64))


@given(st.lists(keys, max_size=10), keys)
def test_the_longest_common_beginning_is_found(known, wanted) -> None:
    prefixes = PrefixCache(10**6)
    for key in known:
        prefixes.put(key, states(key))

    def common(key: np.ndarray) -> int:
        equal = [one == other for one, other in zip(key, wanted[:-1], strict=False)]
        return equal.index(False) if False in equal else len(equal)

    expected = max(map(common, known), default=0)
    found = prefixes.longest(wanted)
    assert prefixes.length(wanted) == expected
    if not expected:
        assert found is None
    else:
        assert found.length == expected
        assert found.layers[0].keys[0, 0, :, 0].tolist() == wanted[:expected].tolist()
        assert torch.equal(found.layers[0].values, -found.layers[0].keys)


@given(st.lists(keys, max_size=20), st.integers(0, 20))
def test_never_more_bytes_than_allowed(known, tokens) -> None:
    prefixes = PrefixCache(tokens * TOKEN)
    for key in known:
        prefixes.put(key, states(key))
        assert prefixes.held == sum(entry.size for entry in prefixes._entries.values()) <= prefixes.limit
        if len(key) <= tokens:
            assert prefixes.length(np.append(key, 9)) == len(key), "the newest stays"
    prefixes.clear()
    assert (prefixes.held, prefixes.longest(np.zeros(5, np.int64))) == (0, None)


def test_the_least_recently_used_prompt_leaves_first(monkeypatch) -> None:
    monkeypatch.setattr(cache, "PROMPTS", 2)
    prefixes = PrefixCache(10**6)
    one, two, three = (np.full(4, value, np.int64) for value in (1, 2, 3))
    prefixes.put(one, states(one))
    prefixes.put(two, states(two))
    prefixes.longest(np.append(one, 0))
    prefixes.put(three, states(three))
    assert [prefixes.length(np.append(key, 0)) for key in (one, two, three)] == [4, 0, 4]


def test_a_longer_prompt_takes_the_place_of_its_beginning() -> None:
    prefixes = PrefixCache(10**6)
    long = np.arange(6)
    prefixes.put(long[:3], states(long[:3]))
    prefixes.put(long, states(long))
    assert prefixes.held == 6 * TOKEN
    assert prefixes.length(np.append(long[:3], 99)) == 3


def test_pictures_leave_by_age_and_do_not_hold_their_batch() -> None:
    pictures = PictureCache(3 * 40)
    batch = torch.arange(40.0).view(4, 10)
    for name, features in enumerate(batch):
        if name == 3:
            assert torch.equal(pictures.get(0), batch[0])
        pictures.put(name, features)
    assert [pictures.get(name) is None for name in range(4)] == [False, True, False, False]
    assert pictures.held == 3 * 40
    assert pictures.get(2).untyped_storage().nbytes() == 40
    pictures.put(5, torch.zeros(31))
    assert pictures.get(5) is None, "what is larger than everything is not kept"
