"""The JSON of StepFun's training framework (SteptronOss): `conversations` of role and content, and `images`.

An image appears in the text as the markup of its tokens: `<im_start>`, its `<im_patch>`es, `<im_end>`. Crops are
separate files (`[path, 1]`) with separate markup; they are skipped, because here they follow from the full image. What
is written shows each full image once, without crops. As there, only answers after the last question are trained, and
a `loss_mask` weighs one of these.
"""

import re
from typing import Any

from step3vl.data.convert.fields import Fields, as_list
from step3vl.data.convert.image_loader import PLACEHOLDER, ImageLoader, RecordImages
from step3vl.data.convert.openai import parts_of
from step3vl.data.convert.records import (
    EXTRA,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    build_sample,
    extra_fields,
    require_turns,
    text_truth,
)
from step3vl.data.convert.turns import call_of, role_of, with_reasoning
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.parts import ImagePart, Part
from step3vl.data.sample.sample import Message, Sample
from step3vl.data.tokens.template import last_question

_CROP = re.compile(r"<patch_start>(?:<im_patch>)*<patch_end>(?:<patch_newline>)?")
_FULL_IMAGE = re.compile(r"<im_start>(?:<im_patch>)*<im_end>")
_MARKUP = "<im_start>" + "<im_patch>" * ImageSpec().image_tokens + "<im_end>"


def to_sample(record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader) -> Sample:
    """Convert a record. Raises ValueError saying what is wrong with it."""
    fields = Fields.of(record.value)
    files = [_file(entry) for entry in fields.get_list("images")]
    images = RecordImages(dict(enumerate(path for path, crop in files if not crop)), loader)
    turns = fields.children("conversations")
    messages = [_message(turn, images) for turn in turns]
    if EXTRA not in fields:
        question = last_question(messages)
        messages = [
            message if number > question else message.model_copy(update={"loss_weight": None})
            for number, message in enumerate(messages)
        ]
    images.check_all_shown()
    tools = [tool for turn in turns for tool in turn.get_list("tool_schemas", "tools")]
    answers = [answer for turn in turns if (answer := turn.get("ground_truth")) is not None]
    return build_sample(
        fields, defaults, record.where, loader,
        format_name="step", messages=messages, tools=tools, truth=text_truth(answers[-1]) if answers else None,
        trained="last",
    )  # fmt: skip


def _file(entry: Any) -> tuple[Any, bool]:
    """The path of an image's file, and whether it is a crop."""
    if isinstance(entry, list) and entry:
        return entry[0], len(entry) > 1 and entry[1] == 1
    return entry, False


def _message(turn: Fields, images: RecordImages) -> Message:
    role = role_of(turn.get("role"))
    parts, weights = _content(turn, images)
    reasoning = turn.text("reasoning_content")
    if role == "assistant":
        reasoning, parts = with_reasoning(parts, reasoning)
    weight = turn.get("loss_mask")  # of other turns it means nothing: they are never trained
    if weight is None and weights and all(other == weights[0] for other in weights):
        weight = weights[0]
    elif role == "assistant" and any(other != weight for other in weights):
        raise ValueError("parts of an answer have different loss_masks, which a turn cannot have here")
    fields: dict[str, Any] = {
        "role": role,
        "name": turn.get("name") if turn.peek("name") == "observation" else None,
        "content": tuple(parts),
        "reasoning_content": reasoning,
        "loss_weight": weight if role == "assistant" else None,
        "tool_calls": tuple(call_of(call) for call in turn.children("tool_calls")),
    }
    return Message.model_validate(fields)


def _content(turn: Fields, images: RecordImages) -> tuple[tuple[Part, ...], list[Any]]:
    """The parts of a turn, and the loss masks of their texts."""
    content = turn.get("content", "value")
    if isinstance(content, str):
        return _text_parts(content, turn, images), []
    parts: list[Part] = []
    weights: list[Any] = []
    for value in as_list(content, "content"):
        part = turn.child(value, "content")
        if part.peek("type") == "text" and isinstance(part.peek("value") or part.peek("text"), str):
            part.accept("type")
            weights.append(part.get("loss_mask"))
            parts += _text_parts(part.get("value", "text"), turn, images)
        else:
            parts += parts_of([value], turn, images)
            part.accept(*part.names())
    return tuple(parts), weights


def _text_parts(value: str, turn: Fields, images: RecordImages) -> tuple[Part, ...]:
    if PLACEHOLDER in value:
        raise ValueError(f"a text holds {PLACEHOLDER}, which means nothing in this format")
    replaced = _FULL_IMAGE.sub(PLACEHOLDER, _CROP.sub("", value))
    return tuple(images.interleave(replaced)) if PLACEHOLDER in replaced else parts_of(replaced, turn, images)


def to_record(sample: Sample, names: list[str]) -> dict[str, Any]:
    """A record whose images have these file names. Raises ValueError for a sample that the format cannot hold."""
    turns: list[dict[str, Any]] = [_turn(message) for message in require_turns(sample)]
    if sample.tools:
        turns[0]["tool_schemas"] = list(sample.tools)
    return {"conversations": turns, "images": [[name, 0] for name in names] or None, EXTRA: extra_fields(sample)}


def _turn(message: Message) -> dict[str, Any]:
    content = "".join(_MARKUP if isinstance(part, ImagePart) else part.text for part in message.content)
    turn: dict[str, Any] = {"role": message.role, "content": content}
    if message.name is not None:
        turn["name"] = message.name
    if message.reasoning_content is not None:
        turn["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        turn["tool_calls"] = [{"type": "function", "function": call.model_dump()} for call in message.tool_calls]
    if message.loss_weight is not None:
        turn["loss_mask"] = message.loss_weight
    return turn


CODEC = RecordCodec(to_record, to_sample)
