"""The Parquet index of a shard: one row for each sample, enough to plan and to read without opening the tar."""

from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.sample.canonical import row_json
from step3vl.data.sample.parts import Image
from step3vl.data.sample.sample import Sample, TokenCount
from step3vl.data.storage.tar import TarEntry

INDEX_VERSION = 1
"""Version of the columns below; `dataset.json` records it."""

_ROW_GROUP = 1 << 16  # rows that a reader in batches holds at once
_BATCH = 1 << 12  # rows that the writer holds as Python objects
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # also the key in the tar
        pa.field("domain", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # document, conversation or preference
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),  # of the sample's first header
        pa.field("size", pa.int64(), nullable=False),  # headers and padding included
        pa.field("xxh3", pa.uint64(), nullable=False),  # XXH3 (64 bits) of those bytes, checked on every read
        pa.field("json_size", pa.int64(), nullable=False),
        pa.field("image_offsets", pa.list_(pa.int64()), nullable=False),  # of the encoded bytes
        pa.field("image_sizes", pa.list_(pa.int64()), nullable=False),
        pa.field("image_widths", pa.list_(pa.int32()), nullable=False),
        pa.field("image_heights", pa.list_(pa.int32()), nullable=False),
        pa.field("text_tokens", pa.int32(), nullable=False),
        pa.field("image_tokens", pa.int32(), nullable=False),
    ]
)


class ShardRow(NamedTuple):
    """A sample as its shard holds it: its JSON member, its images, and what the index says of it."""

    id: str
    domain: str
    task: str
    kind: str
    source: str
    licence: str
    text_tokens: int
    image_tokens: int
    images: tuple[Image, ...]
    json: bytes

    @classmethod
    def of(cls, sample: Sample, *, tokens: TokenCount | None = None, json: bytes | None = None) -> Self:
        """The row of a sample.

        Args:
            sample: The sample.
            tokens: Its tokens; by default those that it has.
            json: Its JSON member, where that is known.

        Raises:
            ValueError: The tokens were not counted.
        """
        tokens = tokens or sample.tokens
        if tokens is None:
            raise ValueError(f"sample {sample.id} ({sample.task}) reached the shard writer without a token count")
        return cls(
            sample.id,
            sample.domain,
            sample.task,
            sample.kind,
            sample.source.uri,
            sample.source.licence,
            tokens.text,
            tokens.image,
            sample.images,
            row_json(sample, tokens).encode() if json is None else json,
        )


def index_row(row: ShardRow, entry: TarEntry) -> dict[str, Any]:
    """The index row of a sample.

    Args:
        row: The sample.
        entry: Where it is in the shard.
    """
    return {
        "id": row.id,
        "domain": row.domain,
        "task": row.task,
        "kind": row.kind,
        "source": row.source,
        "licence": row.licence,
        "offset": entry.offset,
        "size": entry.size,
        "xxh3": entry.xxh3,
        "json_size": entry.json_size,
        "image_offsets": entry.image_offsets,
        "image_sizes": entry.image_sizes,
        "image_widths": [image.width for image in row.images],
        "image_heights": [image.height for image in row.images],
        "text_tokens": row.text_tokens,
        "image_tokens": row.image_tokens,
    }


class IndexWriter:
    """Builds an index in memory, compressed; page checksums reveal damage in whichever columns are read."""

    def __init__(self) -> None:
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, SCHEMA, compression="zstd", write_page_checksum=True)
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._groups = 0

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._pack()
            if len(self._batches) * _BATCH == _ROW_GROUP:
                self._write_group()

    def _pack(self) -> None:
        """Keep rows as Arrow data, in a tenth of the memory."""
        self._batches.append(pa.RecordBatch.from_pylist(self._rows, schema=SCHEMA))
        self._rows = []

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._batches, SCHEMA).combine_chunks()
        self._writer.write_table(table, row_group_size=_ROW_GROUP)
        self._batches = []
        self._groups += 1

    def finish(self) -> bytes:
        """The Parquet file."""
        if self._rows:
            self._pack()
        if self._batches or not self._groups:
            self._write_group()
        self._writer.close()
        return self._sink.getvalue().to_pybytes()


def open_index(source: pa.NativeFile) -> pq.ParquetFile:
    """Open an index, whose page checksums are verified on reading."""
    return pq.ParquetFile(source, page_checksum_verification=True)
