"""Plans: a pure function of manifests, mixtures, seed and capacity, at home at every position."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.mixture import Mixture, MixtureSource, Stretch, choose
from step3vl.data.plan import Cursor, Item, Pack, Plan
from step3vl.data.rows import Rows

CAPACITY = 100


class MadeIndex:
    """An index that exists nowhere: rows of seeded lengths, made a shard at a time; a row starts at its number."""

    def __init__(self, shards: list[int], low: int, high: int, documents: bool = True) -> None:
        self.rows = np.array(shards, np.int64)
        self._low, self._high, self._documents = low, high, documents

    def shard(self, number: int, capacity: int) -> Rows:
        count = int(self.rows[number])
        places = np.arange(count)
        lengths = np.random.default_rng(number).integers(self._low, self._high + 1, count)
        documents = np.full(count, self._documents)
        return Rows(places, lengths, places, places, np.zeros(count, np.int32), ["made"], documents, {})


INDEXES = {
    "short": MadeIndex([300, 41, 7, 0, 90], 3, 40),
    "long": MadeIndex([120, 200], 30, 100),
    "whole": MadeIndex([64, 64, 64], 100, 100),  # a sample fills a pack
    "longer": MadeIndex([50, 50], 20, 450),
    "talk": MadeIndex([50, 50], 20, 450, documents=False),
}


def made(**weights: float) -> tuple[MixtureSource, ...]:
    return tuple(MixtureSource(dataset=name, weight=weight) for name, weight in weights.items())


def plan_of(*stretches: Any, seed: int = 0, **options: Any) -> Plan:
    """Of made indexes. A stretch is sources, or (sources, {"tokens": …} or {"packs": …})."""
    parts = [part if isinstance(part[0], tuple) else (part, {}) for part in stretches]
    made_of = [Stretch(Mixture(sources=sources), **budget) for sources, budget in parts]
    return Plan(made_of, CAPACITY, seed, open_index=lambda source: INDEXES[source.dataset], **options)


def rows(pack: Pack) -> tuple[int, int, list[Item]]:
    return pack.number, pack.length, list(pack.items)


KINDS: dict[str, Callable[[], Plan]] = {
    "single": lambda: plan_of(made(short=1), window=64),
    "mixture": lambda: plan_of(made(short=5, long=3, whole=1), window=64),
    "mixture of whole packs": lambda: plan_of(made(whole=2, long=1), window=16),
    "stretches": lambda: plan_of(
        (made(short=1, long=1), {"tokens": 9_000}), (made(long=3, whole=1), {"packs": 40}), made(short=1), group=4
    ),
    "spent": lambda: plan_of(
        (*(s.model_copy(update={"epochs": 1}) for s in made(short=3)), *made(long=1, whole=1)), window=128
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@given(start=st.integers(0, 350))
@settings(max_examples=8)
def test_a_plan_goes_on_from_any_pack_and_from_its_cursor(kind: str, start: int) -> None:
    plan = KINDS[kind]()
    walk = plan.packs()
    for _ in range(start):
        next(walk)
    cursor = Cursor.model_validate_json(walk.cursor.model_dump_json())
    assert cursor.packs == start
    expected = [rows(pack) for pack in islice(walk, 30)]
    assert [rows(pack) for pack in islice(plan.packs(start), 30)] == expected
    again = KINDS[kind]().packs(cursor)
    assert again.cursor == cursor, "a cursor does not change by being used"
    assert [rows(pack) for pack in islice(again, 30)] == expected
    assert again.cursor == walk.cursor


def test_an_epoch_holds_every_row_once_and_the_next_one_in_another_order() -> None:
    walk = plan_of(made(short=1), window=64).packs()
    epochs: list[list[tuple[int, int]]] = []
    for epoch in (0, 1):
        seen = []
        while walk.cursor.streams[0].epoch == epoch:
            seen += [(item.shard, item.offset) for item in next(walk).items]
        epochs.append(seen)
    everything = [(shard, row) for shard, count in enumerate([300, 41, 7, 0, 90]) for row in range(count)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == everything
    assert epochs[0] != epochs[1]


def test_seed_changes_the_order_and_nothing_else() -> None:
    one, two = ([rows(p) for p in islice(plan_of(made(whole=1), seed=seed).packs(), 192)] for seed in (0, 1))
    assert one != two
    assert {items[0].offset for _, _, items in one} == {items[0].offset for _, _, items in two} == set(range(64))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=9), st.integers(0, 2**32))
@settings(max_examples=60)
def test_no_source_is_ever_a_pack_away_from_its_share(weights: list[int], seed: int) -> None:
    """Whatever the weights and the lengths of the packs."""
    generator = np.random.default_rng(seed)
    shares = [weight / sum(weights) for weight in weights]
    smallest = generator.integers(1, CAPACITY, len(weights))
    drawn, total = [0] * len(weights), 0
    following = [int(generator.integers(low, CAPACITY + 1)) for low in smallest]
    for _ in range(400):
        source = choose(shares, drawn, following, CAPACITY)
        drawn[source] += following[source]
        total += following[source]
        following[source] = int(generator.integers(smallest[source], CAPACITY + 1))
        assert all(abs(d - share * total) < CAPACITY for d, share in zip(drawn, shares, strict=True))


@given(st.lists(st.floats(0.01, 10), min_size=3, max_size=3), st.integers(0, 50))
@settings(max_examples=15)
def test_tokens_of_a_mixture_follow_the_weights_after_any_number_of_packs(weights: list[float], seed: int) -> None:
    plan = plan_of(made(short=weights[0], long=weights[1], whole=weights[2]), seed=seed, window=64)
    tokens = [0, 0, 0]
    for pack in islice(plan.packs(), 300):
        assert pack.length == sum(item.length for item in pack.items) <= CAPACITY
        assert {item.source for item in pack.items} == {pack.source}
        tokens[pack.source] += pack.length
        for count, weight in zip(tokens, weights, strict=True):
            assert abs(count - weight / sum(weights) * sum(tokens)) < CAPACITY


def test_a_spent_source_leaves_its_share_to_the_others() -> None:
    walk, tokens, shares = KINDS["spent"]().packs(), [0, 0, 0], [3 / 5, 1 / 5, 1 / 5]
    spent_at = 0
    for pack in islice(walk, 600):
        if not spent_at and walk.cursor.streams[0].epoch == 1:
            spent_at, tokens, shares = pack.number, [0, 0, 0], [0, 1 / 2, 1 / 2]
            continue
        tokens[pack.source] += pack.length
        assert all(abs(t - share * sum(tokens)) < CAPACITY for t, share in zip(tokens, shares, strict=True))
    assert 50 < spent_at < 500
    assert walk.cursor.streams[0].samples == 438


def test_a_plan_whose_sources_are_all_spent_ends() -> None:
    once = tuple(source.model_copy(update={"epochs": 2}) for source in made(short=1, whole=1))
    walk = plan_of(once).packs()
    assert sum(len(pack) for pack in walk) == 2 * (438 + 192)
    assert walk.cursor.stretch == 1
    assert next(walk, None) is None
    assert list(plan_of(once).packs(walk.cursor.packs + 5)) == []


def test_a_stretch_ends_with_the_step_that_reaches_its_tokens() -> None:
    walk = KINDS["stretches"]().packs()
    packs = list(islice(walk, 200))
    numbers = [[pack.number for pack in packs if pack.stretch == stretch] for stretch in (0, 1, 2)]
    assert len(numbers[0]) % 4 == 0
    tokens = [pack.length for pack in packs if pack.stretch == 0]
    assert sum(tokens[:-4]) < 9_000 <= sum(tokens)
    assert len(numbers[1]) == 40
    assert {pack.source for pack in packs if pack.stretch == 1} == {1, 2}


def test_a_later_stretch_goes_on_where_an_earlier_one_stopped() -> None:
    plan = plan_of((made(whole=1), {"packs": 50}), made(whole=1, short=1))
    taken = [
        item.offset + 64 * item.shard for pack in islice(plan.packs(), 400) for item in pack.items if not item.source
    ]
    assert len(plan.sources) == 2
    assert len(set(taken[:192])) == 192, "no row comes twice before all have come once"


def test_a_slice_of_few_rows_fills_its_windows_all_the_same() -> None:
    index = MadeIndex([5_000] * 40, 10, 60)

    class Sparse:
        rows = index.rows

        def shard(self, number: int, capacity: int) -> Rows:
            whole = index.shard(number, capacity)
            few = np.flatnonzero(np.random.default_rng(number).random(5_000) < 0.02)
            arrays = (whole.lengths, whole.offsets, whole.sizes, whole.tasks)
            return Rows(few, *(array[few] for array in arrays), whole.names, whole.documents[few], {})

    source = MixtureSource(dataset="sparse", epochs=1)
    plan = Plan([Stretch(Mixture(sources=(source,)))], CAPACITY, 0, window=1_000, open_index=lambda source: Sparse())
    walk = plan.packs()
    tokens = sum(pack.length for pack in walk)
    state = walk.cursor.streams[0]
    expected = [Sparse().shard(number, 0) for number in range(40)]
    assert tokens == state.tokens == sum(int(rows.lengths.sum()) for rows in expected)
    assert state.samples == sum(len(rows.numbers) for rows in expected)
    assert state.tokens / (state.packs * CAPACITY) > 0.99


def test_samples_longer_than_a_pack_are_dropped_truncated_or_split_and_counted() -> None:
    totals = {}
    for policy in ("drop", "truncate", "split"):
        source = MixtureSource(dataset="longer", epochs=1, oversize=policy)
        walk = plan_of((source,)).packs()
        items = [item for pack in walk for item in pack.items]
        totals[policy] = sum(item.length for item in items), walk.cursor.streams[0]
    lengths = np.concatenate([INDEXES["longer"].shard(shard, 0).lengths for shard in (0, 1)])
    long = lengths[lengths > CAPACITY]
    for tokens, state in totals.values():
        assert state.oversized == len(long)
        assert tokens + state.lost_tokens == lengths.sum(), "every token is planned or counted as lost"
    assert totals["drop"][1].lost_tokens == long.sum()
    assert totals["truncate"][1].lost_tokens == (long - CAPACITY).sum()
    assert totals["split"][1].lost_tokens == 0


def test_conversations_are_not_split() -> None:
    split, dropped = (
        [rows(pack) for pack in plan_of((MixtureSource(dataset="talk", epochs=1, oversize=policy),)).packs()]
        for policy in ("split", "drop")
    )
    assert split == dropped


def correlation(order: list[int]) -> float:
    """Spearman's: `order` is a permutation."""
    return float(np.corrcoef(order, np.arange(len(order)))[0, 1])


def test_the_order_of_sorted_rows_is_nearly_as_good_as_a_global_permutation() -> None:
    shards, each = 96, 512
    index = MadeIndex([each] * shards, 100, 100)
    plan = Plan([Stretch(Mixture(sources=made(sorted=1)))], CAPACITY, 0, open_index=lambda source: index)
    order = [item.shard * each + item.offset for pack in islice(plan.packs(), shards * each) for item in pack.items]
    assert sorted(order) == list(range(shards * each))
    neighbours = np.mean(np.diff(np.array(order) // each) == 0)
    permuted = np.random.default_rng(0).permutation(shards * each)
    assert abs(correlation(order)) < 0.15, "a global permutation of as many rows stays below 0.02"
    assert abs(correlation(permuted.tolist())) < 0.02
    assert neighbours < 0.1, "a global permutation has 1/96, the order on disk 511/512"


def test_few_shards_are_open_at_a_time() -> None:
    index, opened = MadeIndex([512] * 96, 100, 100), []

    class Watched:
        rows = index.rows

        def shard(self, number: int, capacity: int) -> Rows:
            opened.append(number)
            return index.shard(number, capacity)

    plan = Plan([Stretch(Mixture(sources=made(sorted=1)))], CAPACITY, 0, open_index=lambda source: Watched())
    opened.clear()
    for _ in islice(plan.packs(), 96 * 512):
        pass
    assert sorted(opened[:96]) == list(range(96)), "each index is read once an epoch"


# Over a committed dataset.


def once(dataset: Dataset, *modalities: str) -> list[Stretch]:
    sources = (MixtureSource.model_validate({"dataset": dataset.url, "modality": m, "epochs": 1}) for m in modalities)
    return [Stretch(Mixture(sources=tuple(sources)))]


def test_an_epoch_of_a_dataset_is_its_index(dataset: Dataset) -> None:
    plan = Plan(once(dataset, "image", "text"), 256, seed=0)
    items = [item for pack in plan.packs() for item in pack.items]
    assert all(("counting" in item.task) == (item.source == 0) for item in items)
    table = dataset.index(["text_tokens", "image_tokens", "offset", "task"], split="train")
    columns = (table[name].to_pylist() for name in ("shard", "offset", "text_tokens", "image_tokens", "task"))
    expected = sorted(
        (shard - 2, offset, text + image, task) for shard, offset, text, image, task in zip(*columns, strict=True)
    )
    assert sorted((item.shard, item.offset, item.length, item.task) for item in items) == expected
    for item in items[::10]:
        tokens = plan.read(item).tokens
        assert tokens is not None
        assert tokens.total == item.length


def test_source_without_samples_is_a_clear_error(dataset: Dataset) -> None:
    nothing = Mixture(sources=(MixtureSource(dataset=dataset.url, task="gui.*"),))
    with pytest.raises(UserError, match=r"no sample of .*gui.* fits a pack of 256"):
        Plan([Stretch(nothing)], 256, seed=0)
    with pytest.raises(UserError, match="although 62 longer ones are there"):
        Plan(once(dataset, "image"), 5, seed=0)
