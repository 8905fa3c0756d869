"""The rows of ``scores.json``: means with standard errors, the level of chance, and paired differences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, TypedDict

from step3vl.data.config import Config
from step3vl.data.sample import Sample
from step3vl.grading import Estimate, Verdict, best_constant, estimate, grade_answer, paired_difference

CENTRAL_ANSWERS = (
    '{"point_2d": [500, 500]}',
    '{"bbox_2d": [250, 250, 750, 750]}',
    '{"bbox_2d": [0, 0, 1000, 1000]}',
)
"""Constant answers to questions about positions, beside the most frequent answers of the training split."""
FREQUENT_ANSWERS = 20
"""How many of the most frequent training answers are tried as a constant."""


class GradedReply(Config):
    """A reply and its grade."""

    text: str
    value: float
    verdict: Verdict


class PromptAnswers(Config):
    """The graded replies of a model to a prompt."""

    greedy: GradedReply
    sampled: list[GradedReply]


Answers = Mapping[str, PromptAnswers]
"""Sample id -> a model's answers."""
Decoding = Literal["sampled", "greedy"]


class Figures(TypedDict):
    """A mean over prompts, its standard error, and the mean (or its distance to chance) in standard errors."""

    mean: float
    se: float
    z: float


class ModelRow(TypedDict):
    """What a model scores on a task."""

    model: str
    sampled: Figures
    greedy: Figures
    verdicts: dict[Verdict, int]


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
    {"task": str, "from": str, "to": str, "prompts": int, "sampled": Figures, "greedy": Figures},
)
"""What a model gains over the previous one; task "all" stands for all prompts."""


class PaCoReRow(TypedDict):
    """PaCoRe beside single answers of the same model, and their paired difference."""

    task: str
    prompts: int
    single: Figures
    pacore: Figures
    difference: Figures


def task_row(
    task: str, samples: Sequence[Sample], answers: Mapping[str, Answers], training_answers: Sequence[str]
) -> TaskRow:
    """Score every model on a task.

    Args:
        task: The task's name.
        samples: Its prompts, each with a truth.
        answers: Model -> its answers.
        training_answers: Answers of the training split, whose most frequent are tried as a constant.
    """
    frequent = [answer for answer, _ in Counter(training_answers).most_common(FREQUENT_ANSWERS)]
    graders = [lambda answer, truth=sample.truth: grade_answer(truth, answer).value for sample in samples]
    chance = best_constant([*frequent, *CENTRAL_ANSWERS], graders)
    models: list[ModelRow] = []
    for name, by_sample in answers.items():
        sampled, greedy = (
            _figures(estimate(prompt_scores(samples, by_sample, decoding)), chance.mean)
            for decoding in ("sampled", "greedy")
        )
        verdicts = Counter(reply.verdict for sample in samples for reply in by_sample[sample.id].sampled)
        models.append({"model": name, "sampled": sampled, "greedy": greedy, "verdicts": dict(verdicts)})
    return {
        "task": task,
        "prompts": len(samples),
        "chance": {"answer": chance.answer, "mean": chance.mean},
        "models": models,
    }


def prompt_scores(samples: Sequence[Sample], answers: Answers, decoding: Decoding) -> list[float]:
    """One score for each prompt: of its greedy answer, or the mean of its sampled ones."""
    if decoding == "greedy":
        return [answers[sample.id].greedy.value for sample in samples]
    return [estimate([reply.value for reply in answers[sample.id].sampled]).mean for sample in samples]


def paired_rows(
    models: Sequence[str], prompts: Mapping[str, Sequence[Sample]], answers: Mapping[str, Answers]
) -> list[DifferenceRow]:
    """What each model gains over the previous one, prompt by prompt: for each task, and over all prompts."""
    rows: list[DifferenceRow] = []
    for before, after in pairwise(models):
        for task, samples in _with_all(prompts).items():
            sampled, greedy = (
                _figures(paired_difference(*(prompt_scores(samples, answers[m], decoding) for m in (before, after))))
                for decoding in ("sampled", "greedy")
            )
            rows.append(
                {
                    "task": task,
                    "from": before,
                    "to": after,
                    "prompts": len(samples),
                    "sampled": sampled,
                    "greedy": greedy,
                }
            )
    return rows


def pacore_rows(
    prompts: Mapping[str, Sequence[Sample]], count: int, single: Answers, pacore: Mapping[str, GradedReply]
) -> list[PaCoReRow]:
    """PaCoRe against single answers of the same model, on the first ``count`` prompts of each task."""
    rows: list[PaCoReRow] = []
    for task, samples in _with_all({task: samples[:count] for task, samples in prompts.items()}).items():
        alone = prompt_scores(samples, single, "sampled")
        combined = [pacore[sample.id].value for sample in samples]
        rows.append(
            {
                "task": task,
                "prompts": len(samples),
                "single": _figures(estimate(alone)),
                "pacore": _figures(estimate(combined)),
                "difference": _figures(paired_difference(alone, combined)),
            }
        )
    return rows


def _with_all(prompts: Mapping[str, Sequence[Sample]]) -> dict[str, Sequence[Sample]]:
    return {**prompts, "all": [sample for samples in prompts.values() for sample in samples]}


def _figures(score: Estimate, level: float = 0.0) -> Figures:
    return {"mean": score.mean, "se": score.se, "z": (score - level).z}
