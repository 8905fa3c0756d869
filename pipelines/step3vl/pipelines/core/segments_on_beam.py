"""Fragments through the segments of their entries, in Beam's workers.

All entries share a pipeline. Its elements are text (`Work.dump`): a fragment and the number of its segment, never
records. So a worker takes the next fragment of any entry, and a pipeline has as many levels as the longest entry has
segments, however many entries there are.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PCollection, TaggedOutput

from step3vl.data.dataset import DeadLetter, LedgerStep
from step3vl.data.errors import InfrastructureError
from step3vl.pipelines.core.accounts import InputTotal, Report, check_early, first_examples
from step3vl.pipelines.core.beam import as_text
from step3vl.pipelines.core.dead_letters import read_staged_dead_letters
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, all_rows
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import Segment, next_fragments
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains, Wave
from step3vl.pipelines.core.work_list import Work

_LISTS = "lists"
_NEXT = "next"
_REPORTS = "reports"


class LevelOutputs(NamedTuple):
    """What `RunLevel` gives.

    Attributes:
        work: Text of `Work` for the next level of the same pipeline.
        lists: Names of work lists, and fragments as JSON, for other pipelines.
        reports: `Report`s as JSON.
    """

    work: PCollection[str]
    lists: PCollection[tuple[str, str]]
    reports: PCollection[str]


class RunLevel(beam.PTransform):
    """Work on the fragments of one level of a wave, and commit each.

    Args:
        chains: The segments of all entries.
        wave: What the pipeline runs.
        level: Index of the level.
        staging: Where results are committed.
        budget: The fraction of its records that a step may fail on.
    """

    def __init__(self, chains: Chains, wave: Wave, level: int, staging: Staging, budget: float) -> None:
        super().__init__(f"Level {level}")
        self._chains = chains
        self._numbers = wave.levels[level]
        self._staging = staging
        self._follow = _Follow(chains, wave, staging, budget)

    def expand(self, work: PCollection[str]) -> Any:  # LevelOutputs; Beam has no hint for several outputs
        segments = self._chains.segments
        of_ray = frozenset(number for number in self._numbers if self._chains.is_on_ray(number))
        models = [number for number in self._numbers if segments[number].is_model and number not in of_ray]
        others = frozenset(self._numbers) - of_ray - frozenset(models)
        results = [work | "run" >> beam.ParDo(_Run(segments, others, self._staging))]
        if of_ray:
            results.append(work | "committed" >> beam.ParDo(_TakeCommitted(segments, of_ray, self._staging)))
        if models:
            from step3vl.pipelines.core.model_on_beam import RunModel  # which imports torch where there is one
        for number in models:
            segment = segments[number]
            results.append(work | segment.name >> RunModel(number, segment, self._staging))
        follow = beam.ParDo(self._follow).with_outputs(_LISTS, _REPORTS, main=_NEXT)
        outputs = results | beam.Flatten() | "follow" >> follow
        lists = outputs[_LISTS] | _LISTS >> beam.Map(tuple).with_output_types(tuple[str, str])
        return LevelOutputs(as_text(outputs, _NEXT), lists, as_text(outputs, _REPORTS))


class _OnSegments(beam.DoFn):
    """Something done with the fragments of some segments, each of which has a runner of its own."""

    def __init__(self, segments: Sequence[Segment], numbers: frozenset[int], staging: Staging) -> None:
        self._segments = segments
        self._numbers = numbers
        self._staging = staging

    def setup(self) -> None:
        self._staging.heartbeats.start()
        self._runners: dict[int, SegmentRunner] = {}

    def teardown(self) -> None:
        for runner in self._runners.values():
            runner.close()

    def process(self, element: str) -> Iterator[tuple[str, str]]:
        number, fragment = Work.load(element)
        if number in self._numbers:
            if number not in self._runners:
                self._runners[number] = self._staging.runner(self._segments[number])
            with self._staging.heartbeats.working(f"{self._segments[number].name} {fragment.id}"):
                for result in self._results(self._runners[number], fragment):
                    yield element, result.model_dump_json()

    def _results(self, runner: SegmentRunner, fragment: Fragment) -> list[FragmentResult]:
        raise NotImplementedError


class _Run(_OnSegments):
    def _results(self, runner: SegmentRunner, fragment: Fragment) -> list[FragmentResult]:
        return runner.run_with_retries(fragment)


class _TakeCommitted(_OnSegments):
    def _results(self, runner: SegmentRunner, fragment: Fragment) -> list[FragmentResult]:
        results = runner.committed_with_retries(fragment)
        if not results:
            raise InfrastructureError(f"what the model made of fragment {fragment.id} was lost")
        return results


class _Follow(beam.DoFn):
    """What follows from a committed fragment: the fragments of the next segment, and the report."""

    def __init__(self, chains: Chains, wave: Wave, staging: Staging, budget: float) -> None:
        self._chains = chains
        self._wave = wave
        self._inside = frozenset(wave.numbers)
        self._staging = staging
        self._budget = budget

    def setup(self) -> None:
        self._so_far = Report()

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        number = Work.load(element[0]).segment
        result = FragmentResult.model_validate_json(element[1])
        segment = self._chains.segments[number]
        path = segment.path(result.id)
        dead_letters = read_staged_dead_letters(self._staging.open(), path) if DEAD_LETTERS in result.files else []
        report = _report(segment, result, dead_letters)
        self._so_far += report
        check_early(self._so_far, self._budget)
        _count(result.accounts)
        yield TaggedOutput(_REPORTS, report.model_dump_json(exclude_defaults=True))
        if dead_letters:
            rows = all_rows(path, result.id, len(dead_letters))
            yield TaggedOutput(_LISTS, (self._wave.dead_letters, rows.dump()))
        following = self._chains.following(number)
        if following is None:
            yield TaggedOutput(_LISTS, (self._wave.samples, all_rows(path, result.id, result.rows).dump()))
            return
        for each in next_fragments(segment, result):
            if following in self._inside:
                yield Work(following, each).dump()
            else:
                yield TaggedOutput(_LISTS, (self._chains.work_list(following), each.dump()))


def _report(segment: Segment, result: FragmentResult, dead_letters: Sequence[DeadLetter]) -> Report:
    inputs = {segment.entry.name: InputTotal(content=result.content)} if result.content else {}
    return Report(
        accounts=result.accounts,
        examples=first_examples(dead_letters),
        inputs=inputs,
        text_bytes=result.text_bytes,
        fragments={segment.name: 1},
    )


def _count(accounts: Iterable[LedgerStep]) -> None:
    """Beam's metrics, for dashboards only: a bundle that is retried counts twice."""
    for step in accounts:
        counts = {"read": step.read, "kept": step.kept, "dropped": step.dropped, "failed": step.failed}
        for name, count in counts.items():
            total = sum(count.values()) if isinstance(count, dict) else count
            Metrics.counter(step.name, name).inc(total)


def inputs_for_ray(chains: Chains) -> beam.PTransform[str, tuple[str, str]]:
    """The fragments of inputs that a model on Ray reads, for the work list of the model."""

    def dump(element: str) -> Iterator[tuple[str, str]]:
        number, _, fragment = element.partition(" ")
        if chains.is_on_ray(int(number)):
            yield chains.work_list(int(number)), fragment

    return beam.FlatMap(dump).with_output_types(tuple[str, str])
