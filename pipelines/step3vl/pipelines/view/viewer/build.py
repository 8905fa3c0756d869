"""A committed build as the viewer reads it: its index by place and by id, its samples' JSON, its images by bytes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from step3vl.data.config import Config
from step3vl.data.dataset import MANIFEST, DamagedSample, Dataset
from step3vl.data.dataset.index import SCHEMA, open_index
from step3vl.data.dataset.sharding import may_hold
from step3vl.data.errors import UserError
from step3vl.data.inspect.sampling import Located, read_rows
from step3vl.data.storage.slices import ByteRange
from step3vl.pipelines.view.viewer.scan import Condition, Missing, Page, ParquetTable, Place, Row

_COLUMNS = [
    *("id", "domain", "task", "kind", "source", "licence", "offset", "size", "json_size"),
    *("image_offsets", "image_sizes", "image_widths", "image_heights", "text_tokens", "image_tokens"),
]
_ID = SCHEMA.get_field_index("id")


class Filter(Config):
    """Which samples are looked for; empty fields select nothing."""

    split: str = ""
    """`train` or `heldout`."""

    domain: str = ""
    """The domain."""

    task: str = ""
    """The task, or the beginning of its dotted name."""

    kind: str = ""
    """`document`, `conversation` or `preference`."""

    source: str = ""
    """A part of the source's URI."""

    score: str = ""
    """The name of a score that samples must have."""

    least: float | None = None
    """Its least value."""

    most: float | None = None
    """Its greatest value."""

    text: str = ""
    """A part of a text of the sample, in any case."""

    def condition(self) -> Condition | None:
        """The conditions that the index decides."""
        columns = [name for name in ("domain", "task", "kind", "source") if getattr(self, name)]
        if not columns:
            return None

        def mask(table: pa.Table) -> np.ndarray:
            selected = np.ones(len(table), bool)
            for name in columns:
                selected &= self._matches(name, table[name]).to_numpy()
            return selected

        return Condition(columns, mask)

    def _matches(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        value = getattr(self, name)
        if name == "source":
            return pc.match_substring(column, value)
        if name == "task":
            return pc.or_(pc.equal(column, value), pc.starts_with(column, f"{value}."))
        return pc.equal(column, value)

    @property
    def reads_samples(self) -> bool:
        """Whether the JSON of samples decides, too."""
        return bool(self.score or self.text)

    def accepts(self, sample: dict[str, Any]) -> bool:
        """Whether the JSON of a sample meets the conditions that the index does not decide."""
        if self.score:
            value = sample.get("scores", {}).get(self.score)
            if value is None or not _within(value, self.least, self.most):
                return False
        needle = self.text.casefold()
        return not needle or any(needle in text.casefold() for text in texts_of(sample))


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def texts_of(sample: dict[str, Any]) -> Iterator[str]:
    """The texts of a sample's JSON: its parts, reasoning, rejected answer and truth."""
    for message in [*sample.get("messages", ()), sample.get("rejected") or {}, {"content": sample.get("content", ())}]:
        yield message.get("reasoning_content") or ""
        for part in message.get("content", ()):
            yield part.get("text", "")
    yield from _strings(sample.get("truth"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


class Listed(NamedTuple):
    """A sample as it is listed: its index row, and its JSON, which is None where its bytes are damaged."""

    row: Row
    sample: dict[str, Any] | None


class Build:
    """A dataset to browse.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.shards = dataset.manifest.shards
        self.samples = sum(total.samples for total in dataset.manifest.tasks)
        self.tasks = sorted({total.task for total in dataset.manifest.tasks})
        self._index = ParquetTable(self._open, _COLUMNS)
        self.domains = self._first_domains()

    @contextmanager
    def _open(self, shard: int) -> Iterator[pq.ParquetFile]:
        if shard >= len(self.shards):
            raise Missing(f"{self.dataset.url} has no shard {shard}")
        info = self.shards[shard]
        try:
            with self.dataset.files.open(info.index_path, info.index_blake3) as file:
                yield open_index(file)
        except (FileNotFoundError, pa.ArrowException) as error:
            raise UserError(
                f"{self.dataset.url}/{info.index_path} is listed in {MANIFEST} but missing or damaged ({error}); "
                "restore it or build again"
            ) from None

    def _first_domains(self) -> list[str]:
        """The domains of the first rows. Shards are in the order of a hash, so these are the frequent ones of all."""
        with self._open(0) as file:
            return sorted(pc.unique(file.read_row_group(0, columns=["domain"])["domain"]).to_pylist())

    def search(
        self, query: Filter, start: Place | None, limit: int, seconds: float, *, backward: bool = False
    ) -> tuple[list[Listed], Page]:
        """The next samples of a filter with their JSON. See `ParquetTable.search`."""
        split = query.split
        parts = [number for number, shard in enumerate(self.shards) if split in ("", shard.split)]
        listed: dict[Place, Listed] = {}

        def refine(rows: list[Row]) -> list[Row]:
            matches = [item for item in self.read(rows) if item.sample is None or query.accepts(item.sample)]
            listed.update((item.row.place, item) for item in matches)
            return [item.row for item in matches]

        page = self._index.search(
            parts,
            start,
            limit,
            seconds,
            condition=query.condition(),
            refine=refine if query.reads_samples else None,
            backward=backward,
        )
        if not query.reads_samples:
            return self.read(page.rows), page
        return [listed[row.place] for row in page.rows], page

    def row(self, place: Place) -> Row:
        """The index row at a place. Raises Missing."""
        return self._index.row(place)

    def rows(self, places: Iterable[Place | None]) -> list[Row | None]:
        """The index rows at places, and None for None."""
        return [None if place is None else self.row(place) for place in places]

    def find(self, sample_id: str) -> Row | None:
        """The index row of a sample; None where the dataset has no such sample."""
        for number in range(len(self.shards)):
            if not may_hold(self.shards[number].path, sample_id):
                continue
            with self._open(number) as file:
                row = _row_of(file, sample_id)
            if row is not None:
                return self.row(Place(number, row))
        return None

    def read(self, rows: Sequence[Row]) -> list[Listed]:
        """The JSON of samples."""
        located = [
            Located(0, row.place.part, *(row.values[name] for name in ("offset", "size", "json_size"))) for row in rows
        ]
        try:
            return [Listed(*item) for item in zip(rows, read_rows(self.dataset, located), strict=True)]
        except DamagedSample:
            return [Listed(row, self._read_alone(place)) for row, place in zip(rows, located, strict=True)]

    def _read_alone(self, place: Located) -> dict[str, Any] | None:
        try:
            return next(read_rows(self.dataset, [place]))
        except DamagedSample:
            return None

    def image(self, shard: int, offset: int, size: int) -> bytes:
        """The encoded bytes of an image, as they are in a shard. Raises Missing where there are none."""
        if not (0 <= shard < len(self.shards) and 0 <= offset < offset + size <= self.shards[shard].size):
            raise Missing(f"{self.dataset.url} has no {size} bytes at byte {offset} of shard {shard}")
        info = self.shards[shard]
        return self.dataset.files.read(
            ByteRange(info.path, offset, offset + size, file_size=info.size, version=info.blake3)
        )


def _row_of(file: pq.ParquetFile, sample_id: str) -> int | None:
    """The number of a sample's row. Rows are sorted by id, so only the row group that may have it is read."""
    first = 0
    for group in range(file.num_row_groups):
        metadata = file.metadata.row_group(group)
        bounds = metadata.column(_ID).statistics
        if bounds is None or not bounds.has_min_max or bounds.min <= sample_id <= bounds.max:
            row = pc.index(file.read_row_group(group, columns=["id"])["id"], sample_id).as_py()
            if row >= 0:
                return first + row
        first += metadata.num_rows
    return None
