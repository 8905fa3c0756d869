"""The JSON of StepFun's training framework (SteptronOss): `conversations` of role and content, and `images`.

A picture stands in the text as the markup of its tokens: `<im_start>`, its `<im_patch>`es, `<im_end>`. Crops are files
of their own (`[path, 1]`) with markup of their own; they are skipped, because here they follow from the whole picture.
What is written shows each picture whole, once, without crops.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step3vl.data.convert.openai import call_of, parts_of
from step3vl.data.convert.records import (
    EXTRA,
    PLACEHOLDER,
    About,
    Pictures,
    Record,
    all_shown,
    assemble,
    convert,
    extra,
    field,
    listed,
    need_turns,
    read_json,
    split_thought,
    text_truth,
)
from step3vl.data.crops import ImageSpec
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import Image, ImagePart, Message, Part, Sample

_CROP = re.compile(r"<patch_start>(?:<im_patch>)*<patch_end>(?:<patch_newline>)?")
_WHOLE = re.compile(r"<im_start>(?:<im_patch>)*<im_end>")
_MARKUP = "<im_start>" + "<im_patch>" * ImageSpec().image_tokens + "<im_end>"


def read(source: Path, about: About) -> Iterator[Sample | DeadLetter]:
    """Samples and dead letters, in the order of the records."""
    folder = about.folder(source)
    return convert(read_json(source), lambda record: to_sample(record, about, Pictures(folder)))


def to_sample(record: Record, about: About, pictures: Pictures) -> Sample:
    """Raises ValueError saying what is wrong with the record."""
    turns = listed(field(record.value, "conversations"), "conversations")
    shown = iter([path for path, crop in map(_file, listed(field(record.value, "images"), "images")) if not crop])
    messages = [_message(turn, shown, pictures) for turn in turns]
    all_shown(shown, pictures)
    first = turns[0] if turns else {}
    answers = [field(turn, "ground_truth") for turn in turns if field(turn, "ground_truth") is not None]
    return assemble(
        record.value,
        about,
        record.where,
        pictures,
        made_by="step",
        messages=messages,
        tools=listed(field(first, "tool_schemas", "tools"), "tool_schemas"),
        truth=text_truth(answers[-1]) if answers else None,
    )


def _file(entry: Any) -> tuple[str, bool]:
    """The path of a picture's file, and whether it is a crop."""
    if isinstance(entry, list) and entry:
        return entry[0], len(entry) > 1 and entry[1] == 1
    return entry, False


def _message(turn: Any, shown: Iterator[Any], pictures: Pictures) -> Message:
    content = field(turn, "content")
    if isinstance(content, str):
        content = [{"type": "text", "value": content}]
    parts: list[Part] = []
    for part in listed(content, "contents"):
        if field(part, "type") == "text" and isinstance(said := field(part, "value", "text"), str):
            if PLACEHOLDER in said:
                raise ValueError(f"a text holds {PLACEHOLDER}, which means nothing in this format")
            parts += parts_of(_WHOLE.sub(PLACEHOLDER, _CROP.sub("", said)), shown, pictures, marked=True)
        else:
            parts += parts_of([part], shown, pictures, marked=False)
    fields: dict[str, Any] = {
        "role": field(turn, "role"),
        "name": "observation" if field(turn, "name") == "observation" else None,
        "content": tuple(parts),
        "reasoning_content": field(turn, "reasoning_content"),
        "loss_weight": field(turn, "loss_mask"),
        "tool_calls": tuple(call_of(call) for call in listed(field(turn, "tool_calls"), "tool_calls")),
    }
    if fields["role"] != "assistant":
        fields["loss_weight"] = None  # masks of others say what is so anyway: they are never trained
    elif fields["reasoning_content"] is None and len(parts) == 1 and not isinstance(parts[0], ImagePart):
        thought, said = split_thought(parts[0].text)
        if thought is not None:
            fields |= {"reasoning_content": thought, "content": parts_of(said, shown, pictures, marked=False)}
    return Message.model_validate(fields)


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A record whose pictures are files of these names. Raises ValueError for what it cannot hold."""
    turns: list[dict[str, Any]] = [_turn(message) for message in need_turns(sample)]
    if sample.tools:
        turns[0]["tool_schemas"] = list(sample.tools)
    return {"conversations": turns, "images": [[name, 0] for name in names] or None, EXTRA: extra(sample)}


def _turn(message: Message) -> dict[str, Any]:
    said = "".join(_MARKUP if isinstance(part, ImagePart) else part.text for part in message.content)
    turn: dict[str, Any] = {"role": message.role, "content": said}
    if message.name is not None:
        turn["name"] = message.name
    if message.reasoning_content is not None:
        turn["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        turn["tool_calls"] = [{"type": "function", "function": call.model_dump()} for call in message.tool_calls]
    if message.loss_weight is not None:
        turn["loss_mask"] = message.loss_weight
    return turn


def read_back(record: Mapping[str, Any], known: Mapping[str, Image]) -> Sample:
    return to_sample(Record("", record), About(), Pictures(None, known))
