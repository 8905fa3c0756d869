"""Parquet files of Hugging Face datasets with a column of pictures, `{"bytes": …, "path": …}` each.

Rows are read by the columns they have: `messages` or `conversations`; `texts` (turns of user and assistant); a
question with its answer or answers; or a text alone, which makes a document of the pictures and it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert import openai, sharegpt
from step3vl.data.convert.records import (
    EXTRA,
    STEP,
    About,
    Pictures,
    Record,
    all_shown,
    assemble,
    convert,
    extra,
    field,
    files_of,
    listed,
    references,
    text_truth,
)
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import Image, ImagePart, Message, Part, Sample, TextPart, text
from step3vl.data.truth import AnyTruth, TextTruth, Truth

_ROWS = 32  # read at once; pictures are inside
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
        return {one.name: _feature(one.type) for one in kind}
    return {"dtype": "float64" if pa.types.is_floating(kind) else str(kind), "_type": "Value"}


# With this description `load_dataset("parquet", …)` decodes the pictures.
_FEATURES = {one.name: _feature(one.type) for one in _COLUMNS} | {
    "images": {"feature": {"_type": "Image"}, "_type": "List"}
}
SCHEMA = _COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": _FEATURES}})})


def read(source: Path, about: About) -> Iterator[Sample | DeadLetter]:
    """Samples and dead letters, in the order of the rows. Pictures that a row only names lie in `about.pictures`."""
    folder = about.folder(source)
    return convert(_rows(source), lambda record: to_sample(record, about, Pictures(folder)))


def _rows(source: Path) -> Iterator[Record | DeadLetter]:
    for path in files_of(source, ".parquet"):
        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        yield Record(f"{path.name}#{number}", row)
        except (pa.ArrowException, OSError) as error:
            reason = f"the file is broken after {number} rows, so the rest is lost: {error}"
            yield DeadLetter(step=STEP, error="ArrowError", reason=reason[:1000], source=f"{path.name}#{number + 1}")


def to_sample(record: Record, about: About, pictures: Pictures) -> Sample:
    """Raises ValueError naming the columns when they are none that a sample can be made of."""
    row = record.value
    if field(row, "messages") is not None:
        return openai.to_sample(record, about, pictures, made_by="huggingface")
    if field(row, "conversations") is not None:
        return sharegpt.to_sample(record, about, pictures, made_by="huggingface")
    shown = references(field(row, "images", "image"))
    content: list[Part] | None = None
    messages: list[Message] | None = None
    truth = None
    question, answers = field(row, *_QUESTION), field(row, *_ANSWER)
    if field(row, "content") is not None:
        content = list(openai.parts_of(row["content"], shown, pictures, marked=True))
        all_shown(shown, pictures)
    elif field(row, "texts") is not None:
        messages = _dialogue(listed(row["texts"], "texts"), [pictures.show(one) for one in shown])
    elif isinstance(question, str) and answers is not None:
        said, truth = _answer(answers)
        asked: list[Part] = [*(pictures.show(one) for one in shown), text(question)]
        messages = [Message(role="user", content=tuple(asked)), Message(role="assistant", content=(text(said),))]
    elif isinstance(said := field(row, *_TEXT), str):
        content = [*(pictures.show(one) for one in shown), text(said)]
    else:
        raise ValueError(f"its columns {', '.join(row)} are none that a sample is made of")
    return assemble(
        row, about, record.where, pictures, made_by="huggingface", messages=messages, content=content, truth=truth
    )


def _dialogue(turns: list[Any], shown: list[ImagePart]) -> list[Message]:
    messages = []
    for number, turn in enumerate(turns):
        asked, said = field(turn, "user"), field(turn, "assistant")
        if not isinstance(asked, str) or not isinstance(said, str):
            raise ValueError(f"texts.{number} has no text of user and assistant")
        content: list[Part] = [*(shown if number == 0 else []), text(asked)]
        messages += [Message(role="user", content=tuple(content)), Message(role="assistant", content=(text(said),))]
    return messages


def _answer(answers: Any) -> tuple[str, Truth | None]:
    """The first of several answers, and all of them as what is accepted."""
    said = [answer for answer in (answers if isinstance(answers, list) else [answers]) if isinstance(answer, str)]
    if not said:
        raise ValueError("its answer is no text")
    if len(said) == 1:
        return said[0], text_truth(said[0])
    accepted = tuple(TextTruth(text=one) for one in dict.fromkeys(said) if one.strip())
    return said[0], AnyTruth(truths=accepted) if accepted else None


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A row without the bytes of its pictures, which are named so."""
    row: dict[str, Any] = {
        "id": sample.id,
        "images": [{"bytes": None, "path": name} for name in names],
        "tools": json.dumps(sample.tools, ensure_ascii=False) if sample.tools else None,
        EXTRA: json.dumps(extra(sample), ensure_ascii=False),
    }
    if sample.messages is None:
        row["content"] = _parts(sample.content or ())
    else:
        turns = openai.to_record(sample, names)["messages"]
        row["messages"] = [
            {**turn, "content": _parts(message.content)} for turn, message in zip(turns, sample.messages, strict=True)
        ]
    return row


def _parts(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image", "text": None}
        for part in parts
    ]


def read_back(record: Mapping[str, Any], known: Mapping[str, Image]) -> Sample:
    return to_sample(Record("", record), About(), Pictures(None, known))
