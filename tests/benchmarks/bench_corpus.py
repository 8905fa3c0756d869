"""Building a corpus: what Beam and the staging add to the work on the records themselves, domain by domain.

All contenders make the same samples. The plain loop calls `SegmentRunner.run` fragment by fragment; Beam runs the same
fragments in this process; the bare loop calls the workers of the steps and keeps nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apache_beam as beam
from fixtures import folder
from measure import Row, race

from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.beam import run_pipeline
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.fragments import Fragment, number_fragments
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import Segment
from step3vl.pipelines.core.segments_on_beam import RunLevel
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.core.work_list import Work
from step3vl.pipelines.layout import asset_hashes, chains_of, open_staging

ROOT = Path(__file__).parents[2]
ENTRIES: tuple[dict[str, Any], ...] = (
    {
        "domain": "grounding", "name": "scenes", "count": 500, "kind": "document", "questions": 3,
        "tasks": {"grounding.point": 1, "grounding.box": 1}, "image_size": [448, 448],
    },
    {"domain": "ocr.image_to_text", "name": "lines", "count": 500},
    {"domain": "maps", "name": "maps", "count": 250, "image_size": [448, 448]},
    {"domain": "education", "name": "sums", "count": 20_000, "modality": "text", "families": {"chain_sum": {}}},
)  # fmt: skip
"""Entries with images of the size that training uses, and the cheapest one that there is: problems as text."""


def rows(rounds: int) -> list[Row]:
    """The rows of the table; half the rounds, since each takes seconds."""
    return [row for fields in ENTRIES for row in _rows_of(fields, max(rounds // 2, 1))]


def _rows_of(fields: dict[str, Any], rounds: int) -> Iterator[Row]:
    config = CorpusConfig.model_validate({"name": "bench", "domains": [fields]})
    with folder() as root:
        staging = open_staging(config.model_copy(update={"root": str(root)}), root)
        (segment,) = chains_of(config, asset_hashes(config, staging), {}).segments
    count = int(fields["count"])
    fragments = list(number_fragments(0, count))
    contenders = {
        "plain": lambda: _plain(segment, fragments),
        "beam": lambda: _beam(segment, fragments),
        "bare": lambda: _bare(segment, count),
    }
    seconds = race(contenders, rounds)
    plain, through_beam, bare = (count / seconds[name] for name in contenders)
    name = f"{segment.name}, {count} records"
    share = 1 - through_beam / plain
    note = f"a plain loop over the same {len(fragments)} fragments; Beam's share is {share:.1%}"
    yield Row(f"{name}: through Beam", through_beam, plain, "records/cpu-s", note)
    note = f"the workers alone, nothing written; the share of staging is {1 - plain / bare:.1%}"
    yield Row(f"{name}: staged", plain, bare, "records/cpu-s", note)


@contextmanager
def _staging() -> Iterator[Staging]:
    with folder() as root:
        yield Staging(str(root), str(ROOT))


def _plain(segment: Segment, fragments: list[Fragment]) -> int:
    with _staging() as staging:
        runner = SegmentRunner(segment, staging.root, staging.base)
        return sum(runner.run(fragment).rows for fragment in fragments)


def _beam(segment: Segment, fragments: list[Fragment]) -> int:
    with _staging() as staging:
        chains = Chains((segment,), models_on_ray=False)
        (wave,) = chains.waves()

        def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
            work = pipeline | beam.Create([Work(0, fragment).dump() for fragment in fragments])
            _ = work | beam.Reshuffle() | RunLevel(chains, wave, 0, staging, 1.0)

        run_pipeline("bench", (), staging, wire)
        runner = SegmentRunner(segment, staging.root, staging.base)
        results = [runner.committed(fragment) for fragment in fragments]
        return sum(result.rows for result in results if result is not None)


def _bare(segment: Segment, count: int) -> int:
    entry = segment.entry
    context = StepContext(segment.seed, str(ROOT))
    (step,) = segment.steps
    worker = step.worker(entry, context)  # type: ignore[union-attr]  # of a domain without a model
    worker.setup()
    name, kept = f"{entry.name}.{step.name}", 0
    for number in range(count):
        record = Record(f"{entry.name}/{number}", number)
        with suppress(Dropped):
            kept += len(list(worker.process(record, rng_for(segment.seed, name, record.key))))
    return kept
