"""Segments: runs of consecutive steps of an entry that need no dealing of records in between.

A segment ends before a model, after a model, and before a step that is spread. Its unit of work is a fragment, which
`SegmentRunner` passes through all its steps.

    <root>/<entry>/<step>-<fingerprint>/<fragment>.bin           samples as JSON, and images, back to back
                                        <fragment>.parquet       typed rows
                                        <fragment>.dead.parquet  dead letters
                                        <fragment>.json          `FragmentResult`, written last: the commit
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from step3vl.data.sample import Sample
from step3vl.pipelines.core.domain import BeamStep, DomainEntry, ModelStep, Step
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, next_ranges

STAGING_VERSION = 2  # of the files of a fragment


@dataclass(frozen=True)
class Segment:
    """Consecutive steps of an entry. It travels to workers, which look the code up by the domain of the entry.

    Attributes:
        entry: The configuration.
        seed: Of the corpus.
        first: Index of the first step in the domain.
        stop: Index after the last one.
        fingerprint: Of all that decides what becomes of a record: seed, entry, assets, and the versions of the steps
            from the first one of the domain to the last one of the segment.
        retries: How often its failed records were to be tried again, see `retry`. It changes none of the others.
    """

    entry: DomainEntry
    seed: int
    first: int
    stop: int
    fingerprint: str
    retries: int = 0

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the segment."""
        return steps_of(self.entry)[self.first : self.stop]

    @property
    def name(self) -> str:
        """`{entry}.{first step}`, as the progress shows it."""
        return f"{self.entry.name}.{self.steps[0].name}"

    @property
    def folder(self) -> str:
        """Of its fragments, relative to the root: `<entry>/<first step>-<fingerprint[:20]>`."""
        return f"{self.entry.name}/{self.steps[0].name}-{self.fingerprint[:20]}"

    def path(self, fragment: str) -> str:
        """Of the fragment with this id, relative to the root and without an ending."""
        return f"{self.folder}/{fragment}"

    @property
    def is_model(self) -> bool:
        """Whether a model runs it; it then has no other step."""
        return isinstance(self.steps[0], ModelStep)

    @property
    def emits_samples(self) -> bool:
        """Whether it is the last one of the entry."""
        return self.output is Sample

    @property
    def output(self) -> type:
        """The type of what it emits: `Sample`, or a pydantic model."""
        return self.steps[-1].output

    @property
    def reads(self) -> type | None:
        """The type of the values of the rows that it reads; None when it reads the entry's inputs."""
        return steps_of(self.entry)[self.first - 1].output if self.first else None


def steps_of(entry: DomainEntry) -> tuple[Step, ...]:
    from step3vl.pipelines.domains import DOMAINS  # which imports this package

    return DOMAINS[entry.domain].steps_of(entry)


def segments_of(entry: DomainEntry, seed: int, assets: str) -> list[Segment]:
    """The segments of an entry, in order.

    Args:
        entry: The configuration.
        seed: Of the corpus.
        assets: A fingerprint of the contents of the entry's assets.
    """
    steps = steps_of(entry)
    starts = [index for index in range(len(steps)) if index == 0 or _begins_segment(steps[index - 1], steps[index])]
    config = entry.model_dump(mode="json", exclude={"optional", *entry.INPUT_FIELDS})
    segments = []
    for first, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
        versions = [(step.name, step.version) for step in steps[:stop]]
        segments.append(Segment(entry, seed, first, stop, digest(STAGING_VERSION, seed, config, assets, versions)))
    return segments


def _begins_segment(before: Step, step: Step) -> bool:
    return isinstance(before, ModelStep) or isinstance(step, ModelStep) or (isinstance(step, BeamStep) and step.spread)


def digest(*values: object) -> str:
    """A fingerprint of JSON-able values, in which the order of keys counts: random choices follow it."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()


def next_fragments(segment: Segment, result: FragmentResult) -> Iterator[Fragment]:
    """The fragments that the next segment reads of what `segment` committed."""
    return next_ranges(segment.path(result.id), result.id, result.rows)
