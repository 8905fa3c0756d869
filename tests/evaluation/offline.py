"""Benchmarks from end to end with a tiny model of random weights: a test of format and speed, not of quality.

    python tests/evaluation/offline.py DATA [--out build/eval-offline] [--items 8] [--bench NAME ...]

Every benchmark whose official files and images lie in DATA/NAME is read whole, its items are counted against its
release, and some of them are answered, scored by both rules and compared on a page. Exits with 1 if a number of items
is another, a response failed, or a run that is continued differs. Where a judge grades, the tiny model is asked.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from tiny_model import write_tiny_model

from step3vl.evaluation.benchmark import Benchmark, JudgedBenchmark
from step3vl.evaluation.comparison import compare
from step3vl.evaluation.files import missing_files
from step3vl.evaluation.judge import Judge, JudgeConfig
from step3vl.evaluation.model_identity import folder_fingerprint
from step3vl.evaluation.page import render_comparison
from step3vl.evaluation.registry import benchmark_names, data_folder, load_benchmark
from step3vl.evaluation.results import ITEMS, Result
from step3vl.evaluation.runner import EvalConfig, read_images, run_benchmark
from step3vl.evaluation.scoring import Response, load_items, read_responses, score_responses
from step3vl.inference import Engine, EngineBackend
from step3vl.inference.client import Sampling, run_sync
from step3vl.model import load_model

QUESTION = "What is the answer to the question? Choose the option that is right: A, B, C or D."
"""What the tiny model's tokenizer is trained on."""
REPLY = "The area is 3 times 4.\n\nThe answer is \\boxed{B}"
"""What is scored as the response to every item, for the time that scoring takes."""


@dataclass(frozen=True)
class OfflineRow:
    """What was seen of a benchmark.

    Args:
        name: The benchmark.
        items: How many the files hold.
        release: How many its release has; None where the files alone decide.
        reading: CPU seconds to read all items with their images.
        scoring: Responses that are scored in a CPU second; None where scoring runs code or asks a judge.
        answering: CPU seconds for a response of the tiny model.
        result: The run.
        stable: Whether the run, continued, gave the same numbers without asking again.
    """

    name: str
    items: int
    release: int | None
    reading: float
    scoring: float | None
    answering: float
    result: Result
    stable: bool

    @property
    def passed(self) -> bool:
        """Whether the items are complete, every one of those asked was answered, and the run resumes."""
        metrics = self.result.metrics
        return (
            self.items == (self.release or self.items) and not metrics["failed"] + metrics["missing"] and self.stable
        )


def complete_benchmarks(data: Path) -> list[Benchmark]:
    """The benchmarks whose official files and images are all there."""
    benchmarks = [load_benchmark(name) for name in benchmark_names() if (data / name).is_dir()]
    return [each for each in benchmarks if not missing_files(data_folder(data, each.folder), each.about)]


def run_offline(benchmarks: Sequence[Benchmark], data: Path, out: Path, items: int) -> Iterator[OfflineRow]:
    """Run benchmarks with the tiny model.

    Args:
        benchmarks: Which.
        data: The official files, a folder for each benchmark.
        out: Where the model and the runs go.
        items: About how many items of each are answered.
    """
    if not (out / "model").is_dir():
        write_tiny_model(out / "model", QUESTION)
    backend = EngineBackend(Engine(*load_model(str(out / "model"))), "tiny")
    identity = {"name": "tiny", "fingerprint": folder_fingerprint(out / "model")}
    sampling = Sampling(temperature=1.0, max_new_tokens=16)
    config = EvalConfig(sampling=sampling, repeats=1, limit=items, reasoning=False, concurrency=4)
    judge = Judge(backend, JudgeConfig(sampling=sampling))
    try:
        for benchmark in benchmarks:
            folder = data_folder(data, benchmark.folder)
            start = time.process_time()
            for item in benchmark.items(folder):
                read_images(item)
            reading = time.process_time() - start
            everything = load_items(benchmark, folder)
            start = time.process_time()
            work = (benchmark, folder, backend, out / "runs" / benchmark.folder, config, identity, judge)
            result = run_sync(run_benchmark(*work))
            answering = (time.process_time() - start) / max(result.metrics["responses"], 1)
            again = run_sync(run_benchmark(*work))
            score_by_official_rule(benchmark, folder, result)
            yield OfflineRow(
                benchmark.about.name,
                len(everything),
                benchmark.about.items,
                reading,
                scoring_speed(benchmark, folder),
                answering,
                result,
                again.metrics == result.metrics,
            )
    finally:
        run_sync(backend.close())


def score_by_official_rule(benchmark: Benchmark, folder: Path, result: Result) -> None:
    """Score the responses of a run again as the authors' code does; nothing may fail."""
    assert result.folder is not None
    responses = read_responses(result.folder / ITEMS)
    assert len(list(score_responses(benchmark, load_items(benchmark, folder), responses, "official"))) > 0


def scoring_speed(benchmark: Benchmark, folder: Path) -> float | None:
    """Responses a CPU second, over all items."""
    if benchmark.about.executes or isinstance(benchmark, JudgedBenchmark):
        return None
    items = load_items(benchmark, folder)
    start = time.process_time()
    scored = sum(1 for _ in score_responses(benchmark, items, (Response(id_, REPLY) for id_ in items), "strict"))
    return scored / (time.process_time() - start)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="a folder with the official files of each benchmark, by its name")
    parser.add_argument("--out", type=Path, default=Path("build/eval-offline"))
    parser.add_argument("--items", type=int, default=8, help="items of each benchmark that are answered")
    parser.add_argument("--bench", action="append", metavar="NAME", help="only this one")
    options = parser.parse_args()
    named = [load_benchmark(name) for name in options.bench or ()]
    benchmarks = named or complete_benchmarks(options.data)
    if not benchmarks:
        parser.error(f"{options.data} has the official files of no benchmark; see step3vl eval list --data")
    print(f"{'benchmark':<18}{'items':>8}{'release':>9}{'read, s':>9}{'scored/s':>10}{'answer, s':>11}  headline")
    rows = []
    for row in run_offline(benchmarks, options.data, options.out, options.items):
        rows.append(row)
        release = "" if row.release is None else f"{row.release:,}"
        scoring = "" if row.scoring is None else f"{row.scoring:,.0f}"
        metrics = row.result.metrics
        print(
            f"{row.name:<18}{row.items:>8,}{release:>9}{row.reading:>9.2f}{scoring:>10}{row.answering:>11.2f}  "
            f"{metrics['value']:.2f} of {metrics['items']} items, {metrics['unparsable']} unparsable"
            + ("" if row.passed else "  FAILED")
        )
    page = render_comparison(compare([row.result for row in rows], options.data))
    (options.out / "comparison.html").write_text(page, encoding="utf-8")
    (options.out / "rows.json").write_text(json.dumps([row.result.metrics for row in rows], indent=1))
    print(f"{options.out / 'comparison.html'}: written; seconds are CPU seconds")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
