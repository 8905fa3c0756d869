"""LLaVA's JSON and ShareGPT's: turns with `from` and `value`, in whose text each `<image>` shows the next image.

LLaVA names its images under `image`, ShareGPT (as LLaMA-Factory reads it) under `images`. Reasoning is part of the
text, in `<think>` and `</think>`.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from step3vl.data.convert.image_loader import ImageLoader
from step3vl.data.convert.records import (
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
    flatten,
    image_references,
    interleave,
    join_reasoning,
    require_text,
    require_turns,
    split_reasoning,
)
from step3vl.data.convert.source_files import read_json
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.parts import text
from step3vl.data.sample.sample import Message, Sample, ToolCall

_ROLES: dict[str, str] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "function_call": "assistant", "observation": "tool", "tool": "tool", "function": "tool",
}  # fmt: skip
_NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def read(source: Path, defaults: RecordDefaults, format_name: str = "sharegpt") -> Iterator[Sample | DeadLetter]:
    """Read a file or folder. Returns samples and dead letters in the order of the records."""
    convert = partial(to_sample, format_name=format_name)
    return convert_records(read_json(source), convert, defaults, defaults.folder(source))


read_llava = partial(read, format_name="llava")


def to_sample(
    record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader, format_name: str = "sharegpt"
) -> Sample:
    """Convert a record. Raises ValueError saying what is wrong with it."""
    turns = field(record.value, "conversations", "messages")
    if not isinstance(turns, list):
        raise ValueError("it has no list of conversations")
    references = image_references(field(record.value, "image", "images"))
    messages = [_message(turn, references, loader) for turn in turns]
    if (system := field(record.value, "system")) and isinstance(system, str):
        messages.insert(0, Message(role="system", content=(text(system),)))
    check_all_shown(references, loader)
    tools = as_list(field(record.value, "tools"), "tools")
    return build_sample(
        record.value, defaults, record.where, loader, format_name=format_name, messages=messages, tools=tools
    )


def _message(turn: Any, references: Iterator[Any], loader: ImageLoader) -> Message:
    speaker, value = field(turn, "from", "role"), field(turn, "value", "content")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise ValueError(f"a turn is from {speaker!r}; known are {', '.join(_ROLES)}")
    if not isinstance(value, str):
        raise ValueError(f"a turn of {speaker} has no text as its value")
    reasoning, answer = split_reasoning(value) if role == "assistant" else (None, value)
    fields: dict[str, Any] = {"role": role, "reasoning_content": reasoning, "loss_weight": field(turn, "weight")}
    if speaker == "function_call":
        return Message(content=(), tool_calls=_calls(answer), **fields)
    return Message(content=tuple(interleave(answer, references, loader)), **fields)


def _calls(value: str) -> tuple[ToolCall, ...]:
    calls = json.loads(value)
    return tuple(ToolCall.model_validate(call) for call in (calls if isinstance(calls, list) else [calls]))


def to_record(sample: Sample, names: list[str], key: str) -> dict[str, Any]:
    """A record with the names of its images under `key`. Raises ValueError for a sample that it cannot hold."""
    record: dict[str, Any] = {"id": sample.id}
    if names:
        record[key] = names[0] if key == "image" and len(names) == 1 else names
    record["conversations"] = [_turn(message) for message in require_turns(sample)]
    if sample.tools:
        record["tools"] = json.dumps(sample.tools, ensure_ascii=False)
    return {**record, EXTRA: extra_fields(sample)}


def _turn(message: Message) -> dict[str, Any]:
    speaker, value = _NAMES[message.role], flatten(message.content)
    if message.tool_calls:
        if message.content:
            raise ValueError("a turn has both content and tool calls; this format needs a turn for each")
        calls = [call.model_dump() for call in message.tool_calls]
        speaker, value = "function_call", json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    elif message.role == "system":
        value = require_text(message.content)
    turn: dict[str, Any] = {"from": speaker, "value": join_reasoning(message.reasoning_content, value)}
    if message.loss_weight is not None:
        turn["weight"] = message.loss_weight
    return turn


LLAVA = RecordCodec(partial(to_record, key="image"), to_sample)
SHAREGPT = RecordCodec(partial(to_record, key="images"), to_sample)
