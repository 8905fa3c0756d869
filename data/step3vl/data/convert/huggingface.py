"""Files of Hugging Face datasets: Parquet with a column of images, `{"bytes": …, "path": …}` each, and JSON.

What the rows may be is `rows.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert.openai import turns_of
from step3vl.data.convert.records import CONVERT_STEP, EXTRA, RecordCodec, SourceRecord, extra_fields
from step3vl.data.convert.rows import to_sample
from step3vl.data.convert.source_files import JSON_SUFFIXES, files_of, read_json_file
from step3vl.data.dataset.ledger import DeadLetter
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


def records(source: Path) -> Iterator[SourceRecord | DeadLetter]:
    """The rows of a file or folder, in order. Raises ValueError when there is no file to read."""
    for path in files_of(source, ".parquet", *JSON_SUFFIXES):
        yield from _rows(path) if path.suffix == ".parquet" else read_json_file(path)


def _rows(path: Path) -> Iterator[SourceRecord | DeadLetter]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield SourceRecord(f"{path.name}#{number}", row)
    except (pa.ArrowException, OSError) as error:
        reason = f"the file is broken after {number} rows, so the rest is lost: {error}"[:1000]
        yield DeadLetter(step=CONVERT_STEP, error="ArrowError", reason=reason, source=f"{path.name}#{number + 1}")


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
