"""`step3vl corpus doctor`: a dataset as a trainer would see it, before any training.

Every sample goes through the plan, the loader and the collator of a real run. What a run would lose, cut, or not learn
from comes to light here, and not at step 40,000.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.ledger import DeadLetter
from step3vl.data.manifest import Split
from step3vl.data.mixture import Mixture, MixtureSource, Oversize, Stretch
from step3vl.data.plan import Item
from step3vl.data.store import DEFAULT, StoreConfig
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLImageProcessor
from step3vl.model.checkpoint import load_processor
from step3vl.training.batch import Prepared, collate
from step3vl.training.loader import PackLoader, deal

_EXAMPLES = 5  # of each complaint, that are kept with their place

# unreadable: a run would skip it. placeholders: the prompt has room for other picture tokens than the tower makes.
# unpacked: the collator loses tokens or pictures. untrained: no token of it has a weight in the loss.
Complaint = Literal["unreadable", "placeholders", "unpacked", "untrained"]


class TaskCount(Config):
    """Of one task: samples and tokens that the plan has, tokens that came out, and how many of them are trained.

    `committed` are the tokens that `dataset.json` names. Pictures count their global views, crops are counted apart.
    """

    task: str
    samples: int = 0
    committed: int = 0
    planned: int = 0
    found: int = 0
    trained: int = 0
    pictures: int = 0
    crops: int = 0


class Finding(Config):
    complaint: Complaint
    count: int
    examples: tuple[str, ...]


class Diagnosis(Config):
    """What became of one epoch, or of its first packs where `whole` is false."""

    dataset: str
    split: Split
    capacity: int
    whole: bool
    packs: int
    filled: float  # share of the packs' room that tokens take
    oversized: int  # samples longer than a pack, of the windows that were planned to their end
    lost_tokens: int  # those of them that no pack holds
    tasks: tuple[TaskCount, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether a run would train on every sample as it was committed."""
        return not self.findings and not self.lost_tokens


def diagnose(
    dataset: str,
    model: str | Path | None = None,
    *,
    capacity: int,
    split: Split = "train",
    kind: Literal["document", "conversation"] | None = None,
    task: str | None = None,
    oversize: Oversize = "drop",
    packs: int | None = None,
    seed: int = 0,
    store: StoreConfig = DEFAULT,
) -> Diagnosis:
    """Take one epoch of a dataset, or its first `packs`, through a trainer's loader and collator.

    `model` is an exported model whose tokenizer and picture sizes to use; without one, those that the dataset was
    counted with. Raises UserError when there is no such dataset, or it was counted for another model.
    """
    source = MixtureSource(dataset=dataset, split=split, kind=kind, task=task, oversize=oversize, epochs=1)
    opened = Dataset.open(dataset, store)
    if model is None:
        tokenizer = load_tokenizer(opened.tokenizer)
        processor = Step3VLImageProcessor(**opened.manifest.counting.image.model_dump())
    else:
        if not Path(model).is_dir():
            raise UserError(f"no model at {model}: give the folder of an exported model")
        whole = load_processor(Path(model))
        tokenizer, processor = whole.plain_tokenizer(), whole.image_processor
    loader = PackLoader(
        [Stretch(Mixture(sources=(source,)))],
        capacity=capacity,
        seed=seed,
        tokenizer=tokenizer,
        image_processor=processor,
        micro_batch=1,
        rank=0,
        world=1,
        store=store,
    )
    examination = Examination(loader, processor, TokenIds.of(tokenizer))
    cursor = loader.plan.start
    for share in deal(loader.plan.packs(), 1, 0, 1):
        if packs is not None and share.cursor.packs > packs:
            break
        (pack,) = share.packs
        examination.see([(item, loader.prepared(item)) for item in pack.items])
        cursor = share.cursor
    (stream,) = cursor.streams
    committed: Counter[str] = Counter()
    for total in opened.manifest.tasks:
        if total.split == split and kind in (None, total.kind):
            committed[total.task] += total.text_tokens + total.image_tokens
    return Diagnosis(
        dataset=dataset,
        split=split,
        capacity=capacity,
        whole=cursor.stretch == 1,
        packs=cursor.packs,
        filled=stream.tokens / max(cursor.packs * capacity, 1),
        oversized=stream.oversized,
        lost_tokens=stream.lost_tokens,
        tasks=examination.tasks(committed),
        findings=examination.findings(),
    )


class Examination:
    """Looks at packs, one after another."""

    def __init__(self, loader: PackLoader, processor: Step3VLImageProcessor, ids: TokenIds) -> None:
        self._where, self._spec, self._ids = loader.plan.where, processor.spec, ids
        self._tasks: dict[str, Counter[str]] = {}
        self._complaints: Counter[Complaint] = Counter()
        self._examples: dict[Complaint, list[str]] = {}

    def see(self, pack: list[tuple[Item, Prepared | DeadLetter]]) -> None:
        """One pack as the loader has prepared it."""
        sound: list[tuple[Item, Prepared]] = []
        for item, found in pack:
            counts = self._tasks.setdefault(item.task, Counter())
            counts.update(samples=1, planned=item.length)
            if isinstance(found, DeadLetter):
                self._complain("unreadable", f"{found.source}: {found.reason}")
                continue
            sound.append((item, found))
            counts.update(found=len(found.ids))
            views, crops = (len(found.pixels.views), len(found.pixels.crops)) if found.pixels else (0, 0)
            counts.update(pictures=views, crops=crops)
            room = int((found.ids == self._ids.image_patch).sum())
            made = views * self._spec.image_tokens + crops * self._spec.crop_tokens
            if room != made:
                self._complain(
                    "placeholders", f"{self._where(item)}: room for {room} picture tokens, the tower makes {made}"
                )
        if sound:
            self._collated(sound)

    def _collated(self, sound: list[tuple[Item, Prepared]]) -> None:
        inputs, _ = collate([[sample for _, sample in sound]], self._ids.pad)
        numbers, weights = inputs["sequence_ids"][0], inputs["loss_weights"][0]
        for number, (item, sample) in enumerate(sound, start=1):
            own = numbers == number
            trained = int((weights[own] > 0).sum())
            self._tasks[item.task].update(trained=trained)
            if not trained:
                self._complain("untrained", self._where(item))
            if int(own.sum()) != len(sample.ids):
                self._complain(
                    "unpacked", f"{self._where(item)}: {int(own.sum())} of {len(sample.ids)} tokens are left"
                )
        pictures = sum(len(sample.pixels.views) for _, sample in sound if sample.pixels)
        packed = len(inputs["pixel_values"]) if "pixel_values" in inputs else 0
        if packed != pictures:
            self._complain(
                "unpacked", f"the pack of {self._where(sound[0][0])}: {packed} of {pictures} pictures are left"
            )

    def _complain(self, complaint: Complaint, example: str) -> None:
        self._complaints[complaint] += 1
        kept = self._examples.setdefault(complaint, [])
        if len(kept) < _EXAMPLES:
            kept.append(example)

    def tasks(self, committed: Counter[str]) -> tuple[TaskCount, ...]:
        return tuple(
            TaskCount(task=task, committed=committed[task], **counts) for task, counts in sorted(self._tasks.items())
        )

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(complaint=complaint, count=count, examples=tuple(self._examples[complaint]))
            for complaint, count in sorted(self._complaints.items())
        )


_MEANING: dict[Complaint, str] = {
    "unreadable": "samples that a run would skip",
    "placeholders": "samples whose prompt has room for other picture tokens than the tower makes",
    "unpacked": "packs that lose tokens or pictures",
    "untrained": "samples of which no token is trained",
}


def render(diagnosis: Diagnosis) -> Group:
    """For a terminal."""
    part = "one epoch" if diagnosis.whole else f"the first {diagnosis.packs:,} packs of an epoch"
    title = f"{diagnosis.dataset}, {diagnosis.split}: {part} in packs of {diagnosis.capacity:,}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("task", no_wrap=True)
    for name in ("samples", "tokens", "planned", "found", "trained", "views", "crops"):
        table.add_column(name, justify="right")
    for row in diagnosis.tasks:
        numbers = (row.samples, row.committed, row.planned, row.found, row.trained, row.pictures, row.crops)
        table.add_row(row.task, *(f"{number:,}" for number in numbers))
    lines = [
        f"{diagnosis.packs:,} packs, {diagnosis.filled:.1%} full; tokens are those that dataset.json names, that the "
        "plan has, that came out, and that are trained"
    ]
    if diagnosis.oversized:
        lines.append(
            f"{diagnosis.oversized:,} samples are longer than a pack; {diagnosis.lost_tokens:,} tokens of them are "
            "left out (oversize: split cuts documents into pieces, truncate keeps the beginning)"
        )
    for finding in diagnosis.findings:
        lines.append(f"{finding.count:,} {_MEANING[finding.complaint]}, such as")
        lines += [f"  {example}" for example in finding.examples]
    lines.append("nothing is wrong" if diagnosis.healthy else "a run would not train on everything")
    return Group(table, *lines)
