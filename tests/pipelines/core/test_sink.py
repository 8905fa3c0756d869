import json
import random
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest

from step3vl.data.dataset import ImagePartWriter, Ledger, LedgerStep, ShardInfo, ShardTarget, archived_size
from step3vl.data.sample import ImageSpec, Sample
from step3vl.data.storage import Store, StoreConfig
from step3vl.data.tokens import train_bpe
from step3vl.pipelines.core.beam import CollectJson, run_pipeline
from step3vl.pipelines.core.sink import CountTokens, Sharding, WriteShards
from step3vl.pipelines.core.staging import dump_sample, load_sample, read_rows, write_rows
from step3vl.pipelines.core.steps import Record, rng_for

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=224, max_crops=16)


def stage(folder: Path, samples: list[Sample], parts: int) -> list[str]:
    folder.mkdir()
    with ImagePartWriter(folder / "images.bin") as images:
        rows = [dump_sample(sample, images) for sample in samples]
    paths = []
    for number in range(parts):
        paths.append(str(folder / f"part{number}.parquet"))
        write_rows(Path(paths[-1]), rows[number::parts])
    return paths


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    path = tmp_path / "tokenizer.json"
    train_bpe(["Read it. 0 1 2 3 4 5 6 7 8 9"], 320).save(str(path))
    return str(path)


def write(parts: list[str], root: Path, tokenizer: str) -> Ledger:
    root.mkdir()

    def wire(pipeline: beam.Pipeline) -> None:
        shards = pipeline | WriteShards(parts, Sharding(root, "t", 3, 0.2), tokenizer, SPEC)
        accounts = (shards.accounts, shards.counted.accounts) | beam.Flatten()
        _ = accounts | beam.Map(lambda step: step.model_dump()) | CollectJson(root / "accounts.json")

    run_pipeline("sink", (), wire)
    return Ledger.merge(map(LedgerStep.model_validate, json.loads((root / "accounts.json").read_text())))


def write_infos(
    parts: list[str], folder: Path, tokenizer: str, count: int | ShardTarget, root: str | None = None
) -> list[ShardInfo]:
    """The shards that a pipeline wrote to `root`, or to the folder, by path."""
    folder.mkdir()

    def wire(pipeline: beam.Pipeline) -> None:
        sharding = Sharding(root or folder, "t", count, 0.2)
        shards = pipeline | WriteShards(parts, sharding, tokenizer, SPEC)
        _ = shards.infos | CollectJson(folder / "infos.json")

    run_pipeline("sink", (), wire)
    infos = map(ShardInfo.model_validate, json.loads((folder / "infos.json").read_text()))
    return sorted(infos, key=lambda info: info.path)


def tree(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "shards").iterdir())}


def test_shards_depend_on_the_samples_and_not_on_their_order_or_parts(
    tmp_path: Path, tokenizer: str, make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number) for number in range(60)]
    samples += [make_sample(number, by="other") for number in range(10)]  # the same content from elsewhere
    first = write(stage(tmp_path / "a", samples, 1), tmp_path / "out-a", tokenizer)
    random.Random(3).shuffle(samples)
    second = write(stage(tmp_path / "b", samples, 7), tmp_path / "out-b", tokenizer)
    assert tree(tmp_path / "out-a") == tree(tmp_path / "out-b")
    assert first == second
    accounts = {step.name: step for step in first.steps}
    assert accounts["tokens"].kept == 70
    assert accounts["shards"].kept == 60
    assert accounts["shards"].dropped == {"duplicate": 10}
    first.check()


def test_an_image_of_too_many_crops_is_a_failed_record(
    tmp_path: Path, tokenizer: str, make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(1), make_sample(2, size=(224, 224))]
    ledger = write(stage(tmp_path / "a", samples, 1), tmp_path / "out", tokenizer)
    accounts = {step.name: step for step in ledger.steps}
    assert accounts["tokens"].kept == 1
    assert sum(accounts["tokens"].failed.values()) == 1
    assert accounts["shards"].read == 1


@pytest.mark.slow
def test_a_target_decides_the_number_of_shards_by_bytes_and_by_tokens(
    tmp_path: Path, tokenizer: str, make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number) for number in range(60)]
    parts = stage(tmp_path / "a", samples, 3)
    single = write_infos(parts, tmp_path / "single", tokenizer, 1)
    train = next(shard for shard in single if shard.split == "train")
    tokens = train.text_tokens + train.image_tokens
    for target, expected in (
        (ShardTarget(bytes=train.size * 10), 1),
        (ShardTarget(bytes=train.size // 4), 4),
        (ShardTarget(tokens=-(-tokens // 3)), 3),
        (ShardTarget(bytes=train.size // 4, tokens=-(-tokens // 7)), 7),
    ):
        infos = write_infos(parts, tmp_path / str(expected), tokenizer, target)
        names = [shard.path for shard in infos if shard.split == "train"]
        assert names == [f"shards/t-train-{number:05d}-of-{expected:05d}.tar" for number in range(expected)]
        assert sum(shard.samples for shard in infos) == 60
    others = stage(tmp_path / "b", samples[::-1], 5)
    assert write_infos(others, tmp_path / "again", tokenizer, target) == infos


def test_a_target_counts_the_size_in_the_archive(
    tmp_path: Path, tokenizer: str, make_sample: Callable[..., Sample]
) -> None:
    parts = stage(tmp_path / "a", [make_sample(number) for number in range(30)], 1)
    infos = write_infos(parts, tmp_path / "out", tokenizer, 1)
    tables = [pq.read_table(tmp_path / "out" / info.index_path, columns=["id", "size"]) for info in infos]
    sizes = {row["id"]: row["size"] for table in tables for row in table.to_pylist()}
    counter = CountTokens(tokenizer, SPEC)
    counter.setup()
    counted = [
        result
        for sample in read_rows(parts, load_sample)
        for result in counter.process(Record(sample.id, sample), rng_for(0))
    ]
    assert {sample.id: archived_size(sample.to_row()) for sample in counted} == sizes


def test_shards_are_written_to_any_store_with_the_same_bytes(
    tmp_path: Path, tokenizer: str, make_sample: Callable[..., Sample]
) -> None:
    parts = stage(tmp_path / "a", [make_sample(number) for number in range(20)], 2)
    near = write_infos(parts, tmp_path / "near", tokenizer, 2)
    far = write_infos(parts, tmp_path / "far", tokenizer, 2, root="memory://sink")
    assert far == near
    store = Store("memory://sink", StoreConfig())
    for info in near:
        for path in (info.path, info.index_path, info.offsets_path):
            assert store.read_all(path) == (tmp_path / "near" / path).read_bytes()
