"""Packs to batches: everything once, to one rank, from any place on, and nothing leaks between samples."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from step3vl.data.crops import ImageSpec
from step3vl.data.errors import UserError
from step3vl.data.plan import Item, Mixture, MixtureSource, Plan
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLImageProcessor, tiny_config
from step3vl.training.batch import Batch, collate, prepare
from step3vl.training.loader import PackLoader


@pytest.fixture
def loader_of(corpus: Path, image_spec: ImageSpec) -> Any:
    """make(rank=0, world=1, micro_batch=2, ...) -> PackLoader."""

    def make(rank: int = 0, world: int = 1, micro_batch: int = 2, **options: Any) -> PackLoader:
        return PackLoader(
            Mixture(sources=(MixtureSource(dataset=str(corpus)),)),
            capacity=128,
            seed=5,
            tokenizer=load_tokenizer(corpus),
            image_processor=Step3VLImageProcessor(**image_spec.model_dump()),
            micro_batch=micro_batch,
            rank=rank,
            world=world,
            **options,
        )

    return make


def rows(batch: Batch) -> list[list[int]]:
    """The tokens of each row without its padding."""
    ids, sequences = batch.inputs["input_ids"], batch.inputs["sequence_ids"]
    return [row[numbers > 0].tolist() for row, numbers in zip(ids, sequences, strict=True)]


def same(a: Batch, b: Batch) -> bool:
    return a.inputs.keys() == b.inputs.keys() and all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)


def test_ranks_partition_the_packs_of_a_single_rank(loader_of: Any) -> None:
    whole = [row for batch in islice(loader_of(micro_batch=2).batches(), 6) for row in rows(batch)]
    halves = [islice(loader_of(rank=rank, world=2, micro_batch=3).batches(), 2) for rank in (0, 1)]
    even, odd = ([row for batch in half for row in rows(batch)] for half in halves)
    assert even == whole[0::2]
    assert odd == whole[1::2]


def test_one_epoch_of_packs_holds_every_sample_once(loader_of: Any) -> None:
    plan: Plan = loader_of().plan
    epoch = list(islice(plan.items(), len(plan)))
    assert sorted(epoch) == [Item(0, row) for row in range(150)]
    window = [item for pack in islice(plan.packs(), 2000) for item in pack.items]
    assert set(epoch) <= set(window)


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
    tokens = sum(int((batch.inputs["sequence_ids"] > 0).sum()) for batch in pair)
    assert [batch.tokens for batch in pair] == [tokens, tokens]
    for batch in pair:
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
    mixture = Mixture(sources=(MixtureSource(dataset=str(corpus)),))
    processor = Step3VLImageProcessor(**image_spec.model_dump())
    options: dict[str, Any] = {"capacity": 128, "seed": 0, "micro_batch": 1, "rank": 0, "world": 1}
    with pytest.raises(UserError, match="was counted with the tokenizer"):
        PackLoader(mixture, tokenizer=load_tokenizer("qwen3"), image_processor=processor, **options)
    with pytest.raises(UserError, match="was counted for pictures of"):
        PackLoader(mixture, tokenizer=load_tokenizer(corpus), image_processor=Step3VLImageProcessor(), **options)


def test_a_shard_cut_short_is_named_by_loader_and_worker(
    corpus: Path, loader_of: Any, tmp_path: Path, image_spec: ImageSpec
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    shard = next((broken / "shards").glob("*train*.tar"))
    shard.write_bytes(shard.read_bytes()[:1000])
    loader = PackLoader(
        Mixture(sources=(MixtureSource(dataset=str(broken)),)),
        capacity=128,
        seed=0,
        tokenizer=load_tokenizer(corpus),
        image_processor=Step3VLImageProcessor(**image_spec.model_dump()),
        micro_batch=2,
        rank=0,
        world=1,
        workers=1,
    )
    with pytest.raises(UserError, match=r"train-00000-of-00001\.tar at byte") as caught:
        next(loader.batches())
    assert "\n" not in str(caught.value)
