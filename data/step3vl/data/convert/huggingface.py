"""Parquet files of Hugging Face datasets with a column of images, `{"bytes": …, "path": …}` each.

Rows are read by the columns they have: `messages` or `conversations`; `texts` (turns of user and assistant); a
question with its answer or answers; or a text alone, which makes a document of the images and it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert.image_loader import ImageLoader
from step3vl.data.convert.openai import parts_of, turns_of
from step3vl.data.convert.openai import to_sample as from_openai_record
from step3vl.data.convert.records import (
    CONVERT_STEP,
    EXTRA,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    as_list,
    build_sample,
    check_all_shown,
    convert_records,
    extra_fields,
    field,
    image_references,
    text_truth,
)
from step3vl.data.convert.sharegpt import to_sample as from_sharegpt_record
from step3vl.data.convert.source_files import files_of
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.parts import ImagePart, Part, TextPart, text
from step3vl.data.sample.sample import Message, Sample
from step3vl.data.sample.truth import AnyTruth, TextTruth, Truth

_ROWS = 32  # read at once; images are inside
_QUESTION = ("question", "query", "problem", "prompt", "instruction")
_ANSWER = ("answers", "answer", "multiple_choice_answer", "solution", "response", "output")
_TEXT = ("text", "caption", "markdown", "latex", "html", "transcription")

_PARTS = pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))
_CALLS = pa.list_(
    pa.struct([("type", pa.string()), ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())]))])
)
_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        (
            "messages",
            pa.list_(
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
            ),
        ),
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


def read(source: Path, defaults: RecordDefaults) -> Iterator[Sample | DeadLetter]:
    """Read a file or folder. Returns samples and dead letters in the order of the rows."""
    return convert_records(_rows(source), to_sample, defaults, defaults.folder(source))


def _rows(source: Path) -> Iterator[SourceRecord | DeadLetter]:
    for path in files_of(source, ".parquet"):
        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        yield SourceRecord(f"{path.name}#{number}", row)
        except (pa.ArrowException, OSError) as error:
            reason = f"the file is broken after {number} rows, so the rest is lost: {error}"[:1000]
            where = f"{path.name}#{number + 1}"
            yield DeadLetter(step=CONVERT_STEP, error="ArrowError", reason=reason, source=where)


def to_sample(record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader) -> Sample:
    """Convert a row. Raises ValueError naming its columns when they are unknown."""
    row = record.value
    if field(row, "messages") is not None:
        return from_openai_record(record, defaults, loader, format_name="huggingface")
    if field(row, "conversations") is not None:
        return from_sharegpt_record(record, defaults, loader, format_name="huggingface")
    references = image_references(field(row, "images", "image"))
    content: list[Part] | None = None
    messages: list[Message] | None = None
    truth = None
    question, answers = field(row, *_QUESTION), field(row, *_ANSWER)
    if field(row, "content") is not None:
        content = list(parts_of(row["content"], references, loader, marked=True))
        check_all_shown(references, loader)
    elif field(row, "texts") is not None:
        messages = _dialogue(as_list(row["texts"], "texts"), [loader.show(reference) for reference in references])
    elif isinstance(question, str) and answers is not None:
        answer, truth = _answer(answers)
        asked: list[Part] = [*(loader.show(reference) for reference in references), text(question)]
        messages = [Message(role="user", content=tuple(asked)), Message(role="assistant", content=(text(answer),))]
    elif isinstance(value := field(row, *_TEXT), str):
        content = [*(loader.show(reference) for reference in references), text(value)]
    else:
        raise ValueError(f"its columns {', '.join(row)} are not those of a known layout")
    return build_sample(
        row, defaults, record.where, loader, format_name="huggingface", messages=messages, content=content, truth=truth
    )


def _dialogue(turns: list[Any], images: list[ImagePart]) -> list[Message]:
    messages = []
    for number, turn in enumerate(turns):
        question, answer = field(turn, "user"), field(turn, "assistant")
        if not isinstance(question, str) or not isinstance(answer, str):
            raise ValueError(f"texts.{number} has no text of user and assistant")
        content: list[Part] = [*(images if number == 0 else []), text(question)]
        messages += [
            Message(role="user", content=tuple(content)),
            Message(role="assistant", content=(text(answer),)),
        ]
    return messages


def _answer(answers: Any) -> tuple[str, Truth | None]:
    """The first of several answers, and a truth that accepts each of them."""
    texts = [answer for answer in (answers if isinstance(answers, list) else [answers]) if isinstance(answer, str)]
    if not texts:
        raise ValueError("its answer is not a text")
    if len(texts) == 1:
        return texts[0], text_truth(texts[0])
    accepted = tuple(TextTruth(text=answer) for answer in dict.fromkeys(texts) if answer.strip())
    return texts[0], AnyTruth(truths=accepted) if accepted else None


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
        turns = turns_of(sample.messages, names)
        row["messages"] = [
            {**turn, "content": _parts(message.content)} for turn, message in zip(turns, sample.messages, strict=True)
        ]
    return row


def _parts(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image", "text": None}
        for part in parts
    ]


CODEC = RecordCodec(to_record, to_sample)
