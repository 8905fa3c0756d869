"""LLaVA's JSON and ShareGPT's: turns with `from` and `value`, in whose text each `<image>` shows the next image.

LLaVA names its images under `image`, ShareGPT (as LLaMA-Factory reads it) under `images`. Reasoning is part of the
text, in `<think>` and `</think>`. With `chosen` and `rejected` turns a record is a preference.
"""

import json
from functools import partial
from typing import Any

from step3vl.data.convert.fields import Fields
from step3vl.data.convert.image_loader import ImageLoader, RecordImages
from step3vl.data.convert.records import (
    EXTRA,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    build_sample,
    extra_fields,
    flatten,
    require_text,
    require_turns,
)
from step3vl.data.convert.turns import CALL_ROLES, calls_in, join_reasoning, role_of, split_reasoning, weight_of
from step3vl.data.sample.parts import text
from step3vl.data.sample.sample import Message, Sample

_NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def to_sample(
    record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader, format_name: str = "sharegpt"
) -> Sample:
    """Convert a record. Raises ValueError saying what is wrong with it."""
    fields = Fields.of(record.value)
    if not ("conversations" in fields or "conversation" in fields or "messages" in fields):
        raise ValueError("it has no list of conversations")
    images = RecordImages.of(fields, loader)
    messages = [_message(turn, images) for turn in fields.children("conversations", "conversation", "messages")]
    if system := fields.text("system", "system_prompt"):
        messages.insert(0, Message(role="system", content=(text(system),)))
    rejected = None
    if "chosen" in fields and "rejected" in fields:
        chosen, rejected = (_message(fields.child(fields.get(name), name), images) for name in ("chosen", "rejected"))
        messages.append(chosen)
    images.check_all_shown()
    tools = fields.get_list("tools")
    return build_sample(
        fields, defaults, record.where, loader,
        format_name=format_name, messages=messages, rejected=rejected, tools=tools,
    )  # fmt: skip


def _message(turn: Fields, images: RecordImages) -> Message:
    speaker, value = turn.get("from", "role"), turn.get("value", "content")
    role = role_of(speaker)
    if not isinstance(value, str):
        raise ValueError(f"a turn of {role} has no text as its value")
    reasoning, answer = split_reasoning(value) if role == "assistant" else (None, value)
    fields: dict[str, Any] = {"role": role, "reasoning_content": reasoning, "loss_weight": weight_of(turn, role)}
    if speaker.strip().lower() in CALL_ROLES:
        return Message(content=(), tool_calls=calls_in(answer, turn), **fields)
    return Message(content=tuple(images.interleave(answer)), **fields)


def to_record(sample: Sample, names: list[str], key: str) -> dict[str, Any]:
    """A record with the names of its images under `key`. Raises ValueError for a sample that it cannot hold."""
    messages = require_turns(sample)
    record: dict[str, Any] = {"id": sample.id}
    if names:
        record[key] = names[0] if key == "image" and len(names) == 1 else names
    if sample.rejected is not None:
        record |= {"chosen": _turn(messages[-1]), "rejected": _turn(sample.rejected)}
        messages = messages[:-1]
    record["conversations"] = [_turn(message) for message in messages]
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


LLAVA = RecordCodec(partial(to_record, key="image"), partial(to_sample, format_name="llava"))
SHAREGPT = RecordCodec(partial(to_record, key="images"), to_sample)
