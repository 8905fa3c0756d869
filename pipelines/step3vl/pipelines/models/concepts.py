"""Concept balance: common concepts are capped, so that the long tail makes up more of a corpus.

After MetaCLIP ("Demystifying CLIP data"). A first pass counts in how many texts each concept of a list occurs. A text
is then kept for the sake of each of its concepts with the probability `cap / count`, at most 1: concepts up to the cap
lose nothing, and of those above about `cap` texts are left. Counts are sums, so they are counted anywhere in parallel,
and a filter needs the table alone, whatever the size of the corpus.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.pipelines.sources.text.words import singular, words


class BalanceConfig(Config):
    """How concepts are balanced."""

    counts: str
    """A table as `step3vl corpus concepts` writes it: path, URL or `assets:...`."""
    cap: int = Field(default=20_000, gt=0)
    """Texts that are about left of each concept that has more; MetaCLIP took 20,000 for 400 million pairs."""
    unmatched: float = Field(default=1.0, ge=0, le=1)
    """The share that is kept of texts without any concept; MetaCLIP kept none."""


class ConceptList:
    """Concepts, and how they are found in texts: as runs of whole words.

    Args:
        names: The concepts; case and English plurals do not count. Chinese ones have two characters or more.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[tuple[str, ...], str] = {}
        for name in names:
            if key := tuple(map(singular, words(name))):
                self._names.setdefault(key, " ".join(name.split()))
        self._longest = max(map(len, self._names), default=0)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, text: str) -> list[str]:
        """The concepts in a text, each once, in the order in which they end; shorter ones inside longer ones too."""
        tokens = list(map(singular, words(text)))
        concepts: dict[str, None] = {}
        for stop in range(1, len(tokens) + 1):
            for length in range(1, min(self._longest, stop) + 1):
                if name := self._names.get(tuple(tokens[stop - length : stop])):
                    concepts[name] = None
        return list(concepts)


class ConceptTable:
    """The concepts of a list and in how many texts each occurs.

    Args:
        counts: Texts by concept.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)
        self._list = ConceptList(self.counts)

    @classmethod
    def load(cls, path: Path) -> "ConceptTable":
        """Read a table. Raises UserError for a line that is no concept and count."""
        counts: dict[str, int] = {}
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                name, _, count = line.rstrip("\n").rpartition("\t")
                if not name or not count.isdigit():
                    raise UserError(f"{path}:{number}: no concept and count with a tab between: {line.strip()[:80]!r}")
                counts[name] = int(count)
        return cls(counts)

    def probability(self, text: str, config: BalanceConfig) -> float:
        """With which a text is kept."""
        dropped, matched = 1.0, False
        for name in self._list.find(text):
            if count := self.counts[name]:
                matched = True
                dropped *= 1 - min(1.0, config.cap / count)
        return 1 - dropped if matched else config.unmatched

    def keeps(self, text: str, config: BalanceConfig, rng: random.Random) -> bool:
        """Whether a text is kept: decided by a single random number."""
        return rng.random() < self.probability(text, config)


def count_concepts(texts: Iterable[str], concepts: ConceptList) -> Counter[str]:
    """In how many texts each concept occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(concepts.find(text))
    return counts


def table_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """The lines of a table, the most frequent concept first."""
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"{name}\t{count}\n"
