"""Outputs that the benchmarks' authors published with their scores: our metrics must give the same numbers."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.registry import benchmark_names, load_module
from step3vl.evaluation.scoring import score_recorded

TOLERANCE = 1e-9
"""Relative; sums of the same numbers in another order differ by less."""


@dataclass(frozen=True)
class RecordedRun:
    """Recorded outputs of one model, and the numbers that the official code gives on them.

    Args:
        folder: Below the folder of all records.
        files: The file or files that `Benchmark.recorded` reads, below `folder`; the official files lie there, too.
            `file#run` is a run of a file that holds several.
        published: By name, values or counts of `Metrics`, unrounded.
        note: One sentence where ours differ, or where the published number needs one.
    """

    folder: str
    files: str | tuple[str, ...]
    published: Mapping[str, float | int]
    note: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files below the folder of all records."""
        files = (self.files,) if isinstance(self.files, str) else self.files
        return tuple(f"{self.folder}/{file}" for file in files)


@dataclass(frozen=True)
class RecordRow:
    """A number that was published beside ours.

    Args:
        benchmark: The benchmark's name.
        run: The first file of the recorded outputs.
        metric: The name of the value or count.
        published: What the authors' code gives.
        ours: What our code gives; None where the outputs are not there.
        responses: How many were scored.
        agreeing: Responses whose recorded verdict is ours, of those with one; None where none was recorded.
        note: Of the run.
    """

    benchmark: str
    run: str
    metric: str
    published: float
    ours: float | None = None
    responses: int = 0
    agreeing: tuple[int, int] | None = None
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether the numbers are the same, to the last digits of floating-point sums."""
        return self.ours is not None and math.isclose(self.ours, self.published, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def score_records(records: Path, names: Iterable[str] = ()) -> Iterator[RecordRow]:
    """Score the recorded runs that the benchmarks declare in `RECORDS`, by the official rule.

    Args:
        records: The folder with the recorded outputs, a folder for each benchmark.
        names: Benchmarks to score; all of them by default.

    Raises:
        UserError: there is no such folder, a file in it has another layout, or a metric is none of the benchmark's.
    """
    if not records.is_dir():
        raise UserError(f"{records}: no such folder; give one with recorded outputs, a folder for each benchmark")
    for name in names or benchmark_names():
        module = load_module(name)
        for run in getattr(module, "RECORDS", ()):
            if all((records / path.partition("#")[0]).is_file() for path in run.paths):
                yield from _score_run(module.BENCHMARK, run, records)
            else:
                for metric, published in run.published.items():
                    yield RecordRow(name, run.paths[0], metric, published, note="the outputs are not there")


def _score_run(benchmark: Benchmark, run: RecordedRun, records: Path) -> Iterator[RecordRow]:
    responses = score_recorded(benchmark, [records / path for path in run.paths], records / run.folder)
    metrics = benchmark.summarise([each.scored for each in responses])
    numbers = {**metrics.counts, **metrics.values}
    pairs = [
        (float(each.response.recorded), each.scored.score.value)
        for each in responses
        if isinstance(each.response.recorded, bool | int | float)
    ]
    agreeing = (sum(math.isclose(theirs, ours) for theirs, ours in pairs), len(pairs)) if pairs else None
    for metric, published in run.published.items():
        if metric not in numbers:
            raise UserError(f"{benchmark.about.name}: no metric '{metric}'; there are {', '.join(sorted(numbers))}")
        yield RecordRow(
            benchmark.about.name,
            run.paths[0],
            metric,
            published,
            numbers[metric],
            len(responses),
            agreeing,
            run.note,
        )
