"""Messages of OpenAI's API, one conversation a line: `messages`, `tools`, images as `image_url`.

Images are data URLs or paths. A message may have `reasoning_content` and `weight`; texts may also show the record's
`images` with `<image>`, and its `objects` with `<bbox>`, as ms-swift writes them. A rejected answer beside the
messages (`rejected_response`), or in place of their last (`chosen` and `rejected` after a `prompt`, OpenAI's
`preferred_output`), makes a preference.
"""

from typing import Any

from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.convert.grounding import Grounding
from step3vl.data.convert.image_loader import ImageLoader, RecordImages
from step3vl.data.convert.records import (
    EXTRA,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    build_sample,
    extra_fields,
    require_turns,
)
from step3vl.data.convert.turns import CALL_ROLES, call_of, calls_in, role_of, weight_of, with_reasoning
from step3vl.data.sample.parts import ImagePart, Part, text
from step3vl.data.sample.sample import Message, Sample

_TEXT_TYPES = ("text", "input_text", "output_text")
_IMAGE_TYPES = ("image_url", "image", "input_image")
_TIME_TYPES = ("video", "video_url", "audio", "audio_url", "input_audio", "input_video")


def to_sample(
    record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader, format_name: str = "openai"
) -> Sample:
    """Convert a record. Raises ValueError saying what is wrong with it."""
    fields = Fields.of(record.value)
    if not isinstance(fields.peek("messages"), list):
        raise ValueError("it has no list of messages; --from huggingface reads rows of other columns")
    images = RecordImages.of(fields, loader)
    messages = [read_message(turn, images) for turn in fields.children("messages")]
    if system := fields.text("system", "system_prompt"):
        messages.insert(0, Message(role="system", content=(text(system),)))
    rejected = _rejected(fields, images)
    truth = None
    if fields.peek("objects"):
        grounding = Grounding(fields, loader.images)
        messages, truth = grounding.messages(messages), grounding.truth
    images.check_all_shown()
    return build_sample(
        fields, defaults, record.where, loader,
        format_name=format_name, messages=messages, rejected=rejected, tools=fields.get_list("tools", "functions"),
        truth=truth,
    )  # fmt: skip


def _rejected(fields: Fields, images: RecordImages) -> Message | None:
    """The answer that was rejected in favour of the last message: a text, a message, or a list of that message."""
    value = fields.get("rejected_response", "rejected")
    if value is None:
        return None
    if isinstance(value, str):
        value = {"role": "assistant", "content": value}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return read_message(fields.child(value, "rejected"), images)


def read_message(turn: Fields, images: RecordImages) -> Message:
    """The message of a turn. Raises ValueError when it is malformed."""
    speaker, content = turn.get("role"), turn.get("content")
    if speaker is None:
        raise ValueError("a message has no role")
    role = role_of(speaker)
    if content is None and role == "assistant":
        content = turn.get("refusal")  # what the assistant says in place of an answer
    reasoning = turn.text("reasoning_content", "reasoning", "thinking")
    fields: dict[str, Any] = {"role": role, "loss_weight": weight_of(turn, role)}
    turn.accept("tool_call_id")  # results follow their calls in order
    if speaker.strip().lower() in CALL_ROLES and isinstance(content, str):
        return Message(content=(), reasoning_content=reasoning, tool_calls=calls_in(content, turn), **fields)
    parts = parts_of(content, turn, images)
    if role == "assistant":
        reasoning, parts = with_reasoning(parts, reasoning)
    calls = [call_of(call) for call in turn.children("tool_calls")]
    if (call := turn.get("function_call")) is not None:
        calls.append(call_of(turn.child(call, "function_call")))
    if role == "system" and turn.peek("name") == "observation":
        fields["name"] = turn.get("name")
    elif role == "tool":
        turn.accept("name")  # of the function that was called
    return Message(content=parts, reasoning_content=reasoning, tool_calls=tuple(calls), **fields)


def parts_of(content: Any, turn: Fields, images: RecordImages) -> tuple[Part, ...]:
    """The parts of a message's content.

    Args:
        content: None, a text that shows the record's images with `<image>`, or a list of texts and images.
        turn: What the content belongs to.
        images: The record's images.

    Raises:
        ValueError: The content is malformed.
    """
    if content is None or content == "":
        return ()
    if isinstance(content, str):
        return tuple(images.interleave(content)) if len(images) else (text(content),)
    if not isinstance(content, list):
        raise ValueError(f"a content is {type(content).__name__}, neither text nor a list of parts")
    return tuple(_part(turn.child(part, "content"), images) for part in content)


def _part(part: Fields, images: RecordImages) -> Part:
    kind = part.get("type")
    if kind in _TEXT_TYPES:
        value = part.get("text", "value")
        if not isinstance(value, str):
            raise ValueError("a text part has no text")
        return text(value)
    if kind in _IMAGE_TYPES:
        return _image(part, images)
    if kind in _TIME_TYPES:
        raise ValueError(f"it has video or audio (a part of type {kind}), which the model does not take: remove it")
    raise ValueError(f"a part is of type {excerpt(repr(kind))}; known are text, image and image_url")


def _image(part: Fields, images: RecordImages) -> ImagePart:
    """The image that a part names, or the one of its `index` among the record's, or else the next of these."""
    reference = part.get("image_url", "image", "url", "path", "value")
    if isinstance(reference, dict) and "url" in reference:
        reference = part.child(reference, "image_url").get("url")
    if reference is not None:
        return images.loader.show(reference)
    return images.show(part.get("index"))


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A record whose images have these names. Raises ValueError for a sample that the format cannot hold."""
    record: dict[str, Any] = {"messages": turns_of(require_turns(sample), names)}
    if sample.rejected is not None:
        record["rejected"] = turns_of((sample.rejected,), [])
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
