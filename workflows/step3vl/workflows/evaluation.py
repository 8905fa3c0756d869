"""Evaluation on held-out prompts whose answers can be verified.

Every model answers the same prompts with the same seeds, at temperature 1 (the setting of the STEP3-VL-10B report,
section 4.1) and greedily. Replies are graded as in training, by ``step3vl.grading``.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, TypeAdapter

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import EXTENSION, Sample, TextPart
from step3vl.data.storage import write_durably
from step3vl.grading import grade_reply
from step3vl.workflows.config import did_you_mean
from step3vl.workflows.score_tables import Answers, GradedReply, PromptAnswers, pacore_rows, paired_rows, task_row

if TYPE_CHECKING:
    from step3vl.inference import Completion, Engine

log = logging.getLogger(__name__)

_ANSWERS = TypeAdapter(dict[str, PromptAnswers])
_PACORE_ANSWERS = TypeAdapter(dict[str, GradedReply])


class EvaluatedModel(Config):
    """A model and its name in the tables."""

    name: str
    path: str
    """An exported model folder."""


class PaCoReEvaluation(Config):
    """PaCoRe with the last model, in one round, beside its single answers."""

    prompts: int = Field(default=50, ge=2)
    """The first prompts of each task that it answers."""
    rollouts: int = Field(default=4, ge=1)
    """Parallel answers, before their synthesis."""


class EvaluateConfig(Config):
    """Which models answer which held-out prompts."""

    dataset: str
    """A dataset with a held-out split."""
    models: tuple[EvaluatedModel, ...] = Field(min_length=1)
    """In order; each is compared with the previous."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks whose samples have a truth."""
    prompts: int = Field(default=200, ge=2)
    """Held-out prompts of each task; all where there are fewer."""
    samples: int = Field(default=1, ge=1)
    """Answers to each prompt at temperature 1; their mean is the prompt's score."""
    max_new_tokens: int = Field(default=64, ge=1)
    """A reply that reaches this length scores 0, as in training."""
    batch: int = Field(default=16, ge=1)
    """Prompts that are answered together."""
    pacore: PaCoReEvaluation | None = None
    """Also evaluate PaCoRe."""
    examples: int = Field(default=3, ge=0)
    """Prompts of each task that the report shows, with their images."""
    train_answers: int = Field(default=2000, ge=1)
    """Answers of each task's training split among which the most frequent are sought."""
    device: str = "auto"
    """Where the models run: `cpu`, `cuda` or `cuda:N`; `auto` is `cuda` where there is a GPU."""
    seed: int = 0


def evaluate(config: EvaluateConfig, out: Path) -> None:
    """Write ``scores.json``, ``answers/`` and ``examples/``. Answers from before an interruption are kept.

    Args:
        config: Which models answer which prompts.
        out: The output directory.

    Raises:
        UserError: a task has no held-out conversations, or one without a truth; a model cannot be loaded.
    """
    dataset = Dataset.open(config.dataset)
    prompts = {task: _prompts(dataset, task, config.prompts) for task in config.tasks}
    answers = {model.name: _answers(model, prompts, config, out) for model in config.models}
    last = config.models[-1]
    pacore = _pacore_answers(last, prompts, config.pacore, config, out) if config.pacore else None
    scores = {
        "settings": config.model_dump(mode="json"),
        "tasks": [
            task_row(task, samples, answers, _training_answers(dataset, task, config.train_answers))
            for task, samples in prompts.items()
        ],
        "differences": paired_rows([model.name for model in config.models], prompts, answers),
        "pacore": {
            "model": last.name,
            "rollouts": config.pacore.rollouts,
            "rows": pacore_rows(prompts, config.pacore.prompts, answers[last.name], pacore),
        }
        if config.pacore and pacore is not None
        else None,
        "examples": _examples(prompts, answers, pacore, config, out),
    }
    _write_json(out / "scores.json", scores)


def _prompts(dataset: Dataset, task: str, count: int) -> list[Sample]:
    """The first held-out samples of a task; ids are hashes, so the first are as good as any."""
    samples = list(islice(dataset.samples(split="heldout", kind="conversation", task=task), count))
    if not samples:
        tasks = {total.task for total in dataset.manifest.tasks if total.split == "heldout"}
        raise UserError(f"{dataset.url}: no held-out conversations of task '{task}'{did_you_mean(task, tasks)}")
    if missing_truth := next((sample for sample in samples if sample.truth is None), None):
        raise UserError(
            f"{dataset.url}: sample {missing_truth.id} of task '{task}' has no truth; only tasks whose answers can "
            "be verified are scored"
        )
    return samples


def _training_answers(dataset: Dataset, task: str, count: int) -> list[str]:
    samples = dataset.samples(split="train", kind="conversation", task=task)
    return [sample.answer() for sample in islice(samples, count)]


def _answers(
    model: EvaluatedModel, prompts: Mapping[str, Sequence[Sample]], config: EvaluateConfig, out: Path
) -> Answers:
    """Sample id -> its greedy answer and its sampled ones."""
    path = out / "answers" / f"{model.name}.json"
    if path.exists():
        log.info("%s: answered before", model.name)
        return _ANSWERS.validate_json(path.read_bytes())
    from step3vl.inference import Request, Sampling

    engine = _engine(model, config.device)
    samples = [sample for group in prompts.values() for sample in group]
    answers: dict[str, PromptAnswers] = {}
    limit = config.max_new_tokens
    for start in range(0, len(samples), config.batch):
        batch = samples[start : start + config.batch]
        requests = [Request.from_sample(sample) for sample in batch]
        # The seed of a batch depends on its position alone, so every model gets the same random numbers for a prompt.
        at_temperature_1 = Sampling(temperature=1.0, max_new_tokens=limit, seed=config.seed + start)
        sampled = engine.generate(requests, n=config.samples, sampling=at_temperature_1)
        greedy = engine.generate(requests, n=1, sampling=Sampling(temperature=0.0, max_new_tokens=limit))
        for sample, sampled_replies, greedy_replies in zip(batch, sampled, greedy, strict=True):
            answers[sample.id] = PromptAnswers(
                greedy=_grade(sample, greedy_replies[0]), sampled=[_grade(sample, reply) for reply in sampled_replies]
            )
        log.info("%s: %d of %d prompts answered", model.name, len(answers), len(samples))
    _write_json(path, _ANSWERS.dump_python(answers, mode="json"))
    return answers


def _pacore_answers(
    model: EvaluatedModel,
    prompts: Mapping[str, Sequence[Sample]],
    pacore: PaCoReEvaluation,
    config: EvaluateConfig,
    out: Path,
) -> dict[str, GradedReply]:
    """Sample id -> the answer that PaCoRe ends with."""
    path = out / "answers" / f"{model.name}.pacore.json"
    if path.exists():
        return _PACORE_ANSWERS.validate_json(path.read_bytes())
    from step3vl.inference import PaCoReConfig, Request, Sampling
    from step3vl.inference.pacore import answer_together

    engine = _engine(model, config.device)
    rounds = PaCoReConfig(
        rounds=(pacore.rollouts,), sampling=Sampling(temperature=1.0, max_new_tokens=config.max_new_tokens)
    )
    answers: dict[str, GradedReply] = {}
    for task, samples in prompts.items():
        first = samples[: pacore.prompts]
        for start in range(0, len(first), config.batch):
            batch = first[start : start + config.batch]
            seeds = [config.seed + 2 * (start + number) for number in range(len(batch))]
            replies = answer_together(engine, [Request.from_sample(sample) for sample in batch], rounds, seeds)
            answers |= {sample.id: _grade(sample, reply) for sample, reply in zip(batch, replies, strict=True)}
        log.info("%s with PaCoRe: %s answered", model.name, task)
    _write_json(path, _PACORE_ANSWERS.dump_python(answers, mode="json"))
    return answers


def _engine(model: EvaluatedModel, device_name: str) -> "Engine":
    from step3vl.inference import Engine
    from step3vl.model import load_model
    from step3vl.model.devices import resolve_device

    device = resolve_device(device_name)
    return Engine(*load_model(model.path, device=device), device)


def _grade(sample: Sample, completion: "Completion") -> GradedReply:
    assert sample.truth is not None
    grade = grade_reply(sample.truth, completion.text, completion.finish_reason)
    return GradedReply(text=completion.text, value=grade.value, verdict=grade.verdict)


def _examples(
    prompts: Mapping[str, Sequence[Sample]],
    answers: Mapping[str, Answers],
    pacore: Mapping[str, GradedReply] | None,
    config: EvaluateConfig,
    out: Path,
) -> list[dict[str, Any]]:
    """The first prompts of each task with their first sampled answers; images are copied byte for byte."""
    folder = out / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for task, samples in prompts.items():
        for sample in samples[: config.examples]:
            images = []
            for number, image in enumerate(sample.images):
                path = folder / f"{sample.id}.{number}.{EXTENSION[image.format]}"
                path.write_bytes(image.read())
                images.append(str(path.relative_to(out)))
            replies = {name: by_sample[sample.id].sampled[0] for name, by_sample in answers.items()}
            if pacore and sample.id in pacore:
                replies[f"{config.models[-1].name} + PaCoRe"] = pacore[sample.id]
            question = "".join(
                part.text for message in sample.prompt() for part in message.content if isinstance(part, TextPart)
            )
            examples.append(
                {
                    "task": task,
                    "id": sample.id,
                    "question": question,
                    "images": images,
                    "expected": sample.answer(),
                    "truth": sample.truth.model_dump(mode="json") if sample.truth else None,
                    "answers": [{"model": name, **reply.model_dump()} for name, reply in replies.items()],
                }
            )
    return examples


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(value, ensure_ascii=False, indent=1).encode())
