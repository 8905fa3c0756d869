"""The JSON of StepFun's training framework (SteptronOss): `conversations` of role and content, and `images`.

An image appears in the text as the markup of its tokens: `<im_start>`, its `<im_patch>`es, `<im_end>`. Crops are
separate files (`[path, 1]`) with separate markup; they are skipped, because here they follow from the full image. What
is written shows each full image once, without crops.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from step3vl.data.convert.image_loader import ImageLoader
from step3vl.data.convert.openai import call_of, parts_of
from step3vl.data.convert.records import (
    EXTRA,
    PLACEHOLDER,
    RecordCodec,
    RecordDefaults,
    SourceRecord,
    as_list,
    build_sample,
    check_all_shown,
    convert_records,
    extra_fields,
    field,
    require_turns,
    split_reasoning,
    text_truth,
)
from step3vl.data.convert.source_files import read_json
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.parts import ImagePart, Part
from step3vl.data.sample.sample import Message, Sample

_CROP = re.compile(r"<patch_start>(?:<im_patch>)*<patch_end>(?:<patch_newline>)?")
_FULL_IMAGE = re.compile(r"<im_start>(?:<im_patch>)*<im_end>")
_MARKUP = "<im_start>" + "<im_patch>" * ImageSpec().image_tokens + "<im_end>"


def read(source: Path, defaults: RecordDefaults) -> Iterator[Sample | DeadLetter]:
    """Read a file or folder. Returns samples and dead letters in the order of the records."""
    return convert_records(read_json(source), to_sample, defaults, defaults.folder(source))


def to_sample(record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader) -> Sample:
    """Convert a record. Raises ValueError saying what is wrong with it."""
    turns = as_list(field(record.value, "conversations"), "conversations")
    references = iter(
        [path for path, crop in map(_file, as_list(field(record.value, "images"), "images")) if not crop]
    )
    messages = [_message(turn, references, loader) for turn in turns]
    check_all_shown(references, loader)
    first = turns[0] if turns else {}
    answers = [field(turn, "ground_truth") for turn in turns if field(turn, "ground_truth") is not None]
    return build_sample(
        record.value,
        defaults,
        record.where,
        loader,
        format_name="step",
        messages=messages,
        tools=as_list(field(first, "tool_schemas", "tools"), "tool_schemas"),
        truth=text_truth(answers[-1]) if answers else None,
    )


def _file(entry: Any) -> tuple[str, bool]:
    """The path of an image's file, and whether it is a crop."""
    if isinstance(entry, list) and entry:
        return entry[0], len(entry) > 1 and entry[1] == 1
    return entry, False


def _message(turn: Any, references: Iterator[Any], loader: ImageLoader) -> Message:
    content = field(turn, "content")
    if isinstance(content, str):
        content = [{"type": "text", "value": content}]
    parts: list[Part] = []
    for part in as_list(content, "contents"):
        if field(part, "type") == "text" and isinstance(value := field(part, "value", "text"), str):
            if PLACEHOLDER in value:
                raise ValueError(f"a text holds {PLACEHOLDER}, which means nothing in this format")
            parts += parts_of(_FULL_IMAGE.sub(PLACEHOLDER, _CROP.sub("", value)), references, loader, marked=True)
        else:
            parts += parts_of([part], references, loader, marked=False)
    fields: dict[str, Any] = {
        "role": field(turn, "role"),
        "name": "observation" if field(turn, "name") == "observation" else None,
        "content": tuple(parts),
        "reasoning_content": field(turn, "reasoning_content"),
        "loss_weight": field(turn, "loss_mask"),
        "tool_calls": tuple(call_of(call) for call in as_list(field(turn, "tool_calls"), "tool_calls")),
    }
    if fields["role"] != "assistant":
        fields["loss_weight"] = None  # other turns are never trained, whatever their mask
    elif fields["reasoning_content"] is None and len(parts) == 1 and not isinstance(parts[0], ImagePart):
        reasoning, answer = split_reasoning(parts[0].text)
        if reasoning is not None:
            fields |= {"reasoning_content": reasoning, "content": parts_of(answer, references, loader, marked=False)}
    return Message.model_validate(fields)


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
