"""Messages of OpenAI's API, one conversation a line: `messages`, `tools`, images as `image_url`.

Images are data URLs or paths. A message may have `reasoning_content` and `weight`; texts may also show the record's
`images` with `<image>`, as many trainers write it.
"""

from collections.abc import Iterator
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
    image_references,
    interleave,
    require_turns,
    split_reasoning,
)
from step3vl.data.convert.source_files import read_json
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.parts import ImagePart, Part, text
from step3vl.data.sample.sample import Message, Sample, ToolCall

_ROLES = {"developer": "system", "function": "tool", "human": "user", "gpt": "assistant"}


def read(source: Path, defaults: RecordDefaults) -> Iterator[Sample | DeadLetter]:
    """Read a file or folder. Returns samples and dead letters in the order of the records."""
    return convert_records(read_json(source), to_sample, defaults, defaults.folder(source))


def to_sample(
    record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader, format_name: str = "openai"
) -> Sample:
    """Convert a record. Raises ValueError saying what is wrong with it."""
    turns = field(record.value, "messages")
    if not isinstance(turns, list):
        raise ValueError("it has no list of messages")
    images = field(record.value, "images", "image")
    references = image_references(images)
    messages = [_message(turn, references, loader, marked=images is not None) for turn in turns]
    check_all_shown(references, loader)
    tools = as_list(field(record.value, "tools"), "tools")
    return build_sample(
        record.value, defaults, record.where, loader, format_name=format_name, messages=messages, tools=tools
    )


def _message(turn: Any, references: Iterator[Any], loader: ImageLoader, marked: bool) -> Message:
    role, content = field(turn, "role"), field(turn, "content")
    if not isinstance(role, str):
        raise ValueError("a message has no role")
    role = _ROLES.get(role, role)
    reasoning = field(turn, "reasoning_content", "reasoning")
    if isinstance(content, str) and role == "assistant" and reasoning is None:
        reasoning, content = split_reasoning(content)
    fields: dict[str, Any] = {
        "role": role,
        "content": parts_of(content, references, loader, marked),
        "reasoning_content": reasoning,
        "tool_calls": tuple(call_of(call) for call in as_list(field(turn, "tool_calls"), "tool_calls")),
        "loss_weight": field(turn, "weight", "loss_weight"),
    }
    if role == "system" and field(turn, "name") == "observation":
        fields["name"] = "observation"
    return Message.model_validate(fields)


def parts_of(content: Any, references: Iterator[Any], loader: ImageLoader, marked: bool) -> tuple[Part, ...]:
    """The parts of a message's content.

    Args:
        content: None, a text, or a list of texts and images.
        references: The record's images that no part has shown yet.
        loader: The loader of images.
        marked: Whether a content that is a text shows images with `<image>`.

    Raises:
        ValueError: The content is malformed.
    """
    if content is None:
        return ()
    if isinstance(content, str):
        return tuple(interleave(content, references, loader)) if marked else (text(content),) if content else ()
    if not isinstance(content, list):
        raise ValueError(f"a content is {type(content).__name__}, neither text nor a list of parts")
    parts: list[Part] = []
    for part in content:
        kind = field(part, "type")
        if kind == "text":
            value = field(part, "text", "value")
            if not isinstance(value, str):
                raise ValueError("a text part has no text")
            parts.append(text(value))
        elif kind in ("image_url", "image"):
            parts.append(_image(part, references, loader))
        else:
            raise ValueError(f"a part is of type {kind!r}; known are text, image and image_url")
    return tuple(parts)


def _image(part: dict[str, Any], references: Iterator[Any], loader: ImageLoader) -> ImagePart:
    """The image that a part names, or else the next of the record's."""
    reference = field(part, "image_url", "image", "url", "path", "value")
    if isinstance(reference, dict) and "url" in reference:
        reference = reference["url"]
    if reference is None:
        reference = next(references, None)
    if reference is None:
        raise ValueError(f"it shows more images than it has ({len(loader.images)})")
    return loader.show(reference)


def call_of(call: Any) -> ToolCall:
    """A tool call. Raises ValueError when it is malformed."""
    function = field(call, "function") or call
    return ToolCall.model_validate({"name": field(function, "name"), "arguments": field(function, "arguments") or {}})


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A record whose images have these names. Raises ValueError for a sample that the format cannot hold."""
    record: dict[str, Any] = {"messages": turns_of(require_turns(sample), names)}
    if sample.tools:
        record["tools"] = list(sample.tools)
    return {**record, EXTRA: extra_fields(sample)}


def turns_of(messages: tuple[Message, ...], names: list[str]) -> list[dict[str, Any]]:
    """The turns of a conversation whose images have these names."""
    turns, open_calls, calls = [], [], 0
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": _content(message.content, names) or None}
        if message.name is not None:
            turn["name"] = message.name
        if message.reasoning_content is not None:
            turn["reasoning_content"] = message.reasoning_content
        if message.tool_calls:
            open_calls = [f"call_{calls + number}" for number in range(len(message.tool_calls))]
            calls += len(open_calls)
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


CODEC = RecordCodec(to_record, to_sample)
