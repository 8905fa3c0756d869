"""What a benchmark is: where its files come from, its questions, its rule, and how its numbers are made."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, by_category, mean_percent

Rule = Literal["strict", "official"]
"""How responses are read.

- ``strict``: what cannot be read is unparsable, and documented slips of the official data or code are repaired.
- ``official``: what the official code does on the same response, random choices excepted (they are unparsable, too).
"""


@dataclass(frozen=True)
class DataFile:
    """A file of a benchmark's official release.

    Args:
        name: Its path below the benchmark's folder; a pattern where it comes in parts.
        source: Where it is published: a repository and a path, or an address.
        size: Roughly, in words: "88 MB".
        optional: Whether items can be made without it (images, where only recorded outputs are scored).
    """

    name: str
    source: str
    size: str
    optional: bool = False


@dataclass(frozen=True)
class About:
    """The facts of a benchmark.

    Args:
        name: What the command line calls it: lower case, with hyphens.
        title: As the paper's tables print it; the key into them.
        paper: The benchmark's own paper or repository.
        licence: Of its data.
        items: How many the official release has; None where the files alone decide.
        repeats: Responses to each item behind the paper's number (spec: `repeats` of the tables).
        family: The prompt family of the paper's appendix C.1, or "official" for a prompt of the benchmark's own.
        metric: The headline in plain words.
        files: What must lie where.
        modality: Whether its items have images.
        judge: The model that the authors grade with; empty where a rule decides.
        executes: Whether scoring runs code of the response, in the sandbox.
        notes: Known traps, and where this implementation differs from the official one, a sentence each.
    """

    name: str
    title: str
    paper: str
    licence: str
    items: int | None
    repeats: int
    family: str
    metric: str
    files: tuple[DataFile, ...]
    modality: Literal["image", "text"] = "image"
    judge: str = ""
    executes: bool = False
    notes: tuple[str, ...] = ()


class Benchmark(ABC):
    """A benchmark. Subclasses are stateless; one module each in `step3vl.evaluation.benchmarks`."""

    about: About

    @property
    def folder(self) -> str:
        """The name of the folder of its results and of its official files."""
        return self.about.name

    @abstractmethod
    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        """Read the official files, in their order.

        Args:
            data: The folder with the files of `about.files`.
            images: Whether the images are needed; without, their files may be missing.

        Raises:
            UserError: a file is missing or lacks a field; it names the file, the field and the fix.
        """

    @abstractmethod
    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        """Read a response and compare it with the answer. Never raises on any text, and takes linear time.

        A reasoning model's `<think>` part is already removed.
        """

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The numbers over all responses. By default the mean over them in percent, and by category."""
        return Metrics(
            "accuracy",
            {"accuracy": mean_percent(scored)},
            {
                "correct": sum(each.score.verdict == "correct" for each in scored),
                "unparsable": sum(each.score.verdict == "unparsable" for each in scored),
                "items": len(scored),
            },
            by_category(scored),
        )

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Read outputs in the layout of the benchmark's authors.

        Yields:
            The response, and its item where the layout holds all that scoring needs; None where the items are read
            from the official files.

        Raises:
            UserError: the layout is none that the authors publish; it names the fields that are expected.
        """
        raise UserError(f"{path}: {self.about.name} has no official layout of outputs; give JSON lines: id, response")


class JudgedBenchmark(Benchmark):
    """A benchmark whose responses a model grades. `score` sees what a rule can decide; the rest is the judge's."""

    @abstractmethod
    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        """What the judge is asked, as the authors ask it."""

    @abstractmethod
    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        """The score that the judge's reply gives; unparsable where it gives none (never a default grade)."""

    def judge_calls(self, item: Item, response: str) -> tuple[tuple[Message, ...], ...]:
        """All that the judge is asked of a response; by default once. Benchmarks that ask more often override it."""
        return (self.judge_messages(item, response),)

    def read_judgements(self, item: Item, response: str, judgements: Sequence[str]) -> Score:
        """The score that the replies to all calls give."""
        (judgement,) = judgements
        return self.read_judgement(item, response, judgement)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        """Unparsable: without a judge, nothing is decided."""
        return Score.unparsable("needs a judge")
