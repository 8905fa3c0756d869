"""The canonical JSON of a sample, with sorted keys and no space: of its content, which the id hashes, and of its row.

Both are what `json.dumps` makes of the model's dump, and a test compares the two for samples of every kind. Most of a
sample are its texts; to write JSON around them takes about half the time of a dump and its encoding.
"""

import json
from collections.abc import Iterable
from json.encoder import encode_basestring as encode_text
from typing import TYPE_CHECKING, Any

from step3vl.data.sample.parts import Image, Part, TextPart

if TYPE_CHECKING:
    from step3vl.data.sample.sample import Message, Sample, Source, TokenCount, ToolCall

# What a model dumps has no circles.
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def content_json(sample: "Sample") -> str:
    """The content of a sample: domain, task, parts, rejected answer, tools, truth and the images' hashes."""
    fields = {
        "content": "null" if sample.content is None else _parts(sample.content),
        "domain": encode_text(sample.domain),
        "images": _array([f'"{image.sha256}"' for image in sample.images]),
        "messages": "null" if sample.messages is None else _messages(sample.messages),
    }
    if sample.rejected is not None:
        fields["rejected"] = _message(sample.rejected)
    fields["task"] = encode_text(sample.task)
    if sample.tools:
        fields["tools"] = _array(map(_encode_object, sample.tools))
    fields["truth"] = "null" if sample.truth is None else _encode(sample.truth.model_dump(mode="json"))
    return _object(fields)


def row_json(sample: "Sample", tokens: "TokenCount | None") -> str:
    """The row of a sample with its tokens, `Sample.to_row`, without the pointers to its images."""
    fields = {} if sample.content is None else {"content": _parts(sample.content)}
    fields["domain"] = encode_text(sample.domain)
    fields["id"] = encode_text(sample.id)
    fields["images"] = _array(map(_image, sample.images))
    if sample.messages is not None:
        fields["messages"] = _messages(sample.messages).replace(_NULL, "")
    if sample.rejected is not None:
        fields["rejected"] = _message(sample.rejected).replace(_NULL, "")
    fields["scores"] = _encode(sample.scores) if sample.scores else "{}"
    fields["source"] = _source(sample.source)
    fields["task"] = encode_text(sample.task)
    if tokens is not None:
        fields["tokens"] = f'{{"image":{tokens.image},"text":{tokens.text}}}'
    if sample.tools:
        fields["tools"] = _array(map(_encode_object, sample.tools))
    if sample.truth is not None:
        fields["truth"] = _encode(sample.truth.model_dump(mode="json", exclude_none=True))
    if sample.version != 1:
        fields["version"] = str(sample.version)
    return _object(fields)


# Content has this for a turn without reasoning, and a row has not. No text has it inside, where quotes are escaped.
_NULL = ',"reasoning_content":null'
_last: tuple[tuple["Message", ...], str] = (), "[]"  # turns and their JSON


def _object(fields: dict[str, str]) -> str:
    """The JSON of an object from that of its values, whose names are in order."""
    return "{" + ",".join([f'"{name}":{value}' for name, value in fields.items()]) + "}"


def _array(values: Iterable[str]) -> str:
    return f"[{','.join(values)}]"


def _parts(parts: Iterable[Part]) -> str:
    return _array(
        [
            f'{{"text":{encode_text(part.text)},"type":"text"}}'
            if isinstance(part, TextPart)
            else f'{{"image":{part.image},"type":"image"}}'
            for part in parts
        ]
    )


def _messages(messages: tuple["Message", ...]) -> str:
    """The JSON of turns. The last one is kept: as a rule a sample's row is written soon after its id."""
    global _last
    last = _last
    if last[0] is not messages:
        last = _last = messages, _array(map(_message, messages))
    return last[1]


def _message(message: "Message") -> str:
    weight = name = calls = ""
    reasoning = _NULL
    if message.loss_weight is not None:
        weight = f',"loss_weight":{float.__repr__(message.loss_weight)}'
    if message.name is not None:
        name = f',"name":"{message.name}"'
    if message.reasoning_content is not None:
        reasoning = f',"reasoning_content":{encode_text(message.reasoning_content)}'
    if message.tool_calls:
        calls = f',"tool_calls":{_array(map(_call, message.tool_calls))}'
    return f'{{"content":{_parts(message.content)}{weight}{name}{reasoning},"role":"{message.role}"{calls}}}'


def _call(call: "ToolCall") -> str:
    return f'{{"arguments":{_encode_object(call.arguments)},"name":{encode_text(call.name)}}}'


def _encode_object(value: dict[str, Any]) -> str:
    """A JSON object as the text that keeps the order of its keys, see `JsonObject`."""
    return encode_text(json.dumps(value, ensure_ascii=False))


def _image(image: Image) -> str:
    return f'{{"format":"{image.format}","height":{image.height},"sha256":"{image.sha256}","width":{image.width}}}'


def _source(source: "Source") -> str:
    fields = {
        "collected_by": encode_text(source.collected_by),
        "licence": encode_text(source.licence),
        "parents": _array(map(encode_text, source.parents)),
    }
    if source.traits:
        fields["traits"] = _encode(source.traits)
    fields["uri"] = encode_text(source.uri)
    return _object(fields)
