"""What a build would do: which fragments are committed, and which are missing."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.combiners import TupleCombineFn

from step3vl.data.sample import ImageSpec
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.beam import WriteList, as_text, read_list, run_pipeline
from step3vl.pipelines.core.domain import DomainEntry
from step3vl.pipelines.core.fragments import FragmentResult, all_rows
from step3vl.pipelines.core.listing import ListInputs
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import next_fragments
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.tokens import StagedTokenizer, TokenCounter
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.core.work_list import Work
from step3vl.pipelines.layout import Generations, Retries, asset_hashes, chains_of, entries_left_out, open_staging

_COUNTS = "counts"
_NEXT = "next"
_RESULT = "control/plan.json"


class PlannedSegment(NamedTuple):
    """What a build would do with a segment of an entry, or with counting its tokens.

    Attributes:
        entry: The entry.
        name: Of the steps, or `tokens`.
        kind: Who runs it: Beam, a model's workers, or Beam for tokens.
        folder: Of the commit records, relative to the root; empty where it is not known yet.
        total: Fragments; None as long as the segment before has not committed all of its own.
        committed: Fragments that are there.
    """

    entry: DomainEntry
    name: str
    kind: Literal["step", "model", "tokens"]
    folder: str
    total: int | None
    committed: int


class CorpusPlan(NamedTuple):
    """What a build would do.

    Attributes:
        segments: Of all entries that are built, in order.
        left_out: The names of the entries that are not, and why.
    """

    segments: list[PlannedSegment]
    left_out: dict[str, str]


def corpus_plan(config: CorpusConfig, out: Path | str) -> CorpusPlan:
    """What `build_corpus` would do with the fragments of every segment. Inputs are listed; nothing is worked on.

    Args:
        config: Of the corpus.
        out: Folder or URL of the dataset.

    Raises:
        UserError: The configuration names a file that does not exist.
        InfrastructureError: A store does not answer.
    """
    staging = open_staging(config, out)
    generations = Generations.load(staging.open())
    left_out = entries_left_out(config, staging)
    config = config.without(left_out)
    chains = chains_of(config, asset_hashes(config, staging), generations.current)
    chains = chains.with_retries(Retries.load(staging.open()).current)
    chains = Chains(chains.segments, models_on_ray=False)
    tokenizer = StagedTokenizer.last(staging)

    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        work = (pipeline | ListInputs(chains, staging, config.fraction, save=False)).work
        counts = []
        for level in range(len(chains.waves()[0].levels)):
            work, of_level = work | f"Level {level}" >> CheckLevel(chains, staging, tokenizer, config.tokens.image)
            counts.append(of_level)
        sums: PCollection[Any] = counts | beam.Flatten() | beam.CombinePerKey(TupleCombineFn(sum, sum))
        _ = sums | beam.Map(json.dumps).with_output_types(str) | WriteList(staging, _RESULT)

    run_pipeline("plan", config.beam_options, staging, wire)
    sums = dict(json.loads(text) for text in read_list(staging, _RESULT))
    return CorpusPlan(list(_planned(chains, sums, tokenizer, config.tokens.image, staging)), left_out)


def _planned(
    chains: Chains,
    sums: dict[str, Sequence[int]],
    tokenizer: StagedTokenizer | None,
    spec: ImageSpec,
    staging: Staging,
) -> Iterator[PlannedSegment]:
    for numbers in chains.entries():
        is_known = True
        for number in numbers:
            segment = chains.segments[number]
            total, committed = sums.get(str(number), (0, 0))
            names = "+".join(step.name for step in segment.steps)
            kind: Literal["step", "model"] = "model" if segment.is_model else "step"
            yield PlannedSegment(segment.entry, names, kind, segment.folder, total if is_known else None, committed)
            is_known = is_known and committed == total
        samples, counted = sums.get(f"tokens {number}", (0, 0))
        folder = TokenCounter(tokenizer, spec, staging).folder(segment.folder) if tokenizer else ""
        yield PlannedSegment(segment.entry, "tokens", "tokens", folder, samples if is_known else None, counted)


class CheckedLevel(NamedTuple):
    """What `CheckLevel` gives.

    Attributes:
        work: Text of `Work` for the next level, dealt to all workers.
        counts: What was looked at, and how many fragments there are and are committed.
    """

    work: PCollection[str]
    counts: PCollection[tuple[str, tuple[int, int]]]


class CheckLevel(beam.PTransform):
    """Look at what is committed of fragments, instead of working on them.

    Args:
        chains: The segments of all entries.
        staging: Where results are committed.
        tokenizer: What counts tokens, if it is known.
        spec: Sizes of images and crops.
    """

    def __init__(self, chains: Chains, staging: Staging, tokenizer: StagedTokenizer | None, spec: ImageSpec) -> None:
        super().__init__()
        self._check = _Check(chains, staging, tokenizer, spec)

    def expand(self, work: PCollection[str]) -> Any:  # CheckedLevel; Beam has no hint for several outputs
        outputs = work | beam.ParDo(self._check).with_outputs(_COUNTS, main=_NEXT)
        counts = outputs[_COUNTS] | beam.Map(tuple).with_output_types(tuple[str, tuple[int, int]])
        return CheckedLevel(as_text(outputs, _NEXT) | beam.Reshuffle(), counts)


class _Check(beam.DoFn):
    """What is committed of a fragment, and the fragments that follow if it is."""

    def __init__(self, chains: Chains, staging: Staging, tokenizer: StagedTokenizer | None, spec: ImageSpec) -> None:
        self._chains = chains
        self._staging = staging
        self._tokenizer = tokenizer
        self._spec = spec

    def setup(self) -> None:
        self._runners: dict[int, SegmentRunner] = {}
        self._counter = TokenCounter(self._tokenizer, self._spec, self._staging) if self._tokenizer else None

    def process(self, element: str) -> Iterator[Any]:
        number, fragment = Work.load(element)
        if number not in self._runners:
            self._runners[number] = self._staging.runner(self._chains.segments[number])
        results = self._runners[number].committed_with_retries(fragment)
        yield TaggedOutput(_COUNTS, (str(number), (1, int(bool(results)))))
        for result in results:
            yield from self._follow(number, result)

    def _follow(self, number: int, result: FragmentResult) -> Iterator[Any]:
        segment = self._chains.segments[number]
        following = self._chains.following(number)
        if following is None:
            samples = all_rows(segment.path(result.id), result.id, result.rows)
            is_counted = self._counter is not None and self._counter.committed(samples) is not None
            yield TaggedOutput(_COUNTS, (f"tokens {number}", (1, int(is_counted))))
            return
        for each in next_fragments(segment, result):
            yield Work(following, each).dump()
