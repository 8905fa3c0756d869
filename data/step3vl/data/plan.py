"""The plan of a training run: mixture -> order -> packs, before a single picture is read.

The sequence of packs is a pure function of the manifests, the mixture, the seed and the capacity. Every rank takes its
packs by stride, so a position in the sequence is all the state that a loader has, and the number of ranks may change.
"""

import logging
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow.compute as pc
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset, Split
from step3vl.data.errors import UserError
from step3vl.data.packing import best_fit
from step3vl.data.sample import Sample

logger = logging.getLogger(__name__)

_COLUMNS = ["kind", "task", "offset", "size", "text_tokens", "image_tokens"]


class MixtureSource(Config):
    """A slice of a dataset and its share of the tokens. `task` is a shell pattern."""

    dataset: str
    weight: float = Field(default=1.0, gt=0)
    split: Split = "train"
    kind: Literal["document", "conversation"] | None = None
    task: str | None = None
    modality: Literal["text", "image"] | None = None


class Mixture(Config):
    sources: tuple[MixtureSource, ...] = Field(min_length=1)


class Item(NamedTuple):
    """One sample of a plan: which source of the mixture, and which row of it."""

    source: int
    row: int


class Pack(NamedTuple):
    """Samples that share one sequence of `length` tokens; `number` is its place in the plan."""

    number: int
    items: tuple[Item, ...]
    length: int


class _Source:
    """The index rows that a mixture's source selects, as arrays."""

    def __init__(self, config: MixtureSource, capacity: int) -> None:
        self.dataset = Dataset.open(config.dataset)
        table = self.dataset.index(_COLUMNS, split=config.split, kind=config.kind, task=config.task)
        if config.modality is not None:
            pictured = pc.greater(table["image_tokens"], 0)
            table = table.filter(pictured if config.modality == "image" else pc.invert(pictured))
        lengths = table["text_tokens"].to_numpy() + table["image_tokens"].to_numpy()
        fitting = lengths <= capacity
        self.oversized = int((~fitting).sum())
        self.lengths: np.ndarray = lengths[fitting]
        self.shards, self.offsets, self.sizes = (
            table[name].to_numpy()[fitting] for name in ("shard", "offset", "size")
        )
        self.tasks: list[str] = table["task"].filter(fitting).to_pylist()
        if not len(self.lengths):
            longest = f", although {self.oversized} longer than the capacity do" if self.oversized else ""
            raise UserError(
                f"no sample of {config.dataset} matches split={config.split} kind={config.kind} task={config.task}"
                f" modality={config.modality} within {capacity} tokens{longest}"
            )


class Plan:
    """An endless, deterministic sequence of packs over a mixture.

    Sources are drawn so that their shares of the tokens follow the weights at every moment, never by chance. Each is
    walked in a new seeded order every epoch. Packs are formed over a window of samples, so memory beyond the index
    arrays is bounded by `window`.

    `oversized` counts, for each source, the samples longer than `capacity`, which cannot be packed; it is logged.
    """

    def __init__(self, mixture: Mixture, capacity: int, seed: int, window: int = 1024) -> None:
        self.capacity, self.seed, self.window = capacity, seed, window
        self._sources = [_Source(source, capacity) for source in mixture.sources]
        weights = np.array([source.weight for source in mixture.sources])
        self._weights = weights / weights.sum()
        self.oversized = {
            source.dataset: loaded.oversized for source, loaded in zip(mixture.sources, self._sources, strict=True)
        }
        for name, count in self.oversized.items():
            if count:
                logger.warning("%d samples of %s are longer than %d tokens and are left out", count, name, capacity)

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The dataset of each source, in the order of the mixture."""
        return tuple(source.dataset for source in self._sources)

    def __len__(self) -> int:
        """Samples in one pass over every source."""
        return sum(len(source.lengths) for source in self._sources)

    @property
    def tokens(self) -> int:
        """Tokens in one pass over every source."""
        return sum(int(source.lengths.sum()) for source in self._sources)

    def task(self, item: Item) -> str:
        return self._sources[item.source].tasks[item.row]

    def read(self, item: Item) -> Sample:
        """The sample of an item, with its pictures' bytes."""
        source = self._sources[item.source]
        row = item.row
        return source.dataset.read(int(source.shards[row]), int(source.offsets[row]), int(source.sizes[row]))

    def items(self) -> Iterator[Item]:
        """Samples in the order of training, without end."""
        drawn = np.zeros(len(self._sources))
        cursors = [self._walk(index) for index in range(len(self._sources))]
        while True:
            chosen = int(np.argmax(self._weights * (drawn.sum() + 1) - drawn))
            item = next(cursors[chosen])
            drawn[chosen] += self._sources[chosen].lengths[item.row]
            yield item

    def _walk(self, source: int) -> Iterator[Item]:
        epoch = 0
        while True:
            order = np.random.default_rng([self.seed, source, epoch]).permutation(len(self._sources[source].lengths))
            for row in order.tolist():
                yield Item(source, row)
            epoch += 1

    def packs(self, start: int = 0) -> Iterator[Pack]:
        """Packs from number `start` on, without end."""
        items, index, window = self.items(), 0, 0
        while True:
            batch = [next(items) for _ in range(self.window)]
            lengths = [int(self._sources[item.source].lengths[item.row]) for item in batch]
            groups = best_fit(lengths, self.capacity)
            # Best fit sorts by length; training should not.
            order = np.random.default_rng([self.seed, 2**31, window]).permutation(len(groups))
            for group in (groups[position] for position in order.tolist()):
                if index >= start:
                    members = sorted(group)
                    yield Pack(index, tuple(batch[i] for i in members), sum(lengths[i] for i in members))
                index += 1
            window += 1
