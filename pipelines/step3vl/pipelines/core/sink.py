"""The sink: staged samples to shards whose bytes depend on the samples alone.

Only rows travel through the shuffle; images are fetched from where they were staged as a shard is written.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsDict, PBegin, PCollection
from tokenizers import Tokenizer

from step3vl.data.dataset import (
    LedgerStep,
    RankedRow,
    ShardTarget,
    Split,
    WrittenShards,
    archived_size,
    duplicate_rank,
    shard_of,
    split_of,
    write_distinct,
)
from step3vl.data.sample import ImageSpec, Sample
from step3vl.data.storage import DEFAULT_STORE, StoreConfig
from step3vl.data.tokens import count_tokens, load_tokenizer
from step3vl.pipelines.core.beam import RunStep, StepOutputs
from step3vl.pipelines.core.staging import load_sample, read_rows
from step3vl.pipelines.core.steps import Record

SINK_VERSION = 1  # raised with every change that changes the bytes of shards
TOKENS = "tokens"  # the ledger's name of the counting step


class Sharding(NamedTuple):
    """Where shards go, a folder or any URL of fsspec; how many each split gets; and the fraction held out."""

    root: Path | str
    name: str
    shards: int | ShardTarget
    heldout: float
    store: StoreConfig = DEFAULT_STORE


ShardKey = tuple[Split, int, int]  # shard number `[1]` of `[2]` in a split


class CountTokens:
    """Worker: a sample with its tokens counted. An image of more crops than allowed makes it a failed record."""

    def __init__(self, tokenizer: str, spec: ImageSpec) -> None:
        self._name = tokenizer
        self._spec = spec

    def setup(self) -> None:
        self._tokenizer: Tokenizer = load_tokenizer(self._name)

    def process(self, record: Record[Sample], rng: random.Random) -> Iterator[Sample]:
        tokens = count_tokens(record.value, self._tokenizer, self._spec)
        yield record.value.model_copy(update={"tokens": tokens})


def _to_shard(sample: Sample, sharding: Sharding, counts: dict[Split, int]) -> tuple[ShardKey, str]:
    """A sample's shard, and its row as JSON."""
    split = split_of(sample.id, sharding.heldout)
    key = split, shard_of(sample.id, counts[split]), counts[split]
    return key, json.dumps(sample.to_row(), ensure_ascii=False, separators=(",", ":"))


def _write(group: tuple[ShardKey, Iterable[str]], sharding: Sharding) -> WrittenShards:
    (split, number, count), rows = group
    ranked = (RankedRow(row["id"], split, duplicate_rank(row), row) for row in map(json.loads, rows))
    return write_distinct(sharding.root, sharding.name, number, count, ranked, store=sharding.store)


def _weigh(sample: Sample, heldout: float) -> tuple[Split, np.ndarray]:
    """The bytes and the tokens that a sample brings to its split, int64 [2]."""
    assert sample.tokens is not None
    return split_of(sample.id, heldout), np.array([archived_size(sample.to_row()), sample.tokens.total], np.int64)


def _shard_counts(samples: PCollection[Sample], sharding: Sharding) -> dict[Split, int] | AsDict:
    """How many shards each split gets: as configured, or from the totals of its samples, as a side input."""
    target = sharding.shards
    if isinstance(target, int):
        return {"train": target, "heldout": target}
    weights = samples | "weigh" >> beam.Map(_weigh, sharding.heldout)
    totals = weights | "totals" >> beam.CombinePerKey(lambda values: sum(values, np.zeros(2, np.int64)))
    counts = totals | "shards of a split" >> beam.MapTuple(lambda split, total: (split, target.count(*total.tolist())))
    return AsDict(counts)


class SinkOutputs(NamedTuple):
    """The output of `WriteShards`: the shards as JSON-able `ShardInfo`, their accounts, and the counting step's."""

    infos: PCollection[dict[str, object]]
    accounts: PCollection[LedgerStep]
    counted: StepOutputs[Sample]


class WriteShards(beam.PTransform):
    """Count tokens, drop repeated samples, and write the shards of a dataset.

    A shard that no sample falls into has no file. Nothing is part of the dataset until its manifest names it.

    Args:
        parts: Staged samples.
        sharding: Where the shards go and how many there are.
        tokenizer: What `load_tokenizer` takes.
        spec: Sizes of images and crops, by which image tokens are counted.
    """

    def __init__(self, parts: Sequence[str], sharding: Sharding, tokenizer: str, spec: ImageSpec) -> None:
        super().__init__()
        self._parts = parts
        self._sharding = sharding
        self._worker = CountTokens(tokenizer, spec)

    def expand(self, pipeline: PBegin) -> Any:  # SinkOutputs; Beam has no hint for several outputs
        counted = (
            pipeline
            | beam.Create(self._parts)
            | "spread parts" >> beam.Reshuffle()
            | beam.FlatMap(lambda part: [Record(sample.id, sample) for sample in read_rows([part], load_sample)])
            | RunStep(TOKENS, self._worker, 0)
        )
        counts = _shard_counts(counted.kept, self._sharding)
        rows = counted.kept | beam.Map(_to_shard, self._sharding, counts).with_output_types(
            tuple[tuple[str, int, int], str]
        )
        shards = rows | beam.GroupByKey() | beam.Map(_write, self._sharding)
        infos = shards | "infos" >> beam.FlatMap(
            lambda written: [info.model_dump(mode="json") for info in written.infos]
        )
        accounts = shards | "shard accounts" >> beam.Map(lambda written: written.step)
        return SinkOutputs(infos, accounts, counted)
