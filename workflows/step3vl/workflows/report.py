"""One self-contained HTML page that says what a run did and what it showed, from the files that its stages left."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from step3vl.data.config import Config
from step3vl.data.dataset import MANIFEST, Dataset
from step3vl.data.files import write_durably
from step3vl.data.tokens import split_answer
from step3vl.workflows import plots, verdicts
from step3vl.workflows.pictures import COLOURS, TRUTH, drawn, encoded
from step3vl.workflows.show import duration
from step3vl.workflows.stages import Context, read_state

SHEET_WIDTH = 1600
"""Pixels to which the corpus's contact sheet is reduced."""
RL_CURVES = (
    ("reward_mean", "reward"),
    ("heldout/reward_mean", "held-out reward"),
    ("kl", "KL of the update"),
    ("entropy", "entropy"),
    ("length", "length, tokens"),
    ("value_loss", "value loss"),
    ("explained_variance", "variance that the critic explains"),
)


class ReportConfig(Config):
    """The report reads whatever the stages before it left; there is nothing to choose."""


@dataclass(frozen=True)
class Done:
    """A stage that has run: where it wrote, and what its ``stage.json`` says."""

    out: Path
    name: str
    run: str
    seconds: float


def write_report(config: ReportConfig, context: Context) -> None:
    """Writes ``report.html`` into the stage's output, whole or not at all."""
    states = ((out, read_state(out)) for out in context.earlier)
    done = [Done(out, state["name"], state["made_of"]["kind"], state["seconds"]) for out, state in states if state]
    write_durably(context.out / "report.html", render(context.title, done).encode())


def render(title: str, stages: Sequence[Done]) -> str:
    """The page. Each part of it is there when a stage of its kind is."""
    training = [stage for stage in stages if (stage.out / "metrics.jsonl").is_file()]
    curves = {stage.name: metrics(stage.out / "metrics.jsonl") for stage in training}
    evaluation = next((stage for stage in stages if (stage.out / "scores.json").is_file()), None)
    scores = json.loads((evaluation.out / "scores.json").read_text(encoding="utf-8")) if evaluation else None
    corpora = [stage for stage in stages if (stage.out / MANIFEST).is_file()]
    environment = Environment(
        loader=PackageLoader("step3vl.workflows"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "count": lambda number: f"{number:,}"}
    return environment.get_template("report.html.j2").render(
        title=title,
        date=datetime.datetime.now(datetime.UTC).strftime("%d %B %Y, %H:%M UTC"),
        machine=machine(),
        stages=stages,
        total=sum(stage.seconds for stage in stages),
        verdicts=_verdicts(training, curves, scores),
        losses=[
            (
                stage,
                curves[stage.name][-1]["step"],
                plots.loss_curve(curves[stage.name]),
                heldout_losses(curves[stage.name]),
            )
            for stage in training
            if stage.run != "rl" and curves[stage.name]
        ],
        rl=[
            (stage, curves[stage.name][-1]["step"], plots.small_multiples(curves[stage.name], RL_CURVES))
            for stage in training
            if stage.run == "rl" and curves[stage.name]
        ],
        scores=scores,
        examples=_examples(scores, evaluation.out) if scores and evaluation else [],
        corpora=[_corpus(stage) for stage in corpora],
        truth_colour=TRUTH,
    )


def metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` by step, those of one step made one. Of a step that was repeated after an
    interruption the last values count; a line that an interruption cut short does not."""
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows.setdefault(row["step"], {}).update(row)
    return [rows[step] for step in sorted(rows)]


def heldout_losses(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """(task, first, last) of the held-out losses that a training run measured; empty where it measured none twice."""
    measured = [row["evaluation"]["tasks"] for row in rows if "evaluation" in row]
    if len(measured) < 2:
        return []
    return [(task, loss, measured[-1][task]) for task, loss in measured[0].items() if task in measured[-1]]


def _verdicts(
    training: Sequence[Done], curves: Mapping[str, list[dict[str, Any]]], scores: Mapping[str, Any] | None
) -> list[verdicts.Verdict]:
    found = [
        verdicts.loss_fell(stage.name, [row["loss"] for row in curves[stage.name]])
        for stage in training
        if stage.run != "rl"
    ]
    if scores:
        made = {
            model["name"]: stage.run
            for model in scores["settings"]["models"]
            for stage in training
            if stage.out in Path(model["path"]).parents
        }
        found += [verdicts.beats_chance(scores, model) for model, kind in made.items() if kind == "sft"]
        found += [verdicts.rl_raised(scores, model) for model, kind in made.items() if kind == "rl"]
        if scores["pacore"]:
            found.append(verdicts.pacore_helps(scores["pacore"]))
    return found


def _examples(scores: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    """The kept prompts with their pictures drawn, and each answer parted from its thought."""
    examples = []
    for example in scores["examples"]:
        texts = [split_answer(answer["text"]) for answer in example["answers"]]
        answers = [
            {**answer, "thought": thought, "said": said, "colour": COLOURS[number % len(COLOURS)]}
            for number, (answer, (thought, said)) in enumerate(zip(example["answers"], texts, strict=True))
        ]
        pictures = [
            drawn(out / picture, example["truth"], [said for _, said in texts]) for picture in example["pictures"]
        ]
        examples.append({**example, "answers": answers, "pictures": pictures})
    return examples


def _corpus(stage: Done) -> dict[str, Any]:
    """The corpus card: totals, tasks, the ledger and the contact sheet."""
    manifest = Dataset.open(stage.out).manifest
    sheets = []
    for path in sorted(stage.out.rglob("contact*.[pj][np]g")):
        with Image.open(path) as picture:
            sheet = picture.convert("RGB")
        sheet.thumbnail((SHEET_WIDTH, 8 * SHEET_WIDTH))
        sheets.append(encoded(sheet))
    return {
        "stage": stage,
        "manifest": manifest,
        "sheets": sheets,
        "samples": sum(shard.samples for shard in manifest.shards),
        "bytes": sum(shard.size for shard in manifest.shards),
        "text_tokens": sum(shard.text_tokens for shard in manifest.shards),
        "image_tokens": sum(shard.image_tokens for shard in manifest.shards),
    }


def machine() -> list[tuple[str, str]]:
    """What the run ran on, for a reader who compares times."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = []
    for package in ("torch", "transformers", "deepspeed", "ray", "apache-beam"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return [
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("packages", ", ".join(versions)),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
