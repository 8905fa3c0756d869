"""Scores of models on held-out prompts whose answers can be verified.

Every model answers the same prompts with the same seeds, at temperature 1 (the setting of the STEP3-VL-10B report,
section 4.1) and greedily. A score is what the sample's truth says of the answer; a reply that was cut off by the limit
scores nothing, as in training.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.data.sample import EXTENSION, Sample, TextPart
from step3vl.workflows.config import did_you_mean
from step3vl.workflows.statistics import Estimate, best_constant, estimate, paired

if TYPE_CHECKING:
    from step3vl.inference import Completion, Engine, Request

log = logging.getLogger(__name__)

MIDDLE = ('{"point_2d": [500, 500]}', '{"bbox_2d": [250, 250, 750, 750]}', '{"bbox_2d": [0, 0, 1000, 1000]}')
"""Constant answers to questions of place, beside the most frequent answers of the training split."""
FREQUENT = 20
"""How many of the most frequent training answers are tried as a constant."""


class Contestant(Config):
    """A model and the name it has in the tables."""

    name: str
    path: str


class PaCoReTrial(Config):
    """Parallel answers and their synthesis, by the last model, on the first ``prompts`` of each task."""

    prompts: int = Field(default=50, ge=2)
    rollouts: int = Field(default=4, ge=1)


class EvaluateConfig(Config):
    """Which models answer which held-out prompts."""

    dataset: str
    models: tuple[Contestant, ...] = Field(min_length=1)
    """In order; each is compared with the one before it."""
    tasks: tuple[str, ...] = Field(min_length=1)
    prompts: int = Field(default=200, ge=2)
    """Held-out prompts of each task; all where there are fewer."""
    samples: int = Field(default=1, ge=1)
    """Answers to each prompt at temperature 1; their mean is the prompt's score."""
    max_new_tokens: int = Field(default=64, ge=1)
    batch: int = Field(default=16, ge=1)
    pacore: PaCoReTrial | None = None
    examples: int = Field(default=3, ge=0)
    """Prompts of each task that are kept whole, with their pictures."""
    train_answers: int = Field(default=2000, ge=1)
    """Answers of each task's training split that are read to find the most frequent."""
    seed: int = 0


def evaluate(config: EvaluateConfig, out: Path) -> None:
    """Writes ``scores.json`` and ``examples/`` under ``out``. Models that answered before an interruption are kept."""
    dataset = Dataset.open(config.dataset)
    questions = {task: _questions(dataset, task, config.prompts) for task in config.tasks}
    answers = {model.name: _answers(model, questions, config, out) for model in config.models}
    trial = _pacore_answers(config.models[-1], questions, config, out) if config.pacore else None
    scores = {
        "settings": config.model_dump(mode="json"),
        "tasks": [_task_row(dataset, task, samples, answers, config) for task, samples in questions.items()],
        "differences": _differences([model.name for model in config.models], questions, answers),
        "pacore": _pacore_rows(config, questions, answers[config.models[-1].name], trial) if trial else None,
        "examples": _examples(questions, answers, trial, config, out),
    }
    _write(out / "scores.json", scores)


def _questions(dataset: Dataset, task: str, count: int) -> list[Sample]:
    """The first held-out samples of a task; ids are hashes, so the first are as good as any."""
    found = list(islice(dataset.samples(split="heldout", kind="conversation", task=task), count))
    if not found:
        known = {total.task for total in dataset.manifest.tasks if total.split == "heldout"}
        raise UserError(f"{dataset.url}: no held-out conversations of task '{task}'{did_you_mean(task, known)}")
    if untrue := next((sample for sample in found if sample.truth is None), None):
        raise UserError(
            f"{dataset.url}: sample {untrue.id} of task '{task}' has no truth; only tasks whose answers can "
            "be verified are scored"
        )
    return found


def _answers(
    model: Contestant, questions: dict[str, list[Sample]], config: EvaluateConfig, out: Path
) -> dict[str, Any]:
    """Sample id -> its greedy answer and its sampled ones, each with text, value and verdict."""
    place = out / "answers" / f"{model.name}.json"
    if place.exists():
        log.info("%s: has answered before", model.name)
        return json.loads(place.read_text(encoding="utf-8"))
    from step3vl.inference import Sampling

    engine = _engine(model)
    samples = [sample for group in questions.values() for sample in group]
    answers: dict[str, Any] = {}
    for start in range(0, len(samples), config.batch):
        batch = samples[start : start + config.batch]
        requests = [_request(sample) for sample in batch]
        limit = config.max_new_tokens
        # The seed of a batch depends on its place alone, so every model draws the same numbers for the same prompts.
        sampled = engine.generate(
            requests,
            n=config.samples,
            sampling=Sampling(temperature=1.0, max_new_tokens=limit, seed=config.seed + start),
        )
        greedy = engine.generate(requests, n=1, sampling=Sampling(temperature=0.0, max_new_tokens=limit))
        for sample, many, one in zip(batch, sampled, greedy, strict=True):
            answers[sample.id] = {
                "greedy": _graded(sample, one[0]),
                "sampled": [_graded(sample, each) for each in many],
            }
        log.info("%s: %d of %d prompts answered", model.name, len(answers), len(samples))
    _write(place, answers)
    return answers


def _pacore_answers(
    model: Contestant, questions: dict[str, list[Sample]], config: EvaluateConfig, out: Path
) -> dict[str, Any]:
    """Sample id -> the answer that PaCoRe ends with."""
    assert config.pacore is not None
    place = out / "answers" / f"{model.name}.pacore.json"
    if place.exists():
        return json.loads(place.read_text(encoding="utf-8"))
    from step3vl.inference import PaCoRe, PaCoReConfig, Sampling

    engine = _engine(model)
    sampling = Sampling(temperature=1.0, max_new_tokens=config.max_new_tokens)
    answers: dict[str, Any] = {}
    for task, samples in questions.items():
        for number, sample in enumerate(samples[: config.pacore.prompts]):
            rounds = PaCoReConfig(rounds=(config.pacore.rollouts,), sampling=sampling, seed=config.seed + 2 * number)
            answers[sample.id] = _graded(sample, PaCoRe(engine, rounds).run(_request(sample)).rounds[-1][0])
        log.info("%s with PaCoRe: %s answered", model.name, task)
    _write(place, answers)
    return answers


def _engine(model: Contestant) -> "Engine":
    from step3vl.inference import Engine
    from step3vl.model import load_model

    return Engine(*load_model(model.path))


def _request(sample: Sample) -> "Request":
    from step3vl.inference import Request

    return Request(messages=list(sample.prompt()), images=list(sample.images))


def _graded(sample: Sample, completion: "Completion") -> dict[str, Any]:
    assert sample.truth is not None
    if completion.finish_reason == "length":
        return {"text": completion.text, "value": 0.0, "verdict": "truncated"}
    score = sample.truth.score(completion.answer)
    return {"text": completion.text, "value": score.value, "verdict": score.verdict}


def _values(samples: Sequence[Sample], answers: dict[str, Any], how: str) -> list[float]:
    """One score a prompt: of its greedy answer, or the mean of its sampled ones."""
    if how == "greedy":
        return [answers[sample.id]["greedy"]["value"] for sample in samples]
    return [estimate([one["value"] for one in answers[sample.id]["sampled"]]).mean for sample in samples]


def _task_row(
    dataset: Dataset, task: str, samples: list[Sample], answers: dict[str, Any], config: EvaluateConfig
) -> dict[str, Any]:
    train = islice(dataset.samples(split="train", kind="conversation", task=task), config.train_answers)
    common = [answer for answer, _ in Counter(sample.answer() for sample in train).most_common(FREQUENT)]
    score = [lambda answer, truth=sample.truth: truth.score(answer).value for sample in samples]
    chance = best_constant([*common, *MIDDLE], score)
    models = []
    for name, given in answers.items():
        row: dict[str, Any] = {"model": name}
        for how in ("sampled", "greedy"):
            found = estimate(_values(samples, given, how))
            row[how] = {"mean": found.mean, "se": found.se, "z": (found - chance.mean).z}
        row["verdicts"] = Counter(one["verdict"] for sample in samples for one in given[sample.id]["sampled"])
        models.append(row)
    return {
        "task": task,
        "prompts": len(samples),
        "chance": {"answer": chance.answer, "mean": chance.mean},
        "models": models,
    }


def _differences(
    names: Sequence[str], questions: dict[str, list[Sample]], answers: dict[str, Any]
) -> list[dict[str, Any]]:
    """What each model gained over the one before it, prompt by prompt: for each task, and over all prompts."""
    groups = [*questions.items(), ("all", [sample for group in questions.values() for sample in group])]
    rows = []
    for before, after in pairwise(names):
        for task, samples in groups:
            gains = {
                how: _figures(paired(*(_values(samples, answers[name], how) for name in (before, after))))
                for how in ("sampled", "greedy")
            }
            rows.append({"task": task, "from": before, "to": after, "prompts": len(samples), **gains})
    return rows


def _pacore_rows(
    config: EvaluateConfig, questions: dict[str, list[Sample]], single: dict[str, Any], trial: dict[str, Any]
) -> dict[str, Any]:
    assert config.pacore is not None
    groups = [(task, samples[: config.pacore.prompts]) for task, samples in questions.items()]
    groups.append(("all", [sample for _, samples in groups for sample in samples]))
    rows = []
    for task, samples in groups:
        alone = _values(samples, single, "sampled")
        together = [trial[sample.id]["value"] for sample in samples]
        rows.append(
            {
                "task": task,
                "prompts": len(samples),
                "single": _figures(estimate(alone)),
                "pacore": _figures(estimate(together)),
                "difference": _figures(paired(alone, together)),
            }
        )
    return {"model": config.models[-1].name, "rollouts": config.pacore.rollouts, "rows": rows}


def _figures(found: Estimate) -> dict[str, float]:
    return {"mean": found.mean, "se": found.se, "z": found.z}


def _examples(
    questions: dict[str, list[Sample]],
    answers: dict[str, Any],
    trial: dict[str, Any] | None,
    config: EvaluateConfig,
    out: Path,
) -> list[dict[str, Any]]:
    """The first prompts of each task, whole; pictures are copied byte for byte."""
    folder = out / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for task, samples in questions.items():
        for sample in samples[: config.examples]:
            pictures = []
            for number, image in enumerate(sample.images):
                place = folder / f"{sample.id}.{number}.{EXTENSION[image.format]}"
                place.write_bytes(image.read())
                pictures.append(str(place.relative_to(out)))
            given = [{"model": name, **given[sample.id]["sampled"][0]} for name, given in answers.items()]
            if trial and sample.id in trial:
                given.append({"model": f"{config.models[-1].name} + PaCoRe", **trial[sample.id]})
            question = "".join(
                part.text for message in sample.prompt() for part in message.content if isinstance(part, TextPart)
            )
            truth = sample.truth.model_dump(mode="json") if sample.truth else None
            examples.append(
                {
                    "task": task,
                    "id": sample.id,
                    "question": question,
                    "pictures": pictures,
                    "expected": sample.answer(),
                    "truth": truth,
                    "answers": given,
                }
            )
    return examples


def _write(place: Path, value: Any) -> None:
    """Atomic, so that what is there is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    write_durably(place, json.dumps(value, ensure_ascii=False, indent=1).encode())
