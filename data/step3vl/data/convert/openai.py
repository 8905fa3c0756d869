"""Messages as OpenAI's API has them, one conversation a line: `messages`, `tools`, pictures as `image_url`.

Pictures are data URLs or paths. `reasoning_content` and `weight` stand beside the content; texts may also show the
record's `images` with `<image>`, as many trainers write it.
"""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step3vl.data.convert.records import (
    EXTRA,
    About,
    Pictures,
    Record,
    all_shown,
    assemble,
    convert,
    extra,
    field,
    interleave,
    listed,
    need_turns,
    read_json,
    references,
    split_thought,
)
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import Image, ImagePart, Message, Part, Sample, ToolCall, text

_ROLES = {"developer": "system", "function": "tool", "human": "user", "gpt": "assistant"}


def read(source: Path, about: About) -> Iterator[Sample | DeadLetter]:
    """Samples and dead letters, in the order of the records."""
    folder = about.folder(source)
    return convert(read_json(source), lambda record: to_sample(record, about, Pictures(folder)))


def to_sample(record: Record, about: About, pictures: Pictures, made_by: str = "openai") -> Sample:
    """Raises ValueError saying what is wrong with the record."""
    turns = field(record.value, "messages")
    if not isinstance(turns, list):
        raise ValueError("it has no list of messages")
    images = field(record.value, "images", "image")
    shown = references(images)
    messages = [_message(turn, shown, pictures, marked=images is not None) for turn in turns]
    all_shown(shown, pictures)
    tools = listed(field(record.value, "tools"), "tools")
    return assemble(record.value, about, record.where, pictures, made_by=made_by, messages=messages, tools=tools)


def _message(turn: Any, shown: Iterator[Any], pictures: Pictures, marked: bool) -> Message:
    role, content = field(turn, "role"), field(turn, "content")
    if not isinstance(role, str):
        raise ValueError("a message has no role")
    role = _ROLES.get(role, role)
    thought = field(turn, "reasoning_content", "reasoning")
    if isinstance(content, str) and role == "assistant" and thought is None:
        thought, content = split_thought(content)
    fields: dict[str, Any] = {
        "role": role,
        "content": parts_of(content, shown, pictures, marked),
        "reasoning_content": thought,
        "tool_calls": tuple(call_of(call) for call in listed(field(turn, "tool_calls"), "tool_calls")),
        "loss_weight": field(turn, "weight", "loss_weight"),
    }
    if role == "system" and field(turn, "name") == "observation":
        fields["name"] = "observation"
    return Message.model_validate(fields)


def parts_of(content: Any, shown: Iterator[Any], pictures: Pictures, marked: bool) -> tuple[Part, ...]:
    """The parts of a content: nothing, a text, or a list of texts and pictures.

    `marked` texts show pictures with `<image>`. Raises ValueError for anything else.
    """
    if content is None:
        return ()
    if isinstance(content, str):
        return tuple(interleave(content, shown, pictures)) if marked else (text(content),) if content else ()
    if not isinstance(content, list):
        raise ValueError(f"a content is {type(content).__name__}, neither text nor a list of parts")
    parts: list[Part] = []
    for part in content:
        kind = field(part, "type")
        if kind == "text":
            said = field(part, "text", "value")
            if not isinstance(said, str):
                raise ValueError("a text part has no text")
            parts.append(text(said))
        elif kind in ("image_url", "image"):
            parts.append(_picture(part, shown, pictures))
        else:
            raise ValueError(f"a part is of type {kind!r}; known are text, image and image_url")
    return tuple(parts)


def _picture(part: dict[str, Any], shown: Iterator[Any], pictures: Pictures) -> ImagePart:
    """The picture that a part names itself, or else the next of the record's."""
    reference = field(part, "image_url", "image", "url", "path", "value")
    if isinstance(reference, dict) and "url" in reference:
        reference = reference["url"]
    if reference is None:
        reference = next(shown, None)
    if reference is None:
        raise ValueError(f"it shows more pictures than it has ({len(pictures.images)})")
    return pictures.show(reference)


def call_of(call: Any) -> ToolCall:
    function = field(call, "function") or call
    return ToolCall.model_validate({"name": field(function, "name"), "arguments": field(function, "arguments") or {}})


def data_url(picture: Image, data: bytes) -> str:
    return f"data:image/{picture.format};base64,{base64.b64encode(data).decode()}"


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A record whose pictures are named so. Raises ValueError for what it cannot hold."""
    record: dict[str, Any] = {"messages": _turns(need_turns(sample), names)}
    if sample.tools:
        record["tools"] = list(sample.tools)
    return {**record, EXTRA: extra(sample)}


def _turns(messages: tuple[Message, ...], names: list[str]) -> list[dict[str, Any]]:
    turns, open_calls, made = [], [], 0
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": _content(message.content, names) or None}
        if message.name is not None:
            turn["name"] = message.name
        if message.reasoning_content is not None:
            turn["reasoning_content"] = message.reasoning_content
        if message.tool_calls:
            open_calls = [f"call_{made + number}" for number in range(len(message.tool_calls))]
            made += len(open_calls)
            turn["tool_calls"] = [
                {"id": name, "type": "function", "function": call.model_dump(mode="json")}
                for name, call in zip(open_calls, message.tool_calls, strict=True)
            ]
        if message.role == "tool" and open_calls:
            turn["tool_call_id"] = open_calls.pop(0)
        if message.loss_weight is not None:
            turn["weight"] = message.loss_weight
        turns.append(turn)
    return turns


def _content(parts: tuple[Part, ...], names: list[str]) -> list[dict[str, Any]]:
    return [
        {"type": "image_url", "image_url": {"url": names[part.image]}}
        if isinstance(part, ImagePart)
        else {"type": "text", "text": part.text}
        for part in parts
    ]


def read_back(record: Mapping[str, Any], known: Mapping[str, Image]) -> Sample:
    return to_sample(Record("", record), About(), Pictures(None, known))
