"""Partitions of a plan and their nodes: one sequence for any number of nodes, each of which reads its own shards."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.plan import Cursor, IndexRows, Mixture, MixtureSource, Plan, PlanPhase, deal, homes
from step3vl.data.plan.dealing import divided, partition_of, partition_order
from step3vl.data.plan.order import BLOCK_ROWS, EpochOrder

CAPACITY = 100


class MadeIndex:
    """Rows of seeded lengths; a row's offset is its number."""

    def __init__(self, shards: list[int], low: int, high: int) -> None:
        self.rows = np.array(shards, np.int64)
        self.samples = sum(shards)
        self._low, self._high = low, high

    def shard(self, number: int, capacity: int) -> IndexRows:
        count = int(self.rows[number])
        numbers = np.arange(count)
        lengths = np.random.default_rng(number).integers(self._low, self._high + 1, count)
        tasks, documents = np.zeros(count, np.int32), np.ones(count, bool)
        return IndexRows(numbers, lengths, numbers, numbers, tasks, ["made"], documents, {})

    def prefetch(self, numbers: list[int], capacity: int) -> None: ...


INDEXES = {
    "many": MadeIndex([2_000] * 20, 20, 90),  # 32 of 64 partitions
    "some": MadeIndex([5_000, 700, 3_000], 60, 100),  # 8
    "few": MadeIndex([300, 90], 10, 40),  # 1
}


def plan_of(partitions: int = 64, epochs: int | None = None, **weights: float) -> Plan:
    sources = tuple(MixtureSource(dataset=name, weight=weight, epochs=epochs) for name, weight in weights.items())
    phase = PlanPhase(Mixture(sources=sources))
    return Plan(
        [phase], CAPACITY, 3, window=1024, partitions=partitions, open_index=lambda source: INDEXES[source.dataset]
    )


@given(number=st.integers(0, 10**12), partitions=st.integers(1, 200))
@settings(max_examples=50)
def test_each_partition_has_one_of_so_many_packs(number: int, partitions: int) -> None:
    order = partition_order(number, partitions)
    assert sorted(order) == list(range(partitions))
    assert [partition_of(number * partitions + place, partitions) for place in range(partitions)] == list(order)


@given(number=st.integers(0, 10**6), nodes=st.sampled_from([1, 2, 4, 8, 16, 32, 64]), ranks=st.integers(1, 8))
def test_packs_of_a_power_of_two_of_nodes_are_all_read_at_home(number: int, nodes: int, ranks: int) -> None:
    packs = [partition_of(pack, 64) for pack in range(number * nodes * ranks, (number + 1) * nodes * ranks)]
    for node, places in enumerate(deal(packs, 64, nodes)):
        assert all(packs[place] % nodes == node for place in places)


@given(st.data())
def test_nodes_get_equal_parts_and_each_pack_has_one_node(data: st.DataObject) -> None:
    nodes, part, partitions = (data.draw(st.integers(1, most)) for most in (80, 6, 70))
    packs = data.draw(st.lists(st.integers(0, partitions - 1), min_size=nodes * part, max_size=nodes * part))
    dealt = deal(packs, partitions, nodes)
    assert [len(places) for places in dealt] == [part] * nodes
    assert sorted(place for places in dealt for place in places) == list(range(len(packs)))
    assert all(places == sorted(places) for places in dealt)
    for node, places in enumerate(dealt):
        visits = [place for place in places if node not in homes(packs[place], partitions, nodes)]
        at_home = [place for place, partition in enumerate(packs) if node in homes(partition, partitions, nodes)]
        assert not visits or nodes > partitions or set(at_home) <= set(places), "who visits has all of its own"


def test_two_sources_that_take_turns_do_not_go_to_two_nodes() -> None:
    by_node = Counter((partition_of(pack, 64) % 2, pack % 2) for pack in range(6400))
    assert min(by_node.values()) > 1400


@pytest.mark.parametrize(
    ("partitions", "samples", "least", "parts"),
    [(64, 10**9, 1024, 64), (64, 65_535, 1024, 32), (64, 2_047, 1024, 1), (48, 30_000, 1024, 24), (7, 10**9, 1, 7)],
)
def test_a_small_source_is_divided_less(partitions: int, samples: int, least: int, parts: int) -> None:
    assert divided(partitions, samples, least) == parts


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=20), st.sampled_from([1, 2, 3, 8, 64]), st.integers(0, 9))
@settings(max_examples=40)
def test_partitions_of_an_epoch_have_equal_runs_of_whole_blocks(rows: list[int], partitions: int, seed: int) -> None:
    order = EpochOrder(np.array(rows, np.int64), (seed,), partitions)
    blocks = [[order.block(number, at) for at in order.positions(number)] for number in range(partitions)]
    expected = {(shard, first) for shard, count in enumerate(rows) for first in range(0, count, BLOCK_ROWS)}
    assert sorted((block.shard, block.first) for part in blocks for block in part) == sorted(expected)
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
    for number, part in enumerate(blocks):
        for block, position in zip(part, order.positions(number), strict=True):
            assert block.last == min(block.first + BLOCK_ROWS, rows[block.shard])
            assert block.shard in order.shards(number, position)


def test_the_first_samples_of_nodes_are_in_shards_of_their_own() -> None:
    plan = plan_of(many=1)
    assert plan.divided == (32,)
    shards: list[set[int]] = [set() for _ in range(16)]
    for pack in islice(plan.packs(), 6_000):
        shards[pack.partition % 16] |= {item.shard for item in pack.items}
    readers = Counter(shard for part in shards for shard in part)
    assert max(map(len, shards)) <= 4 and max(readers.values()) <= 3, "a shard at a border has two or three"


def test_each_epoch_has_every_row_once_and_no_partition_is_far_ahead() -> None:
    reader = plan_of(many=1).packs()
    rows: Counter[tuple[int, int]] = Counter()
    while reader.cursor.streams[0].epoch < 2:
        rows.update((item.shard, item.offset) for pack in islice(reader, 200) for item in pack.items)
    assert len(rows) == 40_000 and min(rows.values()) >= 2
    assert sum(rows.values()) < 2.2 * 40_000


@given(start=st.integers(0, 3_000), partitions=st.sampled_from([1, 6, 64]))
@settings(max_examples=6)
def test_plan_resumes_from_a_cursor_in_all_partitions(start: int, partitions: int) -> None:
    plan = plan_of(partitions, many=5, some=3, few=1)
    reader = plan.packs()
    for _ in islice(reader, start):
        pass
    cursor = Cursor.model_validate_json(reader.cursor.model_dump_json())
    expected = [(pack.number, pack.partition, pack.items) for pack in islice(reader, 200)]
    resumed = plan_of(partitions, many=5, some=3, few=1).packs(cursor)
    assert resumed.cursor == cursor
    assert [(pack.number, pack.partition, pack.items) for pack in islice(resumed, 200)] == expected
    assert resumed.cursor == reader.cursor


@given(st.lists(st.floats(0.05, 10), min_size=3, max_size=3))
@settings(max_examples=8)
def test_shares_hold_after_any_pack_in_whatever_partition(weights: list[float]) -> None:
    plan = plan_of(many=weights[0], some=weights[1], few=weights[2])
    tokens = [0, 0, 0]
    for pack in islice(plan.packs(), 400):
        tokens[pack.source] += pack.length
        for count, weight in zip(tokens, weights, strict=True):
            assert abs(count - weight / sum(weights) * sum(tokens)) < CAPACITY


def test_exhausted_partitions_continue_with_those_of_others() -> None:
    reader = plan_of(many=3, some=1, epochs=1).packs()
    items = [(item.source, item.shard, item.offset) for pack in reader for item in pack.items]
    assert len(items) == len(set(items)) == 40_000 + 8_700


def test_position_of_a_plan_with_other_partitions_is_refused() -> None:
    cursor = plan_of(1, many=1).packs(10).cursor
    with pytest.raises(UserError, match=r"a plan with 1 partitions.* this plan has 64: .*data\.partitions=1"):
        plan_of(64, many=1).packs(cursor)
    small = plan_of(64, few=1)
    assert next(small.packs(plan_of(1, few=1).packs(10).cursor)).number == 10, "a small source has a single one"


def test_plan_with_one_partition_is_that_of_version_2() -> None:
    """The digest was computed by the last code before partitions."""
    index = MadeIndex([3_000] * 40, 10, 60)
    phase = PlanPhase(Mixture(sources=(MixtureSource(dataset="made"),)))
    plan = Plan([phase], 100, seed=7, partitions=1, open_index=lambda source: index)
    packs = [(pack.number, pack.length, [tuple(item) for item in pack.items]) for pack in islice(plan.packs(), 3_000)]
    assert blake3(repr(packs).encode()).hexdigest()[:16] == "67588f650e1500bd"
