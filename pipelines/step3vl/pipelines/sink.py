"""The sink: staged samples to shards whose bytes depend on the samples alone.

Only rows travel through the shuffle; pictures are fetched from where they were staged as a shard is written.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from tokenizers import Tokenizer

from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import shard_name, shard_of, split_of, write_shard
from step3vl.data.ledger import Step
from step3vl.data.manifest import ShardInfo, Split
from step3vl.data.sample import Sample
from step3vl.data.sharding import ShardTarget, archived_size
from step3vl.data.spill import DUPLICATE, STEP
from step3vl.data.store import DEFAULT, StoreConfig
from step3vl.data.tokens import count_tokens, load_tokenizer
from step3vl.pipelines.staging import read_rows
from step3vl.pipelines.steps import Outcome, Record, RunStep


class Sharding(NamedTuple):
    """Where shards go, a folder or any URL of fsspec; how many each split gets; and the fraction held out."""

    root: Path | str
    name: str
    shards: int | ShardTarget
    heldout: float
    store: StoreConfig = DEFAULT


class _Place(NamedTuple):
    """Shard `number` of `of` in a split."""

    split: Split
    number: int
    of: int


class CountTokens:
    """Worker: a sample's row, now with its tokens. A picture of more crops than allowed makes it a dead letter."""

    def __init__(self, tokenizer: str, spec: ImageSpec) -> None:
        self._name = tokenizer
        self._spec = spec

    def setup(self) -> None:
        self._tokenizer: Tokenizer = load_tokenizer(self._name)

    def process(self, record: Record, rng: Any) -> Iterator[dict[str, Any]]:
        tokens = count_tokens(Sample.from_row(record.value), self._tokenizer, self._spec)
        yield {**record.value, "tokens": tokens.model_dump()}


class _Shard(NamedTuple):
    info: ShardInfo
    account: Step


def _rank(row: dict[str, Any]) -> tuple[str, ...]:
    """The order of rows in a shard; of equal samples the first is kept.

    It goes by what is said of a sample and not by where its pictures happen to lie, which differs between runs.
    """
    return row["id"], json.dumps([row["source"], row.get("scores")], sort_keys=True)


def _distinct(rows: Iterable[dict[str, Any]]) -> Iterator[Sample]:
    last = ""
    for row in sorted(rows, key=_rank):
        if row["id"] != last:
            last = row["id"]
            yield Sample.from_row(row)


def _write(group: tuple[_Place, Iterable[str]], sharding: Sharding) -> _Shard:
    place, values = group
    rows = [json.loads(value) for value in values]
    name = shard_name(sharding.name, *place)
    info = write_shard(sharding.root, name, place.split, _distinct(rows), sharding.store)
    repeated = len(rows) - info.samples
    dropped = {DUPLICATE: repeated} if repeated else {}
    return _Shard(info, Step(name=STEP, read=len(rows), kept=info.samples, dropped=dropped))


def _place(row: dict[str, Any], sharding: Sharding, counts: dict[Split, int]) -> tuple[_Place, str]:
    split = split_of(row["id"], sharding.heldout)
    place = _Place(split, shard_of(row["id"], counts[split]), counts[split])
    return place, json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _weigh(row: dict[str, Any], heldout: float) -> tuple[Split, np.ndarray]:
    """The bytes and the tokens that a sample brings to its split."""
    tokens = row["tokens"]["text"] + row["tokens"]["image"]
    return split_of(row["id"], heldout), np.array([archived_size(row), tokens], np.int64)


def _counts(rows: Any, sharding: Sharding) -> Any:
    """How many shards each split gets: as configured, or from the totals of its rows, as a side input."""
    target = sharding.shards
    if isinstance(target, int):
        return {"train": target, "heldout": target}
    weights = rows | "weigh" >> beam.Map(_weigh, sharding.heldout)
    totals = weights | "totals" >> beam.CombinePerKey(lambda values: sum(values, np.zeros(2, np.int64)))
    counts = totals | "shards of a split" >> beam.MapTuple(lambda split, total: (split, target.count(*total.tolist())))
    return beam.pvalue.AsDict(counts)


class Shards(NamedTuple):
    """What `WriteShards` gives: descriptions of the shards, their accounts, and the outcome of the counting step."""

    infos: Any
    accounts: Any
    counted: Outcome


class WriteShards(beam.PTransform):
    """Count tokens, drop repeated samples, and write the shards of a dataset; a shard that no sample falls into has no
    file. Nothing is part of the dataset until its manifest names it."""

    def __init__(self, parts: list[str], sharding: Sharding, tokenizer: str, spec: ImageSpec) -> None:
        super().__init__()
        self._parts = parts
        self._sharding = sharding
        self._worker = CountTokens(tokenizer, spec)

    def expand(self, pipeline: Any) -> Any:
        counted = (
            pipeline
            | beam.Create(self._parts)
            | "spread parts" >> beam.Reshuffle()
            | beam.FlatMap(lambda part: [Record(row["id"], row) for row in read_rows([part])])
            | RunStep("tokens", self._worker, 0)
        )
        placed = counted.kept | beam.Map(_place, self._sharding, _counts(counted.kept, self._sharding))
        shards = placed | beam.GroupByKey() | beam.Map(_write, self._sharding)
        infos = shards | "infos" >> beam.Map(lambda shard: shard.info.model_dump(mode="json"))
        accounts = shards | "shard accounts" >> beam.Map(lambda shard: shard.account)
        return Shards(infos, accounts, counted)
