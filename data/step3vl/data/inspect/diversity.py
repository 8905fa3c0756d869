"""How diverse the samples of each task are, measured on a random sample of stated size.

Questions and answers that repeat, phrasings, the entropy of words, near-duplicates, images, and what builders say that
they chose (`Source.traits`). The sample bounds time and memory; rates of repetition are those within it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.near_duplicates import count_near_duplicates
from step3vl.data.inspect.sampling import read_rows, sample_tasks

SAMPLED = 1000  # samples of each task
MOST_FREQUENT = 10
_LONG = 40  # characters, from which answers are compared for similarity: short ones are alike by nature
_CHINESE = re.compile(r"[一-鿿]")
_WORD = re.compile(r"[一-鿿]|[^\W_一-鿿]+|[^\w\s]")
_VARIABLE = re.compile(r'"[^"]*"|“[^”]*”|`[^`]*`|\[[^\]]*\]|\d+(?:[.,]\d+)*')  # what a template fills in


class Trait(NamedTuple):
    """What the builders of a task chose of one kind, such as fonts.

    Attributes:
        name: The kind.
        values: How many occur.
        effective: The number of equally frequent values of the same entropy.
        most: The most frequent one.
        share: Its share.
    """

    name: str
    values: int
    effective: float
    most: str
    share: float


class Diversity(NamedTuple):
    """The diversity of a task. A share is None where nothing could be compared.

    Attributes:
        task: Dotted name.
        sampled: Samples that were looked at.
        questions: Distinct ones; 0 for documents.
        phrasings: Distinct questions without their numbers and quoted texts.
        frequent: Share of the ten most frequent phrasings.
        answers: Distinct ones; for documents, texts.
        long: Answers of at least 40 characters.
        near_duplicates: Share of the long ones that resemble an earlier one (Jaccard similarity of shingles >= 0.8).
        word_entropy: Of the words of answers, in bits.
        trigram_entropy: Of three consecutive words, in bits.
        images: Images of the samples.
        distinct_images: By their bytes.
        sizes: Distinct widths and heights.
        traits: What builders chose.
    """

    task: str
    sampled: int
    questions: int
    phrasings: int
    frequent: float | None
    answers: int
    long: int
    near_duplicates: float | None
    word_entropy: float
    trigram_entropy: float
    images: int
    distinct_images: int
    sizes: int
    traits: tuple[Trait, ...]


def measure_diversity(dataset: Dataset, sampled: int = SAMPLED, seed: int = 0) -> list[Diversity]:
    """The diversity of each task, from its index and the JSON of a random sample; no image is read.

    Args:
        dataset: The dataset.
        sampled: Samples of each task, at most.
        seed: Of the sample.
    """
    chosen = sample_tasks(dataset, sampled, seed)
    return [diversity_of(task, read_rows(dataset, located)) for task, located in chosen.items()]


def diversity_of(task: str, rows: Iterable[Mapping[str, Any]]) -> Diversity:
    """The diversity of samples of a task.

    Args:
        task: Its name.
        rows: The samples as `Sample.to_row` gives them.
    """
    questions: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    images: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    words: Counter[str] = Counter()
    trigrams: Counter[tuple[str, ...]] = Counter()
    traits: dict[str, Counter[str]] = {}
    long: list[str] = []
    sampled = 0
    for row in rows:
        sampled += 1
        question, answer = _texts(row)
        if question:
            questions[question] += 1
        answers[answer] += 1
        if len(answer) >= _LONG:
            long.append(answer)
        tokens = _WORD.findall(answer)
        words.update(tokens)
        trigrams.update(zip(tokens, tokens[1:], tokens[2:], strict=False))
        images.update(image["sha256"] for image in row.get("images", ()))
        sizes.update((image["width"], image["height"]) for image in row.get("images", ()))
        for name, value in _traits(row, question or answer):
            traits.setdefault(name, Counter())[value] += 1
    phrasings = Counter[str]()
    for question, number in questions.items():
        phrasings[_VARIABLE.sub("…", question)] += number
    asked = phrasings.total()
    return Diversity(
        task=task,
        sampled=sampled,
        questions=len(questions),
        phrasings=len(phrasings),
        frequent=sum(number for _, number in phrasings.most_common(MOST_FREQUENT)) / asked if asked else None,
        answers=len(answers),
        long=len(long),
        near_duplicates=count_near_duplicates(long) / len(long) if long else None,
        word_entropy=entropy(words),
        trigram_entropy=entropy(trigrams),
        images=images.total(),
        distinct_images=len(images),
        sizes=len(sizes),
        traits=tuple(_trait(name, values) for name, values in sorted(traits.items())),
    )


def entropy(counts: Counter[Any]) -> float:
    """Shannon's entropy of a distribution, in bits."""
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in sorted(counts.values())) if total else 0.0


def _texts(row: Mapping[str, Any]) -> tuple[str, str]:
    """The user's texts and the final answer; of a document, nothing and all texts."""
    messages = row.get("messages")
    if messages is None:
        return "", _joined(row.get("content", ()))
    question = " ".join(_joined(message["content"]) for message in messages[:-1] if message["role"] == "user")
    return question, _joined(messages[-1]["content"])


def _joined(parts: Iterable[Mapping[str, Any]]) -> str:
    return " ".join(part["text"] for part in parts if part["type"] == "text")


def _traits(row: Mapping[str, Any], text: str) -> Iterator[tuple[str, str]]:
    """What the builder chose, and the language in which it asks."""
    source = row["source"]
    yield "builder", source["collected_by"]
    yield (
        "language of the question" if row.get("messages") else "language",
        ("Chinese" if _CHINESE.search(text) else "other"),
    )
    yield from source.get("traits", {}).items()


def _trait(name: str, counts: Counter[str]) -> Trait:
    ((most, number),) = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:1]
    return Trait(name, len(counts), 2 ** entropy(counts), most, number / counts.total())
