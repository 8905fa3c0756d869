"""The rows of an index that a source of a mixture selects, a shard at a time: all that a plan reads."""

import fnmatch
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.crops import ImageSpec, plan_crops
from step3vl.data.dataset import Dataset
from step3vl.data.mixture import MixtureSource
from step3vl.data.store import DEFAULT, StoreConfig

_COLUMNS = ["offset", "size", "text_tokens", "image_tokens", "kind", "task", "image_widths", "image_heights"]


@dataclass(frozen=True, slots=True)
class Rows:
    """The n selected rows of one shard: arrays [n], except for the names of the tasks and `widest`."""

    numbers: np.ndarray  # places in the shard, ascending
    lengths: np.ndarray  # tokens
    offsets: np.ndarray  # bytes
    sizes: np.ndarray
    tasks: np.ndarray  # indices into `names`
    names: list[str]
    documents: np.ndarray  # whether it is one
    widest: dict[int, int]  # by index, of samples longer than a pack: tokens of the largest picture


class Index(Protocol):
    """Where a plan finds rows. `rows` [shards] has the number of rows of each shard, selected or not."""

    rows: np.ndarray

    def shard(self, number: int, capacity: int) -> Rows: ...


class DatasetIndex:
    """The rows of a committed dataset that a source selects; its shards are those of the source's split."""

    def __init__(self, source: MixtureSource, store: StoreConfig = DEFAULT) -> None:
        """Raises UserError when there is no dataset."""
        self.dataset, self._source = Dataset.open(source.dataset, store), source
        named = self.dataset.manifest.shards
        self.numbers = [number for number, shard in enumerate(named) if shard.split == source.split]
        self.rows = np.array([named[number].samples for number in self.numbers], np.int64)

    def shard(self, number: int, capacity: int) -> Rows:
        """Raises UserError when the index of the shard is missing."""
        # Widths and heights are lists, and a plan that splits nothing has no use for them.
        columns = _COLUMNS if self._source.oversize == "split" else _COLUMNS[:-2]
        table = self.dataset.shard_index(self.numbers[number], columns)
        tasks = pc.dictionary_encode(table["task"].combine_chunks())
        pictures = table["image_tokens"].to_numpy()
        lengths = table["text_tokens"].to_numpy().astype(np.int64) + pictures
        chosen = np.flatnonzero(self._chosen(table, tasks, pictures > 0))
        widest = {}
        if self._source.oversize == "split":
            spec = self.dataset.manifest.counting.image
            for index in np.flatnonzero((lengths[chosen] > capacity) & (pictures[chosen] > 0)).tolist():
                widest[index] = _widest(table, int(chosen[index]), spec)
        return Rows(
            numbers=chosen,
            lengths=lengths[chosen],
            offsets=table["offset"].to_numpy()[chosen],
            sizes=table["size"].to_numpy()[chosen],
            tasks=tasks.indices.to_numpy()[chosen],
            names=tasks.dictionary.to_pylist(),
            documents=pc.equal(table["kind"], "document").to_numpy()[chosen],
            widest=widest,
        )

    def _chosen(self, table: pa.Table, tasks: pa.DictionaryArray, pictured: np.ndarray) -> np.ndarray:
        chosen = np.ones(len(table), bool)
        if self._source.kind is not None:
            chosen &= pc.equal(table["kind"], self._source.kind).to_numpy()
        if self._source.task is not None:
            named = [fnmatch.fnmatchcase(name, self._source.task) for name in tasks.dictionary.to_pylist()]
            chosen &= np.array(named, bool)[tasks.indices.to_numpy()]
        if self._source.modality is not None:
            chosen &= pictured == (self._source.modality == "image")
        return chosen


def _widest(table: pa.Table, row: int, spec: ImageSpec) -> int:
    widths, heights = (table[name][row].as_py() for name in ("image_widths", "image_heights"))
    return max(plan_crops(width, height, spec).tokens for width, height in zip(widths, heights, strict=True))
