"""What a benchmark asks, and what became of a response."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from step3vl.data.sample import Message

Verdict = Literal["correct", "wrong", "partial", "unparsable"]
"""What became of a response.

- ``correct``, ``wrong``: read, and compared with the answer.
- ``partial``: read, and worth a value between 0 and 1.
- ``unparsable``: nothing of the kind asked for could be read. Its value is 0; no option is ever guessed.
"""


@dataclass(frozen=True)
class Item:
    """A question of a benchmark.

    Args:
        id: Unique within the benchmark, as its official files name it; stable between runs.
        messages: The prompt as it is sent; image parts are indexes into `images`.
        answer: The official answer, a JSON value.
        images: Encoded bytes, or the files that hold them; empty where the images were not asked for.
        group: Items of one group are sampled together, and are one cluster of the standard error: those that share
            an image, the rotations of a question, the variants of a seed. Empty: the item is a group of its own.
        category: What the results are broken down by; empty without categories.
        fields: What else the rule needs of the official record (options, precision, boxes), as JSON values.
        tools: JSON-schema signatures of the functions that the model may call.
    """

    id: str
    messages: tuple[Message, ...]
    answer: Any
    images: tuple[bytes | Path, ...] = ()
    group: str = ""
    category: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def cluster(self) -> str:
        """The name of its group; its id where it is a group of its own."""
        return self.group or self.id


@dataclass(frozen=True)
class Score:
    """The verdict on a response.

    Args:
        value: In 0..1.
        verdict: See `Verdict`.
        extracted: What was read from the response, as text; None where nothing was.
        trace: How it was read, a few words for each step that decided: "boxed", "last letter of 'answer is B'".
        details: What the benchmark's own summary needs beside the value, as JSON values.
    """

    value: float
    verdict: Verdict
    extracted: str | None = None
    trace: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, correct: bool, extracted: str | None, *trace: str, **details: Any) -> "Score":
        """The score of a response that is either right or worth nothing."""
        return cls(float(correct), "correct" if correct else "wrong", extracted, trace, details)

    @classmethod
    def graded(cls, value: float, extracted: str | None = None, *trace: str, **details: Any) -> "Score":
        """The score of a response that may be right in part: correct at 1, wrong at 0, partial between."""
        verdict: Verdict = "correct" if value == 1 else "partial" if value > 0 else "wrong"
        return cls(value, verdict, extracted, trace, details)

    @classmethod
    def unparsable(cls, *trace: str, **details: Any) -> "Score":
        """The score of a response that nothing could be read from."""
        return cls(0.0, "unparsable", None, trace, details)


@dataclass(frozen=True)
class Scored:
    """An item with the score of one response to it.

    Args:
        item: The item; its messages and images may be missing where recorded outputs are scored.
        score: The score.
        repeat: Which of several responses to the item, from 0.
    """

    item: Item
    score: Score
    repeat: int = 0


@dataclass(frozen=True)
class Recorded:
    """A recorded response.

    Args:
        item: The item's id.
        response: The whole text that the model wrote.
        verdict: What the benchmark's authors recorded for it, a JSON value such as a hit or a grade; None without.
        fields: What else was recorded with it and a rule may need, such as an extraction; it is added to the fields of
            the item before the response is scored. `judgement` is a judge's reply, which `read_judgement` reads.
        repeat: Which of several responses to the item, from 0.
    """

    item: str
    response: str
    verdict: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 0


@dataclass(frozen=True)
class Metrics:
    """The numbers of a benchmark.

    Args:
        headline: The name of the value that the paper's tables print.
        values: By name, in the unit in which the benchmark's authors print them (mostly percent), unrounded.
        counts: Hits and totals behind them, by name, where they are counts: `correct`, `items`.
        categories: The headline's value by category.
    """

    headline: str
    values: Mapping[str, float]
    counts: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The headline's value."""
        return self.values[self.headline]


def mean_percent(scored: Sequence[Scored]) -> float:
    """The mean value of responses, in percent; 0 without any."""
    return 100 * sum(each.score.value for each in scored) / len(scored) if scored else 0.0


def by_category(
    scored: Sequence[Scored], number: Callable[[Sequence[Scored]], float] = mean_percent
) -> dict[str, float]:
    """A number of the responses of each category, by its name in order; responses without a category are in none."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for each in scored:
        groups[each.item.category].append(each)
    return {name: number(group) for name, group in sorted(groups.items()) if name}
