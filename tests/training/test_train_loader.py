"""Packs to batches: everything once, to one rank, from any place on, and nothing leaks between samples."""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step3vl.data.crops import ImageSpec, plan_crops
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.mixture import Mixture, MixtureSource, Stretch
from step3vl.data.packing import cut
from step3vl.data.plan import Cursor, Plan
from step3vl.data.sample import Sample, Source, image, text
from step3vl.data.store import StoreConfig
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLImageProcessor, tiny_config
from step3vl.training.batch import Batch, collate, prepare
from step3vl.training.loader import PackLoader, deal


@pytest.fixture
def loader_of(corpus: Path, image_spec: ImageSpec) -> Any:
    """make(rank=0, world=1, micro_batch=2, dataset=corpus, sources={}, ...) -> PackLoader.

    `sources` maps what selects a slice to its weight; by default the whole of the dataset is one source.
    """

    def make(
        rank: int = 0, world: int = 1, micro_batch: int = 2, dataset: Path = corpus, **options: Any
    ) -> PackLoader:
        slices = options.pop("sources", ({},))
        sources = tuple(MixtureSource.model_validate({"dataset": str(dataset), **chosen}) for chosen in slices)
        settings = {"capacity": 128, "seed": 5, "tokenizer": load_tokenizer(corpus), **options}
        return PackLoader(
            [Stretch(Mixture(sources=sources))],
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
    "single": {"sources": SINGLE, "capacity": 64},  # few samples share a pack
    "mixture": {"sources": MIXTURE, "capacity": 64},
    "mixture and packing": {"sources": (*MIXTURE, {"kind": "document", "weight": 0.7}), "capacity": 256},
}


def rows(batch: Batch) -> list[list[int]]:
    """The tokens of each row without its padding."""
    ids, sequences = batch.inputs["input_ids"], batch.inputs["sequence_ids"]
    return [row[numbers > 0].tolist() for row, numbers in zip(ids, sequences, strict=True)]


def same(a: Batch, b: Batch) -> bool:
    return a.inputs.keys() == b.inputs.keys() and all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)


def test_ranks_share_the_packs_of_a_single_rank(loader_of: Any) -> None:
    whole = [row for batch in islice(loader_of(micro_batch=2).batches(), 6) for row in rows(batch)]
    halves = [islice(loader_of(rank=rank, world=2, micro_batch=3).batches(), 2) for rank in (0, 1)]
    first, second = ([row for batch in half for row in rows(batch)] for half in halves)
    assert first == whole[0:3] + whole[6:9]
    assert second == whole[3:6] + whole[9:12]


def test_every_rank_has_every_source(loader_of: Any) -> None:
    plan = loader_of(sources=({"modality": "text"}, {"modality": "image"})).plan
    for rank in (0, 1):
        for share in islice(deal(plan.packs(), 4, rank, 2), 5):
            assert {pack.source for pack in share.packs} == {0, 1}


def taken(plan: Plan, start: int | Cursor, steps: int, world: int, workers: int) -> tuple[list[Any], Cursor]:
    """What `steps` steps of 24 packs deliver, gathered from the workers of all ranks, and the place after them."""
    micro_batch = 24 // world if workers == 1 else 1  # as few steps as there can be in a group, and as many
    found: dict[int, Any] = {}
    cursors = set()
    for rank in range(world):
        for worker in range(max(workers, 1)):
            shares = deal(plan.packs(start), micro_batch, rank, world, worker, max(workers, 1))
            groups = steps * 24 // (micro_batch * world)
            for share in islice(shares, len(range(worker, groups, max(workers, 1)))):
                found |= {pack.number: pack.items for pack in share.packs}
                cursors.add(share.cursor)
    return [found[number] for number in sorted(found)], max(cursors, key=lambda cursor: cursor.packs)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ranks_and_workers_killed_anywhere_deliver_the_packs_of_one(loader_of: Any, kind: str, data: Any) -> None:
    """A run of four steps that is stopped and goes on, twice, each time with other ranks and other workers."""
    plan = loader_of(**KINDS[kind]).plan
    whole = [pack.items for pack in islice(plan.packs(), 4 * 24)]
    place: int | Cursor = 0
    delivered: list[Any] = []
    for steps in data.draw(st.sampled_from([(1, 1, 2), (1, 2, 1), (2, 1, 1)])):
        world, workers = data.draw(st.sampled_from([1, 2, 3, 4, 6, 8])), data.draw(st.integers(0, 3))
        part, cursor = taken(plan, place, steps, world, workers)
        delivered += part
        place = data.draw(st.sampled_from([cursor, cursor.packs]))
    assert delivered == whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_world_and_number_of_workers_goes_on_from_every_step(loader_of: Any, kind: str) -> None:
    plan = loader_of(**KINDS[kind]).plan
    whole = [pack.items for pack in islice(plan.packs(), 3 * 24)]
    for world in (1, 2, 3, 4, 6, 8):
        for workers in (0, 1, 2, 3):
            for killed in (0, 1, 2):
                start = plan.packs(24 * killed).cursor
                assert taken(plan, start, 1, world, workers)[0] == whole[24 * killed : 24 * (killed + 1)]


def test_real_workers_of_other_ranks_go_on_where_the_run_was_killed(loader_of: Any) -> None:
    options = {**KINDS["mixture and packing"], "cache_mb": 1}
    expected = [rows(batch)[0] for batch in islice(loader_of(micro_batch=1, **options).batches(), 24)]

    def run(world: int, start: int | Cursor, worked: int, workers: int) -> Cursor:
        """12 packs on ranks of which one, `worked`, has workers."""
        for rank in range(world):
            loader = loader_of(rank, world, 6 // world, workers=workers if rank == worked else 0, **options)
            batches = list(islice(loader.batches(start), 2))
            for batch, first in zip(
                batches, (batches[-1].cursor.packs - 12, batches[-1].cursor.packs - 6), strict=True
            ):
                assert rows(batch) == expected[first + rank * (6 // world) : first + (rank + 1) * (6 // world)]
        return batches[-1].cursor

    cursor = run(world=2, start=0, worked=1, workers=1)
    assert cursor.packs == 12
    assert run(world=3, start=cursor, worked=0, workers=2).packs == 24


@pytest.mark.parametrize("start", [2, 10])
def test_starting_at_a_pack_equals_skipping_to_it(loader_of: Any, start: int) -> None:
    skipped = list(islice(loader_of().batches(), start // 2, start // 2 + 3))
    started = list(islice(loader_of().batches(start), 3))
    assert all(same(a, b) for a, b in zip(skipped, started, strict=True))


def test_neither_workers_nor_the_cache_change_the_batches(loader_of: Any) -> None:
    plain = list(islice(loader_of().batches(), 50))
    cached = islice(loader_of(cache_mb=1).batches(), 50)
    assert all(same(a, b) for a, b in zip(plain, cached, strict=True))
    with_workers = islice(loader_of(workers=1, cache_mb=1).batches(), 5)
    assert all(same(a, b) for a, b in zip(plain[:5], with_workers, strict=True))


def test_a_batch_says_what_it_holds(loader_of: Any) -> None:
    pair = [next(loader_of(rank=rank, world=2).batches()) for rank in (0, 1)]
    assert pair[0].cursor == pair[1].cursor
    assert sum(batch.tokens for batch in pair) == pair[0].cursor.stretch_tokens
    for batch in pair:
        assert batch.tokens == int((batch.inputs["sequence_ids"] > 0).sum())
        assert not batch.dead
        assert batch.weight == pytest.approx(float(batch.inputs["loss_weights"].sum()))
        assert [len(tasks) for tasks in batch.tasks] == batch.inputs["sequence_ids"].amax(dim=1).tolist()
        assert batch.inputs["num_patches"].sum() == len(batch.inputs["patch_pixel_values"])


def test_the_loss_of_a_pack_is_that_of_its_samples_alone(loader_of: Any, corpus: Path, image_spec: ImageSpec) -> None:
    loader = loader_of()
    tokenizer, processor = load_tokenizer(corpus), Step3VLImageProcessor(**image_spec.model_dump())
    pack = next(loader.plan.packs())
    samples = [prepare(loader.plan.read(item), tokenizer, processor) for item in pack.items]
    assert len(samples) > 1
    ids = TokenIds.of(tokenizer)
    torch.manual_seed(0)
    shape = tiny_config(tokenizer.get_vocab_size(), image_spec, image_token_id=ids.image_patch, hidden_size=32)
    model = Step3VLForConditionalGeneration(shape).eval()

    def total(group: list[Any]) -> float:
        inputs, weight = collate([group], ids.pad)
        with torch.no_grad():
            output = model(**inputs)
        assert float(output.loss_weight) == weight
        return float(output.loss) * weight

    assert total(samples) == pytest.approx(sum(total([sample]) for sample in samples), rel=1e-5)


def test_another_tokenizer_is_refused(corpus: Path, image_spec: ImageSpec) -> None:
    stretches = [Stretch(Mixture(sources=(MixtureSource(dataset=str(corpus)),)))]
    processor = Step3VLImageProcessor(**image_spec.model_dump())
    options: dict[str, Any] = {"capacity": 128, "seed": 0, "micro_batch": 1, "rank": 0, "world": 1}
    with pytest.raises(UserError, match="was counted with the tokenizer"):
        PackLoader(stretches, tokenizer=load_tokenizer("qwen3"), image_processor=processor, **options)
    with pytest.raises(UserError, match="was counted for pictures of"):
        PackLoader(stretches, tokenizer=load_tokenizer(corpus), image_processor=Step3VLImageProcessor(), **options)


@pytest.fixture
def damaged(corpus: Path, tmp_path: Path) -> tuple[Path, set[int]]:
    """The corpus with one byte flipped in every seventh sample of its training shard, and where these begin."""
    root = tmp_path / "damaged"
    shutil.copytree(corpus, root)
    shard = next((root / "shards").glob("*train*.tar"))
    data = bytearray(shard.read_bytes())
    index = Dataset.open(root).index(["offset", "size"], split="train")
    broken = dict(list(zip(index["offset"].to_pylist(), index["size"].to_pylist(), strict=True))[::7])
    for offset, size in broken.items():
        data[offset + size // 2] ^= 1
    shard.write_bytes(data)
    return root, set(broken)


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
    tasks = [row for number in (0, 1) for rank in batches for row in rank[number].tasks]
    assert tasks == [tuple(item.task for item in items if item not in lost) for items in packs]
    together = [batch for rank in batches for batch in rank]
    letters = [letter for batch in together for letter in batch.dead]
    assert {int(letter.source.rpartition(" ")[2]) for letter in letters} == {item.offset for item in lost}
    assert all("not those that were committed" in letter.reason for letter in letters)
    planned = batches[0][-1].cursor.stretch_tokens
    assert sum(batch.tokens + batch.lost_tokens for batch in together) == planned


def test_a_pack_may_lose_all_of_its_samples(
    loader_of: Any, corpus: Path, image_spec: ImageSpec, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    shard = next((broken / "shards").glob("*train*.tar"))
    shard.write_bytes(shard.read_bytes()[:10])
    batch = next(loader_of(dataset=broken).batches())
    assert batch.tokens == batch.weight == 0
    assert batch.tasks == ((), ())
    assert "train-00000-of-00001.tar at byte" in batch.dead[0].source
    tokenizer = load_tokenizer(corpus)
    shape = tiny_config(
        tokenizer.get_vocab_size(), image_spec, image_token_id=TokenIds.of(tokenizer).image_patch, hidden_size=32
    )
    loss = Step3VLForConditionalGeneration(shape)(**batch.inputs).loss
    loss.backward()
    assert float(loss.detach()) == 0


def test_a_dataset_that_is_gone_is_one_line_of_loader_and_worker(loader_of: Any, corpus: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(corpus, copied)
    loader = loader_of(dataset=copied, workers=1)
    next((copied / "shards").glob("*train*.parquet")).unlink()
    with pytest.raises(UserError, match=r"train-00000-of-00001\.parquet") as caught:
        next(loader.batches())
    assert "\n" not in str(caught.value)


def test_a_distant_dataset_gives_the_same_batches_and_its_copies_stay(
    loader_of: Any, corpus: Path, tmp_path: Path
) -> None:
    fs = fsspec.filesystem("memory")
    fs.put(str(corpus), "/distant", recursive=True)
    store = StoreConfig(cache=tmp_path / "copies", cache_bytes=2**22, block=2**16)
    distant = loader_of(dataset="memory://distant", store=store)
    for here, there in zip(islice(loader_of().batches(), 20), islice(distant.batches(), 20), strict=True):
        assert same(here, there)
    shard = next(name for name in fs.find("/distant") if "train" in name and name.endswith(".tar"))
    fs.rm(shard)
    assert not next(distant.batches()).dead, "read from the copies"
    fs.rm("/distant", recursive=True)


@pytest.mark.parametrize("capacity", [40, 64])
def test_a_long_document_is_cut_around_its_pictures_and_nothing_of_it_is_lost(
    corpus: Path, image_spec: ImageSpec, capacity: int
) -> None:
    tokenizer, processor = load_tokenizer(corpus), Step3VLImageProcessor(**image_spec.model_dump())
    picture = Dataset.open(corpus).read(*next(_pictured(corpus))).images[0]
    parts = [part for number in range(6) for part in (text("A red disc. " * number), image(number))]
    document = Sample.make(
        domain="knowledge",
        task="knowledge.long",
        content=tuple(part for part in parts if part != text("")),
        images=(picture,) * 6,
        source=Source(uri="drawn:long", licence="CC0-1.0", collected_by="tests"),
    )
    whole = prepare(document, tokenizer, processor)
    largest = plan_crops(picture.width, picture.height, image_spec).tokens
    pieces = cut(len(whole.ids), largest, capacity)
    made = [prepare(document, tokenizer, processor, piece) for piece in pieces]
    assert len(made) > 2
    assert np.array_equal(np.concatenate([part.ids for part in made]), whole.ids)
    assert sum(len(part.pixels.counts) for part in made if part.pixels) == 6
    ids = TokenIds.of(tokenizer)
    for part, piece in zip(made, pieces, strict=True):
        assert 0 < len(part.ids) <= piece.length <= capacity
        assert (part.ids == ids.image_end).sum() == (len(part.pixels.counts) if part.pixels else 0)


def _pictured(corpus: Path) -> Iterator[tuple[int, int, int]]:
    table = Dataset.open(corpus).index(["offset", "size", "image_tokens"], split="train")
    columns = (table[name].to_pylist() for name in ("shard", "offset", "size", "image_tokens"))
    return ((shard, offset, size) for shard, offset, size, tokens in zip(*columns, strict=True) if tokens)
