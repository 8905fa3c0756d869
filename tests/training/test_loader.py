"""Packs to batches: every pack once, to a single rank, from any position, whatever the ranks and workers."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any, Self

import fsspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.plan import Cursor, Mixture, MixtureSource, Pack, PackItem, Plan, PlanPhase
from step3vl.data.sample import ImageSpec
from step3vl.data.storage import StoreConfig
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLImageProcessor, tiny_config
from step3vl.training.batch import PackedBatch
from step3vl.training.loader import PackLoader, rank_packs


@pytest.fixture
def loader_of(corpus: Path, image_spec: ImageSpec) -> Any:
    """loader_of(rank=0, world=1, micro_batch=2, dataset=corpus, sources=({},), ...) -> PackLoader.

    `sources` are the fields that select a slice of the dataset; by default all of it is a single source.
    """

    def make(
        rank: int = 0, world: int = 1, micro_batch: int = 2, dataset: Path = corpus, **options: Any
    ) -> PackLoader:
        slices = options.pop("sources", SINGLE)
        sources = tuple(MixtureSource.model_validate({"dataset": str(dataset), **fields}) for fields in slices)
        settings = {"sequence_length": 128, "seed": 5, "tokenizer": load_tokenizer(corpus), **options}
        return PackLoader(
            [PlanPhase(Mixture(sources=sources))],
            image_processor=Step3VLImageProcessor(**image_spec.model_dump()),
            micro_batch=micro_batch,
            rank=rank,
            world=world,
            **settings,
        )

    return make


SINGLE = ({},)
MIXTURE = ({"modality": "text", "weight": 1}, {"modality": "image", "weight": 3})
KINDS: dict[str, dict[str, Any]] = {
    "single": {"sources": SINGLE, "sequence_length": 64},  # few samples share a pack
    "mixture": {"sources": MIXTURE, "sequence_length": 64},
    "mixture and packing": {"sources": (*MIXTURE, {"kind": "document", "weight": 0.7}), "sequence_length": 256},
}


def rows(batch: PackedBatch) -> list[list[int]]:
    """The tokens of each row without its padding."""
    ids, sequences = batch.inputs["input_ids"], batch.inputs["sequence_ids"]
    return [row[numbers > 0].tolist() for row, numbers in zip(ids, sequences, strict=True)]


def same(a: PackedBatch, b: PackedBatch) -> bool:
    return a.inputs.keys() == b.inputs.keys() and all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)


def test_ranks_share_the_packs_of_a_single_rank(loader_of: Any) -> None:
    expected = [row for batch in islice(loader_of(micro_batch=2).batches(), 6) for row in rows(batch)]
    halves = [islice(loader_of(rank=rank, world=2, micro_batch=3).batches(), 2) for rank in (0, 1)]
    first, second = ([row for batch in half for row in rows(batch)] for half in halves)
    assert first == expected[0:3] + expected[6:9]
    assert second == expected[3:6] + expected[9:12]


def test_every_rank_has_every_source(loader_of: Any) -> None:
    plan = loader_of(sources=({"modality": "text"}, {"modality": "image"})).plan
    for rank in (0, 1):
        for selected in islice(rank_packs(plan.packs(), 4, rank, 2), 5):
            assert {pack.source for pack in selected.packs} == {0, 1}


class Replay:
    """The packs of a plan from a position, planned once for the many readers of them."""

    def __init__(self, planned: list[tuple[Pack, Cursor]]) -> None:
        self._planned = iter(planned)
        self.cursor: Cursor | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Pack:
        pack, self.cursor = next(self._planned)
        return pack


def deliver(
    plan: Plan, start: int | Cursor, steps: int, world: int, workers: int
) -> tuple[list[tuple[PackItem, ...]], Cursor]:
    """What `steps` steps of 24 packs deliver, from the workers of all ranks, and the position after them."""
    plan_reader = plan.packs(start)
    planned = [(pack, plan_reader.cursor) for pack in islice(plan_reader, steps * 24)]
    micro_batch = 24 // world if workers == 1 else 1  # as few micro-batches as there can be in a step, and as many
    delivered: dict[int, tuple[PackItem, ...]] = {}
    cursors = set()
    for rank in range(world):
        for worker in range(max(workers, 1)):
            replay: Any = Replay(planned)
            reader = rank_packs(replay, micro_batch, rank, world, worker, max(workers, 1))
            groups = steps * 24 // (micro_batch * world)
            for selected in islice(reader, len(range(worker, groups, max(workers, 1)))):
                delivered |= {pack.number: pack.items for pack in selected.packs}
                cursors.add(selected.cursor)
    return [delivered[number] for number in sorted(delivered)], max(cursors, key=lambda cursor: cursor.packs)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ranks_and_workers_killed_anywhere_deliver_the_packs_of_a_single_rank(
    loader_of: Any, kind: str, data: Any
) -> None:
    """A run of four steps that is stopped and resumed, twice, each time with other ranks and other workers."""
    plan = loader_of(**KINDS[kind]).plan
    expected = [pack.items for pack in islice(plan.packs(), 4 * 24)]
    position: int | Cursor = 0
    delivered: list[Any] = []
    for steps in data.draw(st.sampled_from([(1, 1, 2), (1, 2, 1), (2, 1, 1)])):
        world, workers = data.draw(st.sampled_from([1, 2, 3, 4, 6, 8])), data.draw(st.integers(0, 3))
        part, cursor = deliver(plan, position, steps, world, workers)
        delivered += part
        position = data.draw(st.sampled_from([cursor, cursor.packs]))
    assert delivered == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_ranks_and_workers_resumes_from_every_step(loader_of: Any, kind: str) -> None:
    plan = loader_of(**KINDS[kind]).plan
    expected = [pack.items for pack in islice(plan.packs(), 3 * 24)]
    for world in (1, 2, 3, 4, 6, 8):
        for workers in (0, 1, 2, 3):
            for killed in (0, 1, 2):
                start = plan.packs(24 * killed).cursor
                assert deliver(plan, start, 1, world, workers)[0] == expected[24 * killed : 24 * (killed + 1)]


@pytest.mark.slow
def test_real_workers_of_other_ranks_resume_where_the_run_was_killed(loader_of: Any) -> None:
    options = KINDS["mixture and packing"]
    expected = [rows(batch)[0] for batch in islice(loader_of(micro_batch=1, **options).batches(), 24)]

    def run(world: int, start: int | Cursor, busy: int, workers: int) -> Cursor:
        """12 packs on ranks of which `busy` has workers and a cache; its batches are those without."""
        for rank in range(world):
            batches = plain = list(islice(loader_of(rank, world, 6 // world, **options).batches(start), 2))
            if rank == busy:
                loader = loader_of(rank, world, 6 // world, workers=workers, cache_mb=1, **options)
                batches = list(islice(loader.batches(start), 2))
            assert all(same(a, b) for a, b in zip(plain, batches, strict=True))
            for batch, first in zip(
                batches, (batches[-1].cursor.packs - 12, batches[-1].cursor.packs - 6), strict=True
            ):
                assert rows(batch) == expected[first + rank * (6 // world) : first + (rank + 1) * (6 // world)]
        return batches[-1].cursor

    cursor = run(world=2, start=0, busy=1, workers=1)
    assert cursor.packs == 12
    assert run(world=3, start=cursor, busy=0, workers=2).packs == 24


@pytest.mark.parametrize("start", [2, 10])
def test_starting_at_a_pack_equals_skipping_to_it(loader_of: Any, start: int) -> None:
    skipped = list(islice(loader_of().batches(), start // 2, start // 2 + 3))
    started = list(islice(loader_of().batches(start), 3))
    assert all(same(a, b) for a, b in zip(skipped, started, strict=True))


def test_the_cache_does_not_change_the_batches(loader_of: Any) -> None:
    plain, cached = (islice(loader_of(cache_mb=megabytes).batches(), 50) for megabytes in (0, 1))
    assert all(same(a, b) for a, b in zip(plain, cached, strict=True))


def test_a_batch_describes_its_contents(loader_of: Any) -> None:
    pair = [next(loader_of(rank=rank, world=2).batches()) for rank in (0, 1)]
    assert pair[0].cursor == pair[1].cursor
    assert sum(batch.tokens for batch in pair) == pair[0].cursor.phase_tokens
    for batch in pair:
        assert batch.tokens == int((batch.inputs["sequence_ids"] > 0).sum())
        assert not batch.unreadable
        assert batch.weight == pytest.approx(float(batch.inputs["loss_weights"].sum()))
        assert [len(items) for items in batch.items] == batch.inputs["sequence_ids"].amax(dim=1).tolist()
        assert batch.inputs["num_patches"].sum() == len(batch.inputs["patch_pixel_values"])


def test_another_tokenizer_is_refused(corpus: Path, image_spec: ImageSpec) -> None:
    phases = [PlanPhase(Mixture(sources=(MixtureSource(dataset=str(corpus)),)))]
    processor = Step3VLImageProcessor(**image_spec.model_dump())
    options: dict[str, Any] = {"sequence_length": 128, "seed": 0, "micro_batch": 1, "rank": 0, "world": 1}
    with pytest.raises(UserError, match="was counted with the tokenizer"):
        PackLoader(phases, tokenizer=load_tokenizer("qwen3"), image_processor=processor, **options)
    with pytest.raises(UserError, match="was counted for images of"):
        PackLoader(phases, tokenizer=load_tokenizer(corpus), image_processor=Step3VLImageProcessor(), **options)


@pytest.fixture
def damaged(corpus: Path, damage: Any, tmp_path: Path) -> tuple[Path, set[int]]:
    """The corpus with one byte flipped in every seventh sample of its training shard, and their offsets."""
    root = tmp_path / "damaged"
    shutil.copytree(corpus, root)
    return root, set(damage(root, slice(None, None, 7)))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_damaged_sample_leaves_its_pack_shorter_on_every_rank_alike(
    loader_of: Any, damaged: tuple[Path, set[int]], world: int
) -> None:
    root, broken = damaged
    packs = [pack.items for pack in islice(loader_of(dataset=root).plan.packs(), 12)]
    lost = [item for items in packs for item in items if item.offset in broken]
    assert lost
    ranks = [loader_of(rank, world, 6 // world, dataset=root) for rank in range(world)]
    batches = [list(islice(loader.batches(), 2)) for loader in ranks]
    rows = [row for number in (0, 1) for rank in batches for row in rank[number].items]
    assert rows == [tuple(item for item in items if item not in lost) for items in packs]
    of_all_ranks = [batch for rank in batches for batch in rank]
    dead_letters = [dead_letter for batch in of_all_ranks for dead_letter in batch.unreadable]
    offsets = {int(dead_letter.source.rpartition(" ")[2]) for dead_letter in dead_letters}
    assert offsets == {item.offset for item in lost}
    assert all("not those that were committed" in dead_letter.reason for dead_letter in dead_letters)
    planned = batches[0][-1].cursor.phase_tokens
    assert sum(batch.tokens + batch.unreadable_tokens for batch in of_all_ranks) == planned


def test_a_pack_may_lose_all_of_its_samples(
    loader_of: Any, corpus: Path, image_spec: ImageSpec, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    shard = next((broken / "shards").glob("*train*.tar"))
    shard.write_bytes(shard.read_bytes()[:10])
    batch = next(loader_of(dataset=broken).batches())
    assert batch.tokens == batch.weight == 0
    assert batch.items == ((), ())
    assert "train-00000-of-00001.tar at byte" in batch.unreadable[0].source
    tokenizer = load_tokenizer(corpus)
    config = tiny_config(
        tokenizer.get_vocab_size(), image_spec, image_token_id=TokenIds.of(tokenizer).image_patch, hidden_size=32
    )
    loss = Step3VLForConditionalGeneration(config)(**batch.inputs).loss
    loss.backward()
    assert float(loss.detach()) == 0


@pytest.mark.slow
def test_a_missing_index_is_a_user_error_of_one_line_also_in_a_worker(
    loader_of: Any, corpus: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(corpus, copied)
    loader = loader_of(dataset=copied, workers=1)
    next((copied / "shards").glob("*train*.parquet")).unlink()
    with pytest.raises(UserError, match=r"train-00000-of-00001\.parquet") as caught:
        next(loader.batches())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_remote_dataset_gives_the_same_batches_and_its_cache_persists(
    loader_of: Any, corpus: Path, tmp_path: Path
) -> None:
    fs = fsspec.filesystem("memory")
    fs.put(str(corpus), "/remote", recursive=True)
    store = StoreConfig(cache=tmp_path / "cache", cache_bytes=2**22, block=2**16)
    remote = loader_of(dataset="memory://remote", store=store)
    for local, cached in zip(islice(loader_of().batches(), 20), islice(remote.batches(), 20), strict=True):
        assert same(local, cached)
    shard = next(name for name in fs.find("/remote") if "train" in name and name.endswith(".tar"))
    fs.rm(shard)
    assert not next(remote.batches()).unreadable, "read from the cache"
    fs.rm("/remote", recursive=True)
