"""One self-contained HTML page that says what a run did and what it showed, from the files that its stages left."""

import datetime
import io
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
from step3vl.data.dataset import MANIFEST, Dataset, Manifest
from step3vl.data.inspect import task_sheets
from step3vl.data.storage import write_durably
from step3vl.workflows import claims, curves
from step3vl.workflows.claims import SUMMARY, Claim
from step3vl.workflows.example_images import MODEL_COLOURS, TRUTH_COLOUR, annotate_image, data_url
from step3vl.workflows.records import read_record
from step3vl.workflows.stages import Context
from step3vl.workflows.tables import format_duration

CONTACT_SHEET_WIDTH = 1600
"""Pixels to which the contact sheets of a corpus are reduced."""
TASK_SAMPLES = 4
"""How many samples of each task the page shows beside their labels."""
RL_METRICS = (
    ("reward_mean", "reward"),
    ("heldout/reward_mean", "held-out reward"),
    ("kl", "KL of the update"),
    ("entropy", "entropy"),
    ("length", "length, tokens"),
    ("value_loss", "value loss"),
    ("explained_variance", "explained variance of the critic"),
)
"""Key in ``metrics.jsonl`` and title of each plot."""

Metrics = Mapping[str, Any]
"""A row of ``metrics.jsonl``."""


class ReportConfig(Config):
    """The report reads whatever the stages before it left; there is nothing to choose."""


@dataclass(frozen=True)
class FinishedStage:
    """A stage that has run: its output directory, and what its record says."""

    out: Path
    name: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class CorpusSummary:
    """What the page shows of a dataset."""

    manifest: Manifest
    contact_sheets: list[str]
    task_sheets: list[tuple[str, str]]
    """Of each task: its name, and the URL of an image of some samples beside their labels."""
    samples: int
    bytes: int
    text_tokens: int
    image_tokens: int


def write_report(config: ReportConfig, context: Context) -> None:
    """Write ``report.html`` into the stage's output, atomically."""
    records = ((out, read_record(out)) for out in context.earlier)
    stages = [FinishedStage(out, record.name, record.kind, record.seconds) for out, record in records if record]
    write_durably(context.out / "report.html", render_report(context.title, stages).encode())


def render_report(title: str, stages: Sequence[FinishedStage]) -> str:
    """Render the page. It has a section for each kind of stage that has run.

    Args:
        title: The title of the page.
        stages: The stages that have run, in order.

    Returns:
        HTML that refers to no other file.
    """
    training = [stage for stage in stages if (stage.out / "metrics.jsonl").is_file()]
    metrics = {stage.name: read_metrics(stage.out / "metrics.jsonl") for stage in training}
    evaluation = next((stage for stage in stages if (stage.out / SUMMARY).is_file()), None)
    scores = json.loads((evaluation.out / SUMMARY).read_text(encoding="utf-8")) if evaluation else None
    corpora = [stage for stage in stages if (stage.out / MANIFEST).is_file()]
    environment = Environment(
        loader=PackageLoader("step3vl.workflows"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": format_duration, "count": lambda number: f"{number:,}"}
    return environment.get_template("report.html.j2").render(
        title=title,
        date=datetime.datetime.now(datetime.UTC).strftime("%d %B %Y, %H:%M UTC"),
        machine=machine_facts(),
        stages=stages,
        total=sum(stage.seconds for stage in stages),
        claims=_claims(training, metrics, scores),
        losses=[
            (
                stage,
                metrics[stage.name][-1]["step"],
                curves.loss_curve(metrics[stage.name]),
                heldout_losses(metrics[stage.name]),
            )
            for stage in training
            if stage.kind != "rl" and metrics[stage.name]
        ],
        rl=[
            (stage, metrics[stage.name][-1]["step"], curves.small_multiples(metrics[stage.name], RL_METRICS))
            for stage in training
            if stage.kind == "rl" and metrics[stage.name]
        ],
        scores=scores,
        examples=_examples(scores, evaluation.out) if scores and evaluation else [],
        corpora=[_summarise_corpus(stage.out) for stage in corpora],
        truth_colour=TRUTH_COLOUR,
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read ``metrics.jsonl``: one row for each step, in order.

    The rows of a step are merged. Of a step that was repeated after an interruption, the last values count; a line
    that an interruption cut short is ignored.
    """
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows.setdefault(row["step"], {}).update(row)
    return [rows[step] for step in sorted(rows)]


def heldout_losses(rows: Sequence[Metrics]) -> list[tuple[str, float, float]]:
    """(task, first, last) of the held-out losses in a training run; empty where they were measured less than twice."""
    measured = [row["evaluation"]["tasks"] for row in rows if "evaluation" in row]
    if len(measured) < 2:
        return []
    return [(task, loss, measured[-1][task]) for task, loss in measured[0].items() if task in measured[-1]]


def _claims(
    training: Sequence[FinishedStage], metrics: Mapping[str, Sequence[Metrics]], scores: Mapping[str, Any] | None
) -> list[Claim]:
    checked = [
        claims.loss_fell(stage.name, [row["loss"] for row in metrics[stage.name]])
        for stage in training
        if stage.kind != "rl"
    ]
    if scores:
        kinds = {
            model["name"]: stage.kind
            for model in scores["settings"]["models"]
            for stage in training
            if stage.out in Path(model["path"]).parents
        }
        checked += [claims.beats_chance(scores, model) for model, kind in kinds.items() if kind == "sft"]
        checked += [claims.rl_raised(scores, model) for model, kind in kinds.items() if kind == "rl"]
        if scores["pacore"]:
            checked.append(claims.pacore_helps(scores["pacore"]))
    return checked


def _examples(scores: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    """The examples of an evaluation with annotated images, each model's answer in its colour."""
    examples = []
    for example in scores["examples"]:
        answers = [
            {**answer, "colour": MODEL_COLOURS[number % len(MODEL_COLOURS)]}
            for number, answer in enumerate(example["answers"])
        ]
        texts = [answer["text"] for answer in answers]
        images = [annotate_image(out / file, example["truth"], texts) for file in example["images"]]
        examples.append({**example, "answers": answers, "images": images})
    return examples


def _summarise_corpus(out: Path) -> CorpusSummary:
    dataset = Dataset.open(out)
    manifest = dataset.manifest
    return CorpusSummary(
        manifest=manifest,
        contact_sheets=[_sheet_url(path) for path in sorted(out.rglob("contact*.[pj][np]g"))],
        task_sheets=[(task, _sheet_url(io.BytesIO(png))) for task, png in task_sheets(dataset, TASK_SAMPLES)],
        samples=sum(shard.samples for shard in manifest.shards),
        bytes=sum(shard.size for shard in manifest.shards),
        text_tokens=sum(shard.text_tokens for shard in manifest.shards),
        image_tokens=sum(shard.image_tokens for shard in manifest.shards),
    )


def _sheet_url(file: Path | io.BytesIO) -> str:
    with Image.open(file) as image:
        contact_sheet = image.convert("RGB")
    contact_sheet.thumbnail((CONTACT_SHEET_WIDTH, 8 * CONTACT_SHEET_WIDTH))
    return data_url(contact_sheet)


def machine_facts() -> list[tuple[str, str]]:
    """What the run ran on, for a reader who compares times: (name, value)."""
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
