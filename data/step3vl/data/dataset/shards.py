"""The shards that a manifest lists: what is known of each, and a table of very many."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, Self, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import field_validator

from step3vl.data.config import Config

Split = Literal["train", "heldout"]

_ROWS = 1 << 12  # that are Python objects at a time
_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("path", "split")),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("samples", "size")),
        *(pa.field(name, pa.string(), nullable=False) for name in ("blake3", "index_blake3")),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("text_tokens", "image_tokens")),
    ]
)
_OUTSIDE = r"^/|(^|/)\.\.(/|$)"


class ShardInfo(Config):
    """One committed shard, whose `.idx` and Parquet index are in the same folder."""

    path: str
    """Path of the tar, relative to the dataset."""

    split: Split
    """The split that its samples belong to."""

    samples: int
    """Number of samples."""

    size: int
    """Bytes of the tar."""

    blake3: str
    """BLAKE3 of the tar, as `b3sum` prints it."""

    index_blake3: str
    """BLAKE3 of the Parquet index."""

    text_tokens: int
    """Text tokens of all samples."""

    image_tokens: int
    """Image tokens of all samples."""

    @field_validator("path")
    @classmethod
    def _is_inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/") or not path.endswith(".tar"):
            raise ValueError(f"{path!r} is not the path of a .tar file inside the dataset")
        return path

    @property
    def index_path(self) -> str:
        """Path of the Parquet index, relative to the dataset."""
        return self.path.removesuffix(".tar") + ".parquet"

    @property
    def offsets_path(self) -> str:
        """Path of the `.idx`, relative to the dataset."""
        return self.path + ".idx"


class ShardTable(Sequence[ShardInfo]):
    """The shards of a dataset as columns: a sequence of `ShardInfo`, each made when it is asked for.

    200,000 take 45 MB, a tenth of their objects, and open in a tenth of the time.

    Args:
        table: A column for each field of `ShardInfo`, in their order.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        self._columns = dict(zip(self.table.column_names, self.table.columns, strict=True))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.table,)

    @classmethod
    def of(cls, shards: Iterable[ShardInfo]) -> Self:
        """The table of shards, in their order."""
        if isinstance(shards, cls):
            return shards
        left, batches = iter(shards), []
        while rows := [shard.model_dump() for shard in islice(left, _ROWS)]:
            batches.append(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))
        return cls(pa.Table.from_batches(batches, _SCHEMA))

    def sorted(self) -> Self:
        """The same shards by path."""
        return type(self)(self.table.sort_by("path"))

    @classmethod
    def from_parquet(cls, data: bytes) -> Self:
        """Read what `to_parquet` gave.

        Raises:
            ValueError: It is no such table, or a path leads out of the dataset.
        """
        table = pq.read_table(pa.BufferReader(data), use_threads=False).select(_SCHEMA.names).cast(_SCHEMA)
        path = table["path"]
        wrong = pc.or_(pc.match_substring_regex(path, _OUTSIDE), pc.invert(pc.ends_with(path, ".tar")))
        if pc.any(wrong).as_py():
            raise ValueError(f"{path.filter(wrong)[0]} is not the path of a .tar file inside the dataset")
        if unknown := set(pc.unique(table["split"]).to_pylist()) - {"train", "heldout"}:
            raise ValueError(f"{unknown.pop()!r} is not a split")
        return cls(table)

    def to_parquet(self) -> bytes:
        """The table as a Parquet file, the same for the same shards."""
        sink = pa.BufferOutputStream()
        pq.write_table(self.table, sink, compression="zstd", write_page_checksum=True)
        return sink.getvalue().to_pybytes()

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, key: int) -> ShardInfo: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[ShardInfo, ...]: ...
    def __getitem__(self, key: int | slice) -> ShardInfo | tuple[ShardInfo, ...]:
        if isinstance(key, slice):
            numbers = pa.array(range(*key.indices(len(self))), pa.int64())
            return tuple(map(_info, self.table.take(numbers).to_pylist()))
        if not -len(self) <= key < len(self):
            raise IndexError(f"no shard {key} of {len(self)}")
        number = key % len(self)
        return _info({name: column[number].as_py() for name, column in self._columns.items()})

    def __iter__(self) -> Iterator[ShardInfo]:
        return map(_info, self.rows())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The fields of each shard, in a third of the time that the objects take."""
        for start in range(0, len(self), _ROWS):
            yield from self.table.slice(start, _ROWS).to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ShardTable):
            return bool(self.table.equals(other.table))
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(ShardInfo.__eq__, self, other))


def _info(row: dict[str, Any]) -> ShardInfo:
    """The shard of a row, whose values were checked when the table was read or made."""
    return ShardInfo.model_construct(**row)
