"""The sink: counted samples to shards whose bytes depend on the samples alone.

Only packed ids and places travel through the shuffle, never a text or an image. The worker that writes a shard fetches
the blocks of its samples, many at a time (`shard_writer`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection, TaggedOutput
from apache_beam.transforms.combiners import TupleCombineFn

from step3vl.data.dataset import Exclusions, ShardTarget
from step3vl.data.sample import ImageSpec
from step3vl.pipelines.core.accounts import Report, check_early, first_examples
from step3vl.pipelines.core.beam import as_text
from step3vl.pipelines.core.dead_letters import read_staged_dead_letters
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS
from step3vl.pipelines.core.fragments import all_rows
from step3vl.pipelines.core.shard_writer import SampleTable, Sharding, ShardKey, ShardWriter
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.tokens import NO_EXCLUSIONS, NO_RETRIES, StagedTokenizer, TokenCounter
from step3vl.pipelines.core.work_list import Work

_COUNTED = "counted"
_DEAD_LETTERS = "dead_letters"
_REPORTS = "reports"
_SHARDS = "shards"


class CountedOutputs(NamedTuple):
    """What `CountTokens` gives.

    Attributes:
        counted: Paths of fragments of counts and of their samples, relative to the root, with a tab between them.
        dead_letters: Text of `Work`: the fragments that have dead letters.
        reports: `Report`s as JSON.
    """

    counted: PCollection[str]
    dead_letters: PCollection[str]
    reports: PCollection[str]


class CountTokens(beam.PTransform):
    """Count the tokens of fragments of samples, and commit the counts.

    Args:
        tokenizer: What counts them.
        spec: Sizes of images and crops, by which image tokens are counted.
        staging: Where the samples are and the counts go.
        budget: The fraction of samples that may fail, as by an image of more crops than the sizes allow.
        retries: As of `TokenCounter`.
        exclusions: The samples that must no longer be used.
    """

    def __init__(
        self,
        tokenizer: StagedTokenizer,
        spec: ImageSpec,
        staging: Staging,
        budget: float,
        retries: Mapping[str, int] = NO_RETRIES,
        exclusions: Exclusions = NO_EXCLUSIONS,
    ) -> None:
        super().__init__()
        self._count = _CountFragment(tokenizer, spec, staging, budget, retries, exclusions)

    def expand(self, work: PCollection[str]) -> Any:  # CountedOutputs; Beam has no hint for several outputs
        outputs = work | beam.ParDo(self._count).with_outputs(_DEAD_LETTERS, _REPORTS, main=_COUNTED)
        return CountedOutputs(*(as_text(outputs, tag) for tag in (_COUNTED, _DEAD_LETTERS, _REPORTS)))


class _CountFragment(beam.DoFn):
    def __init__(
        self,
        tokenizer: StagedTokenizer,
        spec: ImageSpec,
        staging: Staging,
        budget: float,
        retries: Mapping[str, int],
        exclusions: Exclusions,
    ) -> None:
        self._arguments = tokenizer, spec, staging, retries, exclusions
        self._staging = staging
        self._budget = budget

    def setup(self) -> None:
        self._staging.heartbeats.start()
        self._counter = TokenCounter(*self._arguments)
        self._so_far = Report()

    def process(self, element: str) -> Iterator[Any]:
        fragment = Work.load(element).fragment
        with self._staging.heartbeats.working(f"tokens of {fragment.id}"):
            result = self._counter.run(fragment)
        path = self._counter.path(fragment, result.id)
        dead_letters = read_staged_dead_letters(self._staging.open(), path) if DEAD_LETTERS in result.files else []
        report = Report(accounts=result.accounts, examples=first_examples(dead_letters))
        self._so_far += report
        check_early(self._so_far, self._budget)
        yield f"{path}\t{result.samples}"
        yield TaggedOutput(_REPORTS, report.model_dump_json(exclude_defaults=True))
        if dead_letters:
            yield TaggedOutput(_DEAD_LETTERS, Work(0, all_rows(path, result.id, len(dead_letters))).dump())


class ShardOutputs(NamedTuple):
    """What `WriteShards` gives: `WrittenShard`s as JSON, and `Report`s as JSON."""

    shards: PCollection[str]
    reports: PCollection[str]


class WriteShards(beam.PTransform):
    """Drop repeated samples, and write the shards of a dataset.

    A shard that no sample falls into has no file. Nothing is part of the dataset until its manifest names it.

    Args:
        sharding: Where the shards go and how many there are.
        staging: Where the samples and their counts are.
    """

    def __init__(self, sharding: Sharding, staging: Staging) -> None:
        super().__init__()
        self._sharding = sharding
        self._staging = staging

    def expand(self, counted: PCollection[str]) -> Any:  # ShardOutputs; Beam has no hint for several outputs
        packs = counted | "deal samples" >> beam.FlatMap(
            _deal, self._sharding, self._staging, self._counts(counted)
        ).with_output_types(tuple[str, bytes])
        write = beam.ParDo(_WriteShard(self._sharding, self._staging))
        outputs = packs | beam.GroupByKey() | write.with_outputs(_REPORTS, main=_SHARDS)
        return ShardOutputs(as_text(outputs, _SHARDS), as_text(outputs, _REPORTS))

    def _counts(self, counted: PCollection[str]) -> dict[str, int] | AsDict:
        """How many shards each split gets: as configured, or from the totals of its samples, as a side input."""
        target = self._sharding.shards
        if isinstance(target, int):
            return {"train": target, "heldout": target}
        weights = counted | "weigh" >> beam.FlatMap(_weigh, self._sharding.heldout, self._staging)
        totals = weights | "totals" >> beam.CombinePerKey(TupleCombineFn(sum, sum))
        return AsDict(totals | "shards of a split" >> beam.Map(_shards_of, target))


def _shards_of(total: tuple[str, tuple[int, int]], target: ShardTarget) -> tuple[str, int]:
    split, (size, tokens) = total
    return split, target.count(size, tokens)


def _weigh(element: str, heldout: float, staging: Staging) -> Iterator[tuple[str, tuple[int, int]]]:
    """The bytes and the tokens that a fragment brings to each split."""
    table = SampleTable.read(staging, *element.split("\t"))
    for split, rows in table.by_split(heldout).items():
        yield split, (int(rows["archived"].sum()), int(rows["text"].sum() + rows["image"].sum()))


def _deal(element: str, sharding: Sharding, staging: Staging, counts: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The samples of a fragment, packed, by the key of their shard."""
    table = SampleTable.read(staging, *element.split("\t"))
    for key, part in table.by_shard(sharding.heldout, counts):
        yield key.dump(), part.pack()


class _WriteShard(beam.DoFn):
    def __init__(self, sharding: Sharding, staging: Staging) -> None:
        self._sharding = sharding
        self._staging = staging

    def setup(self) -> None:
        self._staging.heartbeats.start()
        self._writer = ShardWriter(self._sharding, self._staging)

    def process(self, group: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
        key = ShardKey.load(group[0])
        with self._staging.heartbeats.working(self._sharding.file_name(key)):
            record = self._writer.write(key, [SampleTable.unpack(pack) for pack in group[1]])
        yield record.written.model_dump_json()
        yield TaggedOutput(_REPORTS, Report(accounts=(record.step,)).model_dump_json(exclude_defaults=True))
