"""The stage that evaluates models: on a dataset's held-out tasks and on benchmarks, by the code of `step3vl eval`.

Every model answers the same prompts with the same seeds, at temperature 1 (the setting of the STEP3-VL-10B report,
section 4.1) and greedily. Each run has a folder as `step3vl eval run` leaves it.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.storage import write_durably
from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.comparison import compare
from step3vl.evaluation.heldout import SCHEME, HeldOut
from step3vl.evaluation.model_identity import folder_fingerprint
from step3vl.evaluation.page import render_comparison
from step3vl.evaluation.registry import data_folder, load_benchmark
from step3vl.evaluation.results import METRICS, Result, read_results
from step3vl.evaluation.runner import PAPER_SAMPLING, EvalConfig, run_benchmark, run_name
from step3vl.evaluation.scoring import load_items
from step3vl.inference.client import run_sync
from step3vl.inference.pacore import PaCoReConfig
from step3vl.workflows.backends import open_backend
from step3vl.workflows.claims import SUMMARY
from step3vl.workflows.examples import write_examples
from step3vl.workflows.score_tables import Runs, difference_rows, pacore_rows, task_rows

if TYPE_CHECKING:
    from step3vl.inference.client import Backend

log = logging.getLogger(__name__)

COMPARISON = "comparison.html"


class EvaluatedModel(Config):
    """A model and its name in the tables."""

    name: str
    path: str
    """An exported model folder."""


class PaCoReEvaluation(Config):
    """PaCoRe with the last model, beside its single answers."""

    RENAMED: ClassVar[Mapping[str, str]] = {"prompts": "limit", "rollouts": "rounds"}

    rounds: tuple[int, ...] = Field(default=(4,), min_length=1)
    """Parallel answers of each round, before their synthesis."""
    limit: int | None = Field(default=None, ge=2)
    """About how many items of each task or benchmark it answers, of those that are asked of the models."""


class EvaluateConfig(Config):
    """Which models answer which held-out tasks and benchmarks."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "prompts": "limit",
        "samples": "repeats",
        "batch": "concurrency",
        "train_answers": "training_answers",
    }

    models: tuple[EvaluatedModel, ...] = Field(min_length=1)
    """In order; each is compared with the previous."""
    dataset: str | None = None
    """A dataset with a held-out split."""
    tasks: tuple[str, ...] = ()
    """Tasks of the dataset whose samples have a truth. Each is a benchmark, `corpus:DATASET#TASK`."""
    benchmarks: tuple[str, ...] = ()
    """Benchmarks of `step3vl eval list`."""
    data: str | None = None
    """The folder with the official files of the benchmarks."""
    limit: int | None = Field(default=None, ge=2)
    """About how many items of each task or benchmark are asked; all by default."""
    repeats: int | None = Field(default=None, ge=1)
    """Responses to each item at temperature 1; by default those behind the report's number, and 1 for a task."""
    max_new_tokens: int = Field(default=PAPER_SAMPLING.max_new_tokens, ge=1)
    """A reply that reaches this length scores 0, as in training."""
    greedy: bool = True
    """Also answer once at temperature 0."""
    concurrency: int = Field(default=16, ge=1)
    """Responses that are sampled at a time."""
    reasoning: bool = True
    """Whether the models reason before they answer: a reply whose reasoning never ended then has no answer."""
    pacore: PaCoReEvaluation | None = None
    """Also evaluate PaCoRe."""
    examples: int = Field(default=3, ge=0)
    """Items of each task that the report shows, with their images."""
    training_answers: int = Field(default=2000, ge=1)
    """Answers of each task's training split among which the most frequent are sought, for the level of chance."""
    device: str = "auto"
    """Where the models run: `cpu`, `cuda` or `cuda:N`; `auto` is `cuda` where there is a GPU."""
    seed: int = 0

    @model_validator(mode="after")
    def _check_what_is_asked(self) -> Self:
        if (self.dataset is None) != (not self.tasks):
            raise ValueError("give dataset and tasks together: the tasks of its held-out split")
        if self.benchmarks and self.data is None:
            raise ValueError("benchmarks need data, the folder of their official files")
        if not self.tasks and not self.benchmarks:
            raise ValueError("nothing to evaluate on; give dataset and tasks, or benchmarks and data")
        return self

    def run_config(self, *, greedy: bool = False, pacore: PaCoReEvaluation | None = None) -> EvalConfig:
        """How the models answer: sampled, greedily, or by PaCoRe."""
        changes = {"temperature": 0.0 if greedy else 1.0, "max_new_tokens": self.max_new_tokens}
        return EvalConfig(
            sampling=PAPER_SAMPLING.model_copy(update=changes),
            pacore=PaCoReConfig(rounds=pacore.rounds) if pacore else None,
            repeats=1 if greedy or pacore else self.repeats,
            limit=pacore.limit if pacore and pacore.limit else self.limit,
            seed=self.seed,
            concurrency=self.concurrency,
            reasoning=self.reasoning,
        )


def evaluate(config: EvaluateConfig, out: Path) -> None:
    """Write a folder for each run below `runs/`, the page that compares them, and the summary for the report.

    Runs that finished before an interruption are kept, and so are the answers of the one that did not.

    Args:
        config: Which models answer what.
        out: The output directory.

    Raises:
        UserError: a task has no held-out conversations, or one without a truth; official files are missing; a model
            cannot be loaded.
    """
    suites = [HeldOut(f"{SCHEME}{config.dataset}#{task}") for task in config.tasks]
    benchmarks: list[Benchmark] = [*suites, *(load_benchmark(name) for name in config.benchmarks)]
    for benchmark in benchmarks:  # a mistake should not come to light after hours
        load_items(benchmark, _data(config, benchmark))
    runs: Runs = {}
    for model in config.models:
        runs[model.name] = _evaluate_model(model, benchmarks, config, out)
    last = config.models[-1].name
    names = [suite.about.name for suite in suites]
    summary = {
        "settings": config.model_dump(mode="json"),
        "tasks": task_rows(suites, runs, config.training_answers),
        "differences": difference_rows(names, runs),
        "pacore": {
            "model": last,
            "rounds": list(config.pacore.rounds),
            "rows": pacore_rows(names, runs[last]),
        }
        if config.pacore and suites
        else None,
        "benchmarks": [_benchmark_row(name, runs) for name in config.benchmarks],
        "examples": write_examples(suites, runs, config.examples, out),
    }
    results = [result for of_model in runs.values() for group in of_model.values() for result in group.values()]
    data = Path(config.data) if config.data else None
    write_durably(out / COMPARISON, render_comparison(compare(results, data, config.examples)).encode())
    write_durably(out / SUMMARY, json.dumps(summary, ensure_ascii=False, indent=1).encode())


def _evaluate_model(
    model: EvaluatedModel, benchmarks: Sequence[Benchmark], config: EvaluateConfig, out: Path
) -> dict[str, dict[str, Result]]:
    """The results of a model: "sampled", "greedy" or "pacore" -> benchmark -> result."""
    settings = {"sampled": config.run_config()}
    if config.greedy:
        settings["greedy"] = config.run_config(greedy=True)
    if config.pacore and model == config.models[-1]:
        settings["pacore"] = config.run_config(pacore=config.pacore)
    identity = {"name": model.name, "fingerprint": folder_fingerprint(Path(model.path))}
    backend: Backend | None = None
    results: dict[str, dict[str, Result]] = {}
    try:
        for name, how in settings.items():
            results[name] = {}
            title = run_name(model.name, how)
            for benchmark in benchmarks:
                folder = out / "runs" / f"{model.name}-{name}" / benchmark.folder
                if (folder / METRICS).is_file():
                    log.info("%s, %s: evaluated before", title, benchmark.about.title)
                    (result,) = read_results(folder)
                else:
                    backend = backend or _open(model, config.device)
                    work = run_benchmark(benchmark, _data(config, benchmark), backend, folder, how, identity)
                    result = run_sync(work)
                    log.info("%s, %s: %.2f", title, benchmark.about.title, result.metrics["value"])
                results[name][benchmark.about.name] = result
    finally:
        if backend is not None:
            run_sync(backend.close())
    return results


def _open(model: EvaluatedModel, device_name: str) -> "Backend":
    from step3vl.model.devices import resolve_device

    return open_backend(model.path, None, None, str(resolve_device(device_name)))


def _data(config: EvaluateConfig, benchmark: Benchmark) -> Path:
    return data_folder(Path(config.data), benchmark.folder) if config.data and benchmark.about.files else Path()


def _benchmark_row(name: str, runs: Runs) -> dict[str, Any]:
    """What every model scores on a benchmark, in the benchmark's unit."""
    results = [group[name] for of_model in runs.values() for group in of_model.values()]
    return {
        "benchmark": results[0].metrics["title"],
        "items": results[0].metrics["items"],
        "runs": [
            {"run": result.name, "value": result.metrics["value"], "se": result.metrics["standard_error"]}
            for result in results
        ],
    }
