"""Files of Hugging Face datasets: Parquet with a column of images, `{"bytes": …, "path": …}` each, and JSON.

What the rows may be is `rows.py`.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert.chunks import CHUNK, Chunk, ReadRecord, RecordBatch
from step3vl.data.convert.json_files import read_json
from step3vl.data.convert.openai import turns_of
from step3vl.data.convert.records import CONVERT_STEP, EXTRA, RecordCodec, SourceRecord, extra_fields
from step3vl.data.convert.rows import to_sample
from step3vl.data.convert.source_files import SourceFile
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import is_infrastructure_error
from step3vl.data.sample.parts import Part, TextPart
from step3vl.data.sample.sample import Message, Sample

_ROWS = 32  # read at once; images are inside

_PARTS = pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))
_CALLS = pa.list_(
    pa.struct([("type", pa.string()), ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())]))])
)
_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", _PARTS),
            ("name", pa.string()),
            ("reasoning_content", pa.string()),
            ("tool_calls", _CALLS),
            ("weight", pa.float64()),
        ]
    )
)
_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("messages", _MESSAGES),
        ("rejected", _MESSAGES),
        ("content", _PARTS),
        ("tools", pa.string()),
        (EXTRA, pa.string()),
    ]
)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A type as the library `datasets` (4 and later) describes it."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {column.name: _feature(column.type) for column in kind}
    return {"dtype": "float64" if pa.types.is_floating(kind) else str(kind), "_type": "Value"}


# With this description `load_dataset("parquet", …)` decodes the images.
_FEATURES = {column.name: _feature(column.type) for column in _COLUMNS} | {
    "images": {"feature": {"_type": "Image"}, "_type": "List"}
}
SCHEMA = _COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": _FEATURES}})})


class ParquetRows(NamedTuple):
    """Row groups of a Parquet file, of which the first row has this number."""

    file: SourceFile
    groups: tuple[int, ...]
    number: int

    def records(self) -> Iterator[ReadRecord]:
        number = self.number
        try:
            with pq.ParquetFile(self.file.open_ranges()) as file:
                for batch in file.iter_batches(batch_size=_ROWS, row_groups=list(self.groups)):
                    for row in batch.to_pylist():
                        yield SourceRecord(f"{self.file.name}#{number}", row)
                        number += 1
        except (pa.ArrowException, OSError) as error:
            if is_infrastructure_error(error):
                raise
            reason = f"row groups {self.groups} are broken from this row on, so their rest is lost: {error}"[:1000]
            yield DeadLetter(step=CONVERT_STEP, error="ArrowError", reason=reason, source=f"{self.file.name}#{number}")


def read_file(file: SourceFile) -> Iterator[Chunk]:
    """The rows of a file of Parquet or JSON, in order."""
    return _row_groups(file) if file.name.endswith(".parquet") else read_json(file)


def _row_groups(file: SourceFile) -> Iterator[Chunk]:
    """Chunks of whole row groups, which are decompressed as a whole."""
    try:
        with pq.ParquetFile(file.open_ranges()) as opened:
            metadata = opened.metadata
    except (pa.ArrowException, OSError) as error:
        if is_infrastructure_error(error):
            raise
        reason = f"the file is broken after 0 rows, so the rest is lost: {error}"[:1000]
        yield RecordBatch([DeadLetter(step=CONVERT_STEP, error="ArrowError", reason=reason, source=f"{file.name}#1")])
        return
    groups: list[int] = []
    first, rows, size = 1, 0, 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        groups.append(number)
        rows, size = rows + group.num_rows, size + group.total_byte_size
        if size >= CHUNK or number + 1 == metadata.num_row_groups:
            yield ParquetRows(file, tuple(groups), first)
            first, groups, rows, size = first + rows, [], 0, 0


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A row whose images have these names and no bytes. Raises ValueError for a sample that it cannot hold."""
    row: dict[str, Any] = {
        "id": sample.id,
        "images": [{"bytes": None, "path": name} for name in names],
        "tools": json.dumps(sample.tools, ensure_ascii=False) if sample.tools else None,
        EXTRA: json.dumps(extra_fields(sample), ensure_ascii=False),
    }
    if sample.messages is None:
        row["content"] = _parts(sample.content or ())
    else:
        row["messages"] = _turns(sample.messages, names)
    if sample.rejected is not None:
        row["rejected"] = _turns((sample.rejected,), names)
    return row


def _turns(messages: tuple[Message, ...], names: list[str]) -> list[dict[str, Any]]:
    turns = turns_of(messages, names)
    return [{**turn, "content": _parts(message.content)} for turn, message in zip(turns, messages, strict=True)]


def _parts(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image", "text": None}
        for part in parts
    ]


CODEC = RecordCodec(to_record, to_sample)
