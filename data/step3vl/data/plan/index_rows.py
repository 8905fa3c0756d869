"""The index rows that a mixture source selects, one shard at a time: all that a plan reads."""

import fnmatch
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.plan.mixture import MixtureSource
from step3vl.data.sample.crops import ImageSpec, plan_crops
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

_COLUMNS = ["offset", "size", "text_tokens", "image_tokens", "kind", "task", "image_widths", "image_heights"]


@dataclass(frozen=True, slots=True)
class IndexRows:
    """The n selected rows of one shard, as arrays [n].

    Attributes:
        numbers: Row numbers in the shard, ascending.
        lengths: Tokens of each sample.
        offsets: First byte of each sample in the shard.
        sizes: Bytes of each sample.
        tasks: Index of each sample's task in `names`.
        names: Names of the tasks.
        documents: Whether each sample is a document.
        widest: For samples longer than a pack, by position in these arrays: tokens of the largest image.
    """

    numbers: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    tasks: np.ndarray
    names: list[str]
    documents: np.ndarray
    widest: dict[int, int]


class PlanIndex(Protocol):
    """Where a plan finds rows. `rows`, int64 [shards], has the number of rows of each shard, selected or not."""

    rows: np.ndarray

    def shard(self, number: int, capacity: int) -> IndexRows:
        """The selected rows of a shard, for packs of `capacity` tokens."""
        ...


class DatasetIndex:
    """The rows of a committed dataset that a source selects; shards are numbered within the source's split.

    Args:
        source: The slice of the dataset.
        store: How to reach a remote dataset.

    Raises:
        UserError: There is no dataset.
    """

    def __init__(self, source: MixtureSource, store: StoreConfig = DEFAULT_STORE) -> None:
        self.dataset, self._source = Dataset.open(source.dataset, store), source
        shards = self.dataset.manifest.shards
        self.numbers = [number for number, shard in enumerate(shards) if shard.split == source.split]
        self.rows = np.array([shards[number].samples for number in self.numbers], np.int64)

    def shard(self, number: int, capacity: int) -> IndexRows:
        """The selected rows of a shard. Raises UserError when its index is missing or damaged."""
        # Widths and heights are lists, and a plan that splits nothing has no use for them.
        columns = _COLUMNS if self._source.oversize == "split" else _COLUMNS[:-2]
        table = self.dataset.shard_index(self.numbers[number], [*columns, *self.dataset.exclusions.columns])
        tasks = pc.dictionary_encode(table["task"].combine_chunks())
        image_tokens = table["image_tokens"].to_numpy()
        lengths = table["text_tokens"].to_numpy().astype(np.int64) + image_tokens
        selected = np.flatnonzero(self._selected(table, tasks, image_tokens > 0))
        widest = {}
        if self._source.oversize == "split":
            spec = self.dataset.manifest.counting.image
            for position in np.flatnonzero((lengths[selected] > capacity) & (image_tokens[selected] > 0)).tolist():
                widest[position] = _largest_image_tokens(table, int(selected[position]), spec)
        return IndexRows(
            numbers=selected,
            lengths=lengths[selected],
            offsets=table["offset"].to_numpy()[selected],
            sizes=table["size"].to_numpy()[selected],
            tasks=tasks.indices.to_numpy()[selected],
            names=tasks.dictionary.to_pylist(),
            documents=pc.equal(table["kind"], "document").to_numpy()[selected],
            widest=widest,
        )

    def _selected(self, table: pa.Table, tasks: pa.DictionaryArray, with_images: np.ndarray) -> np.ndarray:
        """Which rows the source selects, bool [rows]."""
        selected = self.dataset.exclusions.keep(table)
        kind = self._source.kind
        selected &= (
            pc.not_equal(table["kind"], "preference") if kind is None else pc.equal(table["kind"], kind)
        ).to_numpy()
        if self._source.task is not None:
            matching = [fnmatch.fnmatchcase(name, self._source.task) for name in tasks.dictionary.to_pylist()]
            selected &= np.array(matching, bool)[tasks.indices.to_numpy()]
        if self._source.modality is not None:
            selected &= with_images == (self._source.modality == "image")
        return selected


def _largest_image_tokens(table: pa.Table, row: int, spec: ImageSpec) -> int:
    widths, heights = (table[name][row].as_py() for name in ("image_widths", "image_heights"))
    return max(plan_crops(width, height, spec).tokens for width, height in zip(widths, heights, strict=True))
