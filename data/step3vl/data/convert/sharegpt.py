"""LLaVA's JSON and ShareGPT's: turns with `from` and `value`, in whose text each `<image>` shows the next picture.

LLaVA names its pictures under `image`, ShareGPT (as LLaMA-Factory reads it) under `images`. Thoughts stand in the
text, in `<think>` and `</think>`.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
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
    flatten,
    interleave,
    join_thought,
    listed,
    need_turns,
    plain_text,
    read_json,
    references,
    split_thought,
)
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import Image, Message, Sample, ToolCall, text

_ROLES: dict[str, str] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "function_call": "assistant", "observation": "tool", "tool": "tool", "function": "tool",
}  # fmt: skip
_NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def read(source: Path, about: About, made_by: str = "sharegpt") -> Iterator[Sample | DeadLetter]:
    """Samples and dead letters, in the order of the records."""
    folder = about.folder(source)
    return convert(read_json(source), lambda record: to_sample(record, about, Pictures(folder), made_by))


read_llava = partial(read, made_by="llava")


def to_sample(record: Record, about: About, pictures: Pictures, made_by: str = "sharegpt") -> Sample:
    """Raises ValueError saying what is wrong with the record."""
    turns = field(record.value, "conversations", "messages")
    if not isinstance(turns, list):
        raise ValueError("it has no list of conversations")
    shown = references(field(record.value, "image", "images"))
    messages = [_message(turn, shown, pictures) for turn in turns]
    if (system := field(record.value, "system")) and isinstance(system, str):
        messages.insert(0, Message(role="system", content=(text(system),)))
    all_shown(shown, pictures)
    tools = listed(field(record.value, "tools"), "tools")
    return assemble(record.value, about, record.where, pictures, made_by=made_by, messages=messages, tools=tools)


def _message(turn: Any, shown: Iterator[Any], pictures: Pictures) -> Message:
    speaker, value = field(turn, "from", "role"), field(turn, "value", "content")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise ValueError(f"a turn is from {speaker!r}; known are {', '.join(_ROLES)}")
    if not isinstance(value, str):
        raise ValueError(f"a turn of {speaker} has no text as its value")
    thought, said = split_thought(value) if role == "assistant" else (None, value)
    fields: dict[str, Any] = {"role": role, "reasoning_content": thought, "loss_weight": field(turn, "weight")}
    if speaker == "function_call":
        return Message(content=(), tool_calls=_calls(said), **fields)
    return Message(content=tuple(interleave(said, shown, pictures)), **fields)


def _calls(value: str) -> tuple[ToolCall, ...]:
    calls = json.loads(value)
    return tuple(ToolCall.model_validate(call) for call in (calls if isinstance(calls, list) else [calls]))


def to_record(sample: Sample, names: list[str], key: str) -> dict[str, Any]:
    """A ShareGPT record; `key` is where the names of its pictures go. Raises ValueError for what it cannot hold."""
    record: dict[str, Any] = {"id": sample.id}
    if names:
        record[key] = names[0] if key == "image" and len(names) == 1 else names
    record["conversations"] = [_turn(message) for message in need_turns(sample)]
    if sample.tools:
        record["tools"] = json.dumps(sample.tools, ensure_ascii=False)
    return {**record, EXTRA: extra(sample)}


def _turn(message: Message) -> dict[str, Any]:
    speaker, said = _NAMES[message.role], flatten(message.content)
    if message.tool_calls:
        if message.content:
            raise ValueError("a turn both says and calls something; this format has a turn for either")
        calls = [call.model_dump() for call in message.tool_calls]
        speaker, said = "function_call", json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    elif message.role == "system":
        said = plain_text(message.content)
    turn: dict[str, Any] = {"from": speaker, "value": join_thought(message.reasoning_content, said)}
    if message.loss_weight is not None:
        turn["weight"] = message.loss_weight
    return turn


def read_back(record: Mapping[str, Any], known: Mapping[str, Image]) -> Sample:
    return to_sample(Record("", record), About(), Pictures(None, known))
