"""The sink's transforms: tokens, shards and their accounts."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline
from apache_beam.testing.util import assert_that, equal_to

from step3vl.data.dataset import Ledger, LedgerStep, ShardInfo, ShardTarget, WrittenShard
from step3vl.data.errors import UserError
from step3vl.data.sample import ImageSpec, Sample
from step3vl.data.tokens import train_bpe
from step3vl.pipelines.core.beam import WriteList, WriteReport, read_list, read_report, run_pipeline
from step3vl.pipelines.core.fragments import Fragment
from step3vl.pipelines.core.shard_writer import Sharding
from step3vl.pipelines.core.sink import CountTokens, WriteShards
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.tokens import StagedTokenizer, TokenCounter
from step3vl.pipelines.core.work_list import Work

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=224, max_crops=16)
StageSamples = Callable[[Sequence[Sample], int], list[Fragment]]
MakeSample = Callable[..., Sample]


@pytest.fixture
def tokenizer(staging: Staging) -> StagedTokenizer:
    return StagedTokenizer.stage(train_bpe(["Read it. 0 1 2 3 4 5 6 7 8 9"], 320), "", staging)


@pytest.fixture
def write(staging: Staging, tokenizer: StagedTokenizer) -> Callable[..., tuple[list[ShardInfo], Ledger]]:
    """The shards that a pipeline wrote, by path, and the accounts."""

    def write(
        fragments: Sequence[Fragment], root: Path, shards: int | ShardTarget, budget: float = 1.0
    ) -> tuple[list[ShardInfo], Ledger]:
        def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
            work = pipeline | beam.Create([Work(0, fragment).dump() for fragment in fragments])
            counted = work | CountTokens(tokenizer, SPEC, staging, budget)
            written = counted.counted | WriteShards(Sharding(root, "t", shards, 0.2), staging)
            _ = written.shards | WriteList(staging, "shards.json")
            _ = (counted.reports, written.reports) | beam.Flatten() | WriteReport(staging, "report.json")

        run_pipeline("sink", (), staging, wire)
        infos = [WrittenShard.model_validate_json(text).info for text in read_list(staging, "shards.json")]
        return sorted(infos, key=lambda info: info.path), Ledger(steps=read_report(staging, "report.json").accounts)

    return write


Write = Callable[..., tuple[list[ShardInfo], Ledger]]


def tree(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "shards").iterdir())}


def test_shards_depend_on_the_samples_and_not_on_their_order_or_fragments(
    tmp_path: Path, write: Write, stage_samples: StageSamples, make_sample: MakeSample
) -> None:
    samples = [make_sample(number) for number in range(60)]
    samples += [make_sample(number, by="other") for number in range(10)]  # the same content from elsewhere
    first = write(stage_samples(samples, 1), tmp_path / "a", 3)
    random.Random(3).shuffle(samples)
    second = write(stage_samples(samples, 7), tmp_path / "b", 3)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert first == second
    accounts = {step.name: step for step in first[1].steps}
    assert accounts["tokens"].kept == 70
    assert accounts["shards"].kept == 60
    assert accounts["shards"].dropped == {"duplicate": 10}
    first[1].check()


def test_an_image_of_too_many_crops_is_a_failed_record(
    tmp_path: Path, write: Write, stage_samples: StageSamples, make_sample: MakeSample
) -> None:
    fragments = stage_samples([make_sample(1), make_sample(2, size=(224, 224))], 1)
    accounts = {step.name: step for step in write(fragments, tmp_path / "out", 3)[1].steps}
    assert accounts["tokens"].kept == 1
    assert sum(accounts["tokens"].failed.values()) == 1
    assert accounts["shards"].read == 1


def test_counting_that_mostly_fails_is_stopped(
    tmp_path: Path, write: Write, stage_samples: StageSamples, make_sample: MakeSample
) -> None:
    fragments = stage_samples([make_sample(n, size=(224, 224)) for n in range(200)], 2)
    with pytest.raises(UserError, match=r"tokens: all 200 records failed.*crops"):
        write(fragments, tmp_path / "out", 3, budget=0.05)


@pytest.mark.slow
def test_a_target_decides_the_number_of_shards_by_bytes_and_by_tokens(
    tmp_path: Path, write: Write, stage_samples: StageSamples, make_sample: MakeSample
) -> None:
    samples = [make_sample(number) for number in range(60)]
    fragments = stage_samples(samples, 3)
    single, _ = write(fragments, tmp_path / "single", 1)
    train = next(shard for shard in single if shard.split == "train")
    tokens = train.text_tokens + train.image_tokens
    for target, expected in (
        (ShardTarget(bytes=train.size * 10), 1),
        (ShardTarget(bytes=train.size // 4), 4),
        (ShardTarget(tokens=-(-tokens // 3)), 3),
        (ShardTarget(bytes=train.size // 4, tokens=-(-tokens // 7)), 7),
    ):
        infos, _ = write(fragments, tmp_path / str(expected), target)
        names = [shard.path for shard in infos if shard.split == "train"]
        assert names == [f"shards/t-train-{number:05d}-of-{expected:05d}.tar" for number in range(expected)]
        assert sum(shard.samples for shard in infos) == 60
    assert write(stage_samples(samples[::-1], 5), tmp_path / "again", target)[0] == infos


def test_the_size_of_a_sample_in_its_archive_is_known_before(
    tmp_path: Path,
    write: Write,
    stage_samples: StageSamples,
    make_sample: MakeSample,
    staging: Staging,
    tokenizer: StagedTokenizer,
) -> None:
    (fragment,) = stage_samples([make_sample(number) for number in range(30)], 1)
    infos, _ = write([fragment], tmp_path / "out", 1)
    tables = [pq.read_table(tmp_path / "out" / info.index_path, columns=["id", "size"]) for info in infos]
    sizes = {row["id"]: row["size"] for table in tables for row in table.to_pylist()}
    path = TokenCounter(tokenizer, SPEC, staging).path(fragment)
    counted = pq.read_table(Path(staging.root) / f"{path}.parquet").to_pylist()
    assert {row["id"].hex(): row["archived"] for row in counted} == sizes


def test_counts_and_dead_letters_leave_the_transform(
    stage_samples: StageSamples, make_sample: MakeSample, staging: Staging, tokenizer: StagedTokenizer
) -> None:
    good, mixed = stage_samples([make_sample(1), make_sample(2, size=(224, 224))], 2)
    counter = TokenCounter(tokenizer, SPEC, staging)
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        work = pipeline | beam.Create([Work(0, fragment).dump() for fragment in (good, mixed)])
        outputs = work | CountTokens(tokenizer, SPEC, staging, 1.0)
        expected = [f"{counter.path(each)}\t{each.rows.path}" for each in (good, mixed) if each.rows]
        assert_that(outputs.counted, equal_to(expected), "counted")
        paths = outputs.dead_letters | beam.Map(lambda text: Work.load(text).fragment.rows.path)
        assert_that(paths, equal_to([counter.path(mixed)]), "dead letters")
        assert_that(outputs.reports | beam.combiners.Count.Globally(), equal_to([2]), "reports")


def test_counts_are_committed_and_counted_again_when_they_are_lost(
    stage_samples: StageSamples, make_sample: MakeSample, staging: Staging, tokenizer: StagedTokenizer
) -> None:
    (fragment,) = stage_samples([make_sample(number) for number in range(5)], 1)
    counter = TokenCounter(tokenizer, SPEC, staging)
    assert counter.committed(fragment) is None
    result = counter.run(fragment)
    assert result.accounts == (LedgerStep(name="tokens", read=5, kept=5),)
    assert (result.text_tokens > 0, result.image_tokens > 0) == (True, True)
    assert counter.run(fragment) == result == counter.committed(fragment)
    rows = Path(staging.root) / f"{counter.path(fragment)}.parquet"
    content = rows.read_bytes()
    for damage in (rows.unlink, lambda: rows.write_bytes(content[:-1])):
        damage()
        assert counter.committed(fragment) is None
        counter.run(fragment)
        assert rows.read_bytes() == content
    rows.with_suffix(".json").write_text("{")
    assert counter.committed(fragment) is None


def test_another_tokenizer_or_other_image_sizes_count_elsewhere(
    stage_samples: StageSamples, make_sample: MakeSample, staging: Staging, tokenizer: StagedTokenizer
) -> None:
    (fragment,) = stage_samples([make_sample(1)], 1)
    other = StagedTokenizer.stage(train_bpe(["abc"], 310), "", staging)
    counters = [
        TokenCounter(tokenizer, SPEC, staging),
        TokenCounter(other, SPEC, staging),
        TokenCounter(tokenizer, SPEC.model_copy(update={"max_crops": 4}), staging),
    ]
    assert len({counter.path(fragment) for counter in counters}) == 3
    assert all(counter.path(fragment).startswith("t/tokens-") for counter in counters)
