"""The index rows that a mixture source selects, one shard at a time: all that a plan reads."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.dataset.shards import ShardTable
from step3vl.data.plan.mixture import MixtureSource
from step3vl.data.sample.crops import ImageSpec, plan_crops
from step3vl.data.storage.read_ahead import Prefetched
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

_COLUMNS = ["offset", "size", "text_tokens", "image_tokens", "kind", "task", "image_widths", "image_heights"]
_WHERE_LEAVES = 16  # one row of so many, where a filter is applied


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
        forgotten: Whether a request excludes each sample: it keeps its place in the plan and is not read. None where
            no request does.
    """

    numbers: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    tasks: np.ndarray
    names: list[str]
    documents: np.ndarray
    widest: dict[int, int]
    forgotten: np.ndarray | None = None


class FilterCount(NamedTuple):
    """Samples and tokens of a slice, and those of them that its `where` leaves out."""

    samples: int = 0
    tokens: int = 0
    left_out: int = 0
    left_out_tokens: int = 0


class PlanIndex(Protocol):
    """Where a plan finds rows.

    Attributes:
        rows: Rows of each shard, selected or not, int64 [shards].
        samples: About how many rows are selected, as far as it is known without reading an index.
    """

    rows: np.ndarray
    samples: int

    def shard(self, number: int, capacity: int) -> IndexRows:
        """The selected rows of a shard, for packs of `capacity` tokens."""
        ...

    def prefetch(self, numbers: list[int], capacity: int) -> None:
        """Begin to read shards that `shard` will be asked for."""
        ...


class DatasetIndex:
    """The rows of a committed dataset that a source selects; shards are numbered within the source's split.

    Args:
        source: The slice of the dataset.
        store: How to reach a remote dataset.
        dataset: The dataset, if it is open already.

    Raises:
        UserError: There is no dataset.
    """

    def __init__(
        self, source: MixtureSource, store: StoreConfig = DEFAULT_STORE, dataset: Dataset | None = None
    ) -> None:
        self.dataset = Dataset.open(source.dataset, store) if dataset is None else dataset
        self._source = source
        self._where = None if source.where is None else RowFilter(source.where)
        shards = ShardTable.of(self.dataset.manifest.shards).table
        in_split = np.flatnonzero(pc.equal(shards["split"], source.split))
        self.numbers: list[int] = in_split.tolist()
        self.rows = shards["samples"].to_numpy()[in_split]
        self.samples = self._expected_samples()
        self.shard_bytes = int(shards["size"].to_numpy()[in_split].sum())
        self._prefetched = Prefetched(self._shard)

    def _expected_samples(self) -> int:
        """What the totals of the manifest say; nothing is known of what `where` leaves, so it is little."""
        source = self._source
        count = sum(
            total.samples
            for total in self.dataset.manifest.tasks
            if total.split == source.split
            and (total.kind == source.kind if source.kind else total.kind != "preference")
            and (source.task is None or fnmatch.fnmatchcase(total.task, source.task))
            and (source.modality is None or (source.modality == "image") == (total.image_tokens > 0))
        )
        return count if source.where is None else count // _WHERE_LEAVES

    def prefetch(self, numbers: list[int], capacity: int) -> None:
        """Begin to read shards of a remote dataset; a local one is read when it is needed."""
        if not self.dataset.files.local:
            self._prefetched.expect([(number, capacity) for number in numbers])

    def shard(self, number: int, capacity: int) -> IndexRows:
        """The selected rows of a shard. Raises UserError when its index is missing or damaged."""
        return self._prefetched.get((number, capacity))

    @property
    def columns(self) -> list[str]:
        """The columns of an index that `shard` reads."""
        # Widths and heights are lists, and a plan that splits nothing has no use for them.
        return self._with_filters(_COLUMNS if self._source.oversize == "split" else _COLUMNS[:-2])

    def _shard(self, key: tuple[int, int]) -> IndexRows:
        number, capacity = key
        table = self.dataset.shard_index(self.numbers[number], self.columns)
        tasks = pc.dictionary_encode(table["task"].combine_chunks())
        image_tokens = table["image_tokens"].to_numpy()
        lengths = table["text_tokens"].to_numpy().astype(np.int64) + image_tokens
        selected = np.flatnonzero(self._selected(table, tasks, image_tokens > 0))
        exclusions = self.dataset.exclusions
        widest = {}
        if self._source.oversize == "split":
            spec = self.dataset.manifest.counting.image
            for position in np.flatnonzero((lengths[selected] > capacity) & (image_tokens[selected] > 0)).tolist():
                widest[position] = _largest_image_tokens(table, int(selected[position]), spec)
        return IndexRows(
            numbers=selected.astype(np.int32),
            lengths=lengths[selected].astype(np.int32),
            offsets=table["offset"].to_numpy()[selected],
            sizes=table["size"].to_numpy()[selected],
            tasks=tasks.indices.to_numpy()[selected],
            names=tasks.dictionary.to_pylist(),
            documents=pc.equal(table["kind"], "document").to_numpy()[selected],
            widest=widest,
            forgotten=~exclusions.keep(table.take(selected)) if exclusions else None,
        )

    def count_filtered(self) -> FilterCount:
        """Count what the source selects but for its `where`, and what that leaves out, in one pass over the index."""
        total = FilterCount()
        for number in range(len(self.numbers)):
            columns = self._with_filters(["text_tokens", "image_tokens", "kind", "task"])
            table = self.dataset.shard_index(self.numbers[number], columns)
            tasks = pc.dictionary_encode(table["task"].combine_chunks())
            image_tokens = table["image_tokens"].to_numpy()
            lengths = table["text_tokens"].to_numpy().astype(np.int64) + image_tokens
            rows = self._in_slice(table, tasks, image_tokens > 0) & self.dataset.exclusions.keep(table)
            left_out = rows & False if self._where is None else rows & ~self._where.keep(table)
            counts = rows.sum(), lengths[rows].sum(), left_out.sum(), lengths[left_out].sum()
            total = FilterCount(*(a + int(b) for a, b in zip(total, counts, strict=True)))
        return total

    def _with_filters(self, columns: list[str]) -> list[str]:
        """Columns, and those that decide whether a row is selected and read, each once."""
        where = [] if self._where is None else self._where.columns
        return list(dict.fromkeys([*columns, *where, *self.dataset.exclusions.columns]))

    def _selected(self, table: pa.Table, tasks: pa.DictionaryArray, with_images: np.ndarray) -> np.ndarray:
        """Which rows the source selects, bool [rows]."""
        selected = self._in_slice(table, tasks, with_images)
        if self._where is not None:
            selected &= self._where.keep(table)
        return selected

    def _in_slice(self, table: pa.Table, tasks: pa.DictionaryArray, with_images: np.ndarray) -> np.ndarray:
        """Which rows the source selects but for its `where`, bool [rows]."""
        kind = self._source.kind
        selected: np.ndarray = (
            pc.not_equal(table["kind"], "preference") if kind is None else pc.equal(table["kind"], kind)
        ).to_numpy()
        if self._source.task is not None:
            matching = [fnmatch.fnmatchcase(name, self._source.task) for name in tasks.dictionary.to_pylist()]
            selected &= np.array(matching, bool)[tasks.indices.to_numpy()]
        if self._source.modality is not None:
            selected &= with_images == (self._source.modality == "image")
        return selected


def index_opener(store: StoreConfig) -> Callable[[MixtureSource], DatasetIndex]:
    """A function that opens the index of a source, and each dataset once for all of its slices."""
    opened: dict[str, Dataset] = {}

    def open_index(source: MixtureSource) -> DatasetIndex:
        if source.dataset not in opened:
            opened[source.dataset] = Dataset.open(source.dataset, store)
        return DatasetIndex(source, store, opened[source.dataset])

    return open_index


def _largest_image_tokens(table: pa.Table, row: int, spec: ImageSpec) -> int:
    widths, heights = (table[name][row].as_py() for name in ("image_widths", "image_heights"))
    return max(plan_crops(width, height, spec).tokens for width, height in zip(widths, heights, strict=True))
