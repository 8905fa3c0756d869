"""The rows of the report's tables, made of the results of runs: means with errors, chance, and paired differences.

Values are mean grades between 0 and 1. Errors are over groups of items that share an image, as in `step3vl eval`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

from step3vl.evaluation.heldout import HeldOut
from step3vl.evaluation.item import Scored
from step3vl.evaluation.results import Result, read_scored
from step3vl.evaluation.statistics import difference_error, standard_errors

Runs = dict[str, dict[str, dict[str, Result]]]
"""Model -> how it answered ("sampled", "greedy", "pacore") -> benchmark -> result."""


class Figures(TypedDict):
    """A mean over items, its standard error, and the mean (or its distance to chance) in standard errors."""

    mean: float
    se: float
    z: float


class ModelRow(TypedDict):
    """What a model scores on a task; `greedy` is None where it did not answer greedily."""

    model: str
    sampled: Figures
    greedy: Figures | None
    verdicts: dict[str, int]


class ChanceRow(TypedDict):
    """The best constant answer and its mean score."""

    answer: str
    mean: float


class TaskRow(TypedDict):
    """What every model scores on a task."""

    task: str
    prompts: int
    chance: ChanceRow
    models: list[ModelRow]


DifferenceRow = TypedDict(
    "DifferenceRow",
    {"task": str, "from": str, "to": str, "prompts": int, "sampled": Figures, "greedy": Figures | None},
)
"""What a model gains over the previous one; task "all" stands for all items."""


class PaCoReRow(TypedDict):
    """PaCoRe beside single answers of the same model to the same items, and their paired difference."""

    task: str
    prompts: int
    single: Figures
    pacore: Figures
    difference: Figures


def task_rows(suites: Sequence[HeldOut], runs: Runs, training_answers: int) -> list[TaskRow]:
    """Score every model on each task.

    Args:
        suites: The tasks.
        runs: The results of every model.
        training_answers: How many answers of a task's training split are counted for the level of chance.
    """
    rows: list[TaskRow] = []
    for suite in suites:
        name = suite.about.name
        asked = {each.item.id for of_model in runs.values() for each in read_scored(of_model["sampled"][name])}
        items = [item for item in suite.items(Path(), images=False) if item.id in asked]
        ((task, chance),) = suite.chance(items, training_answers).items()
        models: list[ModelRow] = []
        for model, of_model in runs.items():
            sampled = read_scored(of_model["sampled"][name])
            greedy = read_scored(of_model["greedy"][name]) if "greedy" in of_model else None
            models.append(
                {
                    "model": model,
                    "sampled": mean_figures(sampled, chance.mean),
                    "greedy": None if greedy is None else mean_figures(greedy, chance.mean),
                    "verdicts": dict(Counter(each.score.verdict for each in sampled)),
                }
            )
        rows.append(
            {
                "task": task,
                "prompts": len(asked),
                "chance": {"answer": chance.answer, "mean": chance.mean},
                "models": models,
            }
        )
    return rows


def difference_rows(benchmarks: Sequence[str], runs: Runs) -> list[DifferenceRow]:
    """What each model gains over the previous one, item by item: for each task, and over all items."""
    rows: list[DifferenceRow] = []
    for before, after in pairwise(runs) if benchmarks else ():
        for task, names in _tasks(benchmarks).items():
            sampled = [_scored(runs[model]["sampled"], names) for model in (before, after)]
            greedy = [_scored(runs[model]["greedy"], names) for model in (before, after) if "greedy" in runs[model]]
            rows.append(
                {
                    "task": task,
                    "from": before,
                    "to": after,
                    "prompts": len({each.item.id for each in sampled[0]}),
                    "sampled": difference_figures(*sampled),
                    "greedy": difference_figures(*greedy) if len(greedy) == 2 else None,
                }
            )
    return rows


def pacore_rows(benchmarks: Sequence[str], results: Mapping[str, Mapping[str, Result]]) -> list[PaCoReRow]:
    """PaCoRe against single answers of the same model, on the items that PaCoRe answered."""
    rows: list[PaCoReRow] = []
    for task, names in _tasks(benchmarks).items():
        pacore = _scored(results["pacore"], names)
        asked = {each.item.id for each in pacore}
        single = [each for each in _scored(results["sampled"], names) if each.item.id in asked]
        rows.append(
            {
                "task": task,
                "prompts": len(asked),
                "single": mean_figures(single),
                "pacore": mean_figures(pacore),
                "difference": difference_figures(single, pacore),
            }
        )
    return rows


def mean_figures(scored: Sequence[Scored], level: float = 0.0) -> Figures:
    """The mean grade, its standard error, and how many errors it lies above a level."""
    mean = sum(each.score.value for each in scored) / len(scored)
    return _figures(mean, standard_errors(_SUITE, scored).headline, len({each.item.id for each in scored}), level)


def difference_figures(before: Sequence[Scored], after: Sequence[Scored]) -> Figures:
    """The gain of a run over another one on the same items, with its paired error."""
    gain = mean_figures(after)["mean"] - mean_figures(before)["mean"]
    return _figures(gain, difference_error(_SUITE, before, after), len({each.item.id for each in after}))


_SUITE = HeldOut("corpus:any")
"""Makes the numbers, for which no dataset is read."""


def _figures(mean: float, error: float | None, items: int, level: float = 0.0) -> Figures:
    """Where all groups are alike they say nothing of their spread: the error is then that of one item more or less."""
    se = error / 100 if error else 1 / items
    return {"mean": mean, "se": se, "z": (mean - level) / se}


def _tasks(benchmarks: Sequence[str]) -> dict[str, Sequence[str]]:
    """The benchmarks of each row: those of a task, and all of them."""
    return {**{name.partition("#")[2]: (name,) for name in benchmarks}, "all": benchmarks}


def _scored(results: Mapping[str, Result], benchmarks: Sequence[str]) -> list[Scored]:
    return [each for name in benchmarks for each in read_scored(results[name])]
