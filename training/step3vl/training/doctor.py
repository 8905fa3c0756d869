"""`step3vl corpus doctor`: a dataset as a trainer would see it, before any training.

Every sample passes through the plan, the loader and the collator of a real run, so that what a run would lose, cut or
not learn from is known before step 40,000.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from step3vl.data.config import Config
from step3vl.data.dataset import AnswerTokens, Dataset, DeadLetter, RowFilter, Split
from step3vl.data.errors import UserError
from step3vl.data.plan import DatasetIndex, FilterCount, Mixture, MixtureSource, Oversize, PackItem, PlanPhase
from step3vl.data.storage import DEFAULT_STORE, StoreConfig
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLImageProcessor
from step3vl.model.checkpoint import load_processor
from step3vl.training.batch import PreparedSample, collate
from step3vl.training.loader import PackLoader, Ranks, rank_packs

_MAX_EXAMPLES = 5  # of each kind of issue

IssueKind = Literal["unreadable", "placeholder_mismatch", "lost_in_collation", "untrained"]
_DESCRIPTIONS: dict[IssueKind, str] = {
    "unreadable": "samples that a run would skip",
    "placeholder_mismatch": "samples whose prompt has another number of image tokens than the encoder makes",
    "lost_in_collation": "packs that lose tokens or images",
    "untrained": "samples of which no token is trained",
}


class TaskCount(Config):
    """Counts of one task."""

    task: str
    """Name of the task."""
    samples: int = 0
    """Samples of the plan; a piece of a sample counts as one."""
    committed: int = 0
    """Tokens according to dataset.json."""
    planned: int = 0
    """Tokens according to the plan."""
    encoded: int = 0
    """Tokens of the samples that could be read."""
    trained: int = 0
    """Tokens with a weight in the loss."""
    images: int = 0
    """Images, which is also the number of global views."""
    crops: int = 0
    """Crops beside the global views."""


class DatasetIssue(Config):
    """Something that keeps a run from training on every sample as it was committed."""

    kind: IssueKind
    """What is wrong."""
    count: int
    """How often."""
    examples: tuple[str, ...]
    """The first of them, with their positions in the dataset."""


class Diagnosis(Config):
    """One epoch of a dataset, or its first packs where `complete` is false."""

    dataset: str
    """Path or URL of the dataset."""
    split: Split
    """The split that was read."""
    sequence_length: int
    """Tokens of a pack."""
    complete: bool
    """Whether the epoch was read to its end."""
    packs: int
    """Packs that were read."""
    filled: float
    """Share of the packs' length that tokens take."""
    oversized: int
    """Samples longer than a pack, of the windows that were planned to their end."""
    lost_tokens: int
    """Tokens of oversized samples that no pack holds."""
    filtered: FilterCount | None = None
    """What `where` left out of the samples of the split, kind and task, before any pack; None without it."""
    tasks: tuple[TaskCount, ...]
    """Counts by task."""
    answers: AnswerTokens | None = None
    """Tokens of the answers of all splits, and those of them that are trained, where the dataset was converted."""
    issues: tuple[DatasetIssue, ...]
    """What is wrong."""

    @property
    def healthy(self) -> bool:
        """Whether a run would train on every sample as it was committed."""
        return not self.issues and not self.lost_tokens


def diagnose(
    dataset: str,
    model: str | Path | None = None,
    *,
    sequence_length: int,
    split: Split = "train",
    kind: Literal["document", "conversation"] | None = None,
    task: str | None = None,
    where: str | None = None,
    oversize: Oversize = "drop",
    packs: int | None = None,
    seed: int = 0,
    store: StoreConfig = DEFAULT_STORE,
) -> Diagnosis:
    """Pass one epoch of a dataset through a trainer's loader and collator.

    Args:
        dataset: Path or URL of a committed dataset.
        model: An exported model whose tokenizer and image sizes to use; by default those that the dataset was counted
            with.
        sequence_length: Tokens of a pack.
        split: The split to read.
        kind: Read only samples of this kind.
        task: Read only tasks that match this shell pattern.
        where: Read only samples whose index rows this expression selects.
        oversize: Treatment of samples longer than a pack.
        packs: Stop after so many packs.
        seed: Seed of the order.
        store: How a dataset at a remote URL is read.

    Raises:
        UserError: There is no such dataset or model, the dataset was counted for another model, or `where` is wrong.
    """
    expression = None if where is None else RowFilter(where).expression
    source = MixtureSource(
        dataset=dataset, split=split, kind=kind, task=task, where=expression, oversize=oversize, epochs=1
    )
    opened = Dataset.open(dataset, store)
    if model is None:
        tokenizer = load_tokenizer(opened.tokenizer, store)
        image_processor = Step3VLImageProcessor(**opened.manifest.counting.image.model_dump())
    else:
        if not Path(model).is_dir():
            raise UserError(f"no model at {model}: give the folder of an exported model")
        processor = load_processor(Path(model))
        tokenizer, image_processor = processor.plain_tokenizer(), processor.image_processor
    loader = PackLoader(
        [PlanPhase(Mixture(sources=(source,)))],
        sequence_length=sequence_length,
        seed=seed,
        tokenizer=tokenizer,
        image_processor=image_processor,
        micro_batch=1,
        rank=0,
        world=1,
        store=store,
    )
    inspector = PackInspector(loader, image_processor, TokenIds.of(tokenizer))
    cursor = loader.plan.start
    for selected in rank_packs(loader.plan.packs(), 1, Ranks()):
        if packs is not None and selected.cursor.packs > packs:
            break
        (pack,) = selected.packs
        inspector.inspect([(item, loader.prepare(item)) for item in pack.items])
        cursor = selected.cursor
    (stream,) = cursor.streams
    committed: Counter[str] = Counter()
    for total in opened.manifest.tasks:
        if total.split == split and total.kind in ((kind,) if kind else ("document", "conversation")):
            committed[total.task] += total.text_tokens + total.image_tokens
    return Diagnosis(
        dataset=dataset,
        split=split,
        sequence_length=sequence_length,
        complete=cursor.phase == 1,
        packs=cursor.packs,
        filled=stream.tokens / max(cursor.packs * sequence_length, 1),
        oversized=stream.oversized,
        lost_tokens=stream.lost_tokens,
        filtered=None if where is None else DatasetIndex(source, store).count_filtered(),
        tasks=inspector.task_counts(committed),
        answers=next((step.answers for step in opened.manifest.ledger if step.answers), None),
        issues=inspector.issues(),
    )


class PackInspector:
    """Inspects packs one after another, and counts what it sees.

    Args:
        loader: The loader whose packs are inspected.
        image_processor: Its image processor.
        ids: Ids of the special tokens.
    """

    def __init__(self, loader: PackLoader, image_processor: Step3VLImageProcessor, ids: TokenIds) -> None:
        self._where, self._spec, self._ids = loader.plan.where, image_processor.spec, ids
        self._counts: dict[str, Counter[str]] = {}
        self._issues: Counter[IssueKind] = Counter()
        self._examples: dict[IssueKind, list[str]] = {}

    def inspect(self, pack: list[tuple[PackItem, PreparedSample | DeadLetter]]) -> None:
        """Inspect one pack as the loader has prepared it."""
        readable: list[tuple[PackItem, PreparedSample]] = []
        for item, sample in pack:
            counts = self._counts.setdefault(item.task, Counter())
            counts.update(samples=1, planned=item.length)
            if isinstance(sample, DeadLetter):
                self._add_issue("unreadable", f"{sample.source}: {sample.reason}")
                continue
            readable.append((item, sample))
            views, crops = (len(sample.pixels.views), len(sample.pixels.crops)) if sample.pixels else (0, 0)
            counts.update(encoded=len(sample.ids), images=views, crops=crops)
            placeholders = int((sample.ids == self._ids.image_patch).sum())
            features = views * self._spec.image_tokens + crops * self._spec.crop_tokens
            if placeholders != features:
                self._add_issue(
                    "placeholder_mismatch",
                    f"{self._where(item)}: {placeholders} image tokens in the prompt, the encoder makes {features}",
                )
        if readable:
            self._inspect_collated(readable)

    def _inspect_collated(self, samples: list[tuple[PackItem, PreparedSample]]) -> None:
        inputs, _ = collate([[sample for _, sample in samples]], self._ids.pad)
        numbers, weights = inputs["sequence_ids"][0], inputs["loss_weights"][0]
        for number, (item, sample) in enumerate(samples, start=1):
            positions = numbers == number
            trained, tokens = int((weights[positions] > 0).sum()), int(positions.sum())
            self._counts[item.task].update(trained=trained)
            if not trained:
                self._add_issue("untrained", self._where(item))
            if tokens != len(sample.ids):
                self._add_issue(
                    "lost_in_collation", f"{self._where(item)}: {tokens} of {len(sample.ids)} tokens are left"
                )
        images = sum(len(sample.pixels.views) for _, sample in samples if sample.pixels)
        packed = len(inputs["pixel_values"]) if "pixel_values" in inputs else 0
        if packed != images:
            self._add_issue(
                "lost_in_collation", f"the pack of {self._where(samples[0][0])}: {packed} of {images} images are left"
            )

    def _add_issue(self, kind: IssueKind, example: str) -> None:
        self._issues[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(example)

    def task_counts(self, committed: Counter[str]) -> tuple[TaskCount, ...]:
        """The counts so far, beside the tokens of each task according to dataset.json."""
        return tuple(
            TaskCount(task=task, committed=committed[task], **counts) for task, counts in sorted(self._counts.items())
        )

    def issues(self) -> tuple[DatasetIssue, ...]:
        """The issues so far."""
        return tuple(
            DatasetIssue(kind=kind, count=count, examples=tuple(self._examples[kind]))
            for kind, count in sorted(self._issues.items())
        )


def render(diagnosis: Diagnosis) -> Group:
    """A table and its summary, for a terminal."""
    extent = "one epoch" if diagnosis.complete else f"the first {diagnosis.packs:,} packs of an epoch"
    title = f"{diagnosis.dataset}, {diagnosis.split}: {extent} in packs of {diagnosis.sequence_length:,} tokens"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("task", no_wrap=True)
    for name in ("samples", "committed", "planned", "encoded", "trained", "images", "crops"):
        table.add_column(name, justify="right")
    for row in diagnosis.tasks:
        numbers = (row.samples, row.committed, row.planned, row.encoded, row.trained, row.images, row.crops)
        table.add_row(row.task, *(f"{number:,}" for number in numbers))
    lines = [
        f"{diagnosis.packs:,} packs, {diagnosis.filled:.1%} full; tokens committed by dataset.json, planned, encoded, "
        "and trained"
    ]
    if (filtered := diagnosis.filtered) is not None:
        lines.append(
            f"where leaves out {filtered.left_out:,} of {filtered.samples:,} samples, with "
            f"{filtered.left_out_tokens:,} of {filtered.tokens:,} tokens"
        )
    if diagnosis.oversized:
        lines.append(
            f"{diagnosis.oversized:,} samples are longer than a pack; {diagnosis.lost_tokens:,} of their tokens are "
            "left out (oversize: split cuts documents into pieces, truncate keeps the beginning)"
        )
    if (answers := diagnosis.answers) is not None:
        share = answers.trained / answers.total
        counts = f"{answers.trained:,} of {answers.total:,} tokens"
        lines.append(f"of the answers as they were converted, {counts} are trained ({share:.1%})")
    for issue in diagnosis.issues:
        lines.append(f"{issue.count:,} {_DESCRIPTIONS[issue.kind]}, for example")
        lines += [f"  {example}" for example in issue.examples]
    lines.append("no issues" if diagnosis.healthy else "a run would not train on everything")
    return Group(table, *lines)
