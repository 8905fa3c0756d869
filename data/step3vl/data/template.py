"""A conversation as the released chat template writes it: runs of text, markup and pictures, with their weights.

The structure is the template's; `chat_template.jinja` beside the model writes the same as one text, and a parity test
holds the two together. Markup stands apart from text here, so that no text can forge it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from step3vl.data.sample import ImagePart, Message, Part, TextPart, ToolCall

CHAT_START, CHAT_END = "<|im_start|>", "<|im_end|>"
THINK, END_THINK = "<think>", "</think>"
TOOL_CALLS, END_TOOL_CALLS = "<tool_calls>", "</tool_calls>"
TOOL_CALL, END_TOOL_CALL = "<tool_call>", "</tool_call>"
TOOL_RESPONSE, END_TOOL_RESPONSE = "<tool_response>", "</tool_response>"
END_OF_TEXT = "<|endoftext|>"

_TOOLS_HEAD = (
    "# Tools\n\nThe functions below can be called to help with the question.\n\n"
    "Their signatures, one JSON object per line, are inside <tools></tools>:\n<tools>"
)
_TOOLS_FORM = "\n</tools>\n\nWrite calls in exactly this form:\n"
_CALL_FORM = '\n{"name": <function-name>, "arguments": <args-json-object>}\n'
_TOOLS_NOTE = (
    "\n\nNote:\n- One <tool_calls> block holds every call of a turn.\n"
    "- Arguments are one JSON object that fits the signature.\n- When no function helps, answer without a call."
)


class Markup(NamedTuple):
    """A control token, by its name."""

    token: str


class Piece(NamedTuple):
    """Text, a control token or a picture, and its weight in the loss."""

    item: str | Markup | ImagePart
    weight: float = 0.0


def document_pieces(content: Sequence[Part]) -> Iterator[Piece]:
    """A document is trained on all its text and on its end."""
    for part in content:
        yield Piece(_item(part), 1.0)
    yield Piece(Markup(END_OF_TEXT), 1.0)


def conversation_pieces(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Iterator[Piece]:
    """All turns in order, after the tools' signatures, which share the opening system turn.

    Assistant turns after the last question think and are trained with weight 1, or with their own `loss_weight`; the
    thoughts of earlier ones are left out, and such a turn is trained only where it has a weight of its own.
    """
    opening = messages[0] if messages and messages[0].role == "system" else None
    if tools:
        yield from _tools_turn(opening, tools)
    question = last_question(messages)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            yield from _assistant_turn(message, index > question)
        elif message.role == "tool":
            yield from _tool_turn(message, _role(messages, index - 1) != "tool", _role(messages, index + 1) != "tool")
        elif message is not opening:
            yield from _plain_turn(message.name or message.role, message)
        elif not tools:
            yield from _plain_turn("system", message)


def generation_pieces() -> Iterator[Piece]:
    """What asks for the next answer: an assistant's turn, opened inside its thought."""
    yield from (Piece(Markup(CHAT_START)), Piece("assistant\n"), Piece(Markup(THINK)), Piece("\n"))


def last_question(messages: Sequence[Message]) -> int:
    """The index of the last user turn that is no tool's response in disguise; -1 without one."""
    return max((index for index, message in enumerate(messages) if _asks(message)), default=-1)


def tool_call_text(call: ToolCall) -> str:
    """What stands between `<tool_call>` and `</tool_call>`."""
    return f'\n{{"name": "{call.name}", "arguments": {json.dumps(call.arguments, ensure_ascii=False)}}}\n'


def _asks(message: Message) -> bool:
    if message.role != "user":
        return False
    said = "".join(part.text if isinstance(part, TextPart) else "<im_patch>" for part in message.content)
    return not (said.startswith(TOOL_RESPONSE) and said.endswith(END_TOOL_RESPONSE))


def _role(messages: Sequence[Message], index: int) -> str | None:
    return messages[index].role if 0 <= index < len(messages) else None


def _item(part: Part) -> str | ImagePart:
    return part if isinstance(part, ImagePart) else part.text


def _plain_turn(role: str, message: Message) -> Iterator[Piece]:
    yield Piece(Markup(CHAT_START))
    yield Piece(f"{role}\n")
    yield from (Piece(_item(part)) for part in message.content)
    yield from (Piece(Markup(CHAT_END)), Piece("\n"))


def _tools_turn(opening: Message | None, tools: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    yield from (Piece(Markup(CHAT_START)), Piece("system\n"))
    if opening is not None:
        yield from (Piece(_item(part)) for part in opening.content)
        yield Piece("\n\n")
    signatures = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in tools)
    yield Piece(_TOOLS_HEAD + signatures + _TOOLS_FORM)
    yield from (Piece(Markup(TOOL_CALLS)), Piece("\n"), Piece(Markup(TOOL_CALL)), Piece(_CALL_FORM))
    yield from (Piece(Markup(END_TOOL_CALL)), Piece("\n{more tool calls}"), Piece(Markup(END_TOOL_CALLS)))
    head, tail = _TOOLS_NOTE.split(TOOL_CALLS)
    yield from (Piece(head), Piece(Markup(TOOL_CALLS)), Piece(tail))
    yield from (Piece(Markup(CHAT_END)), Piece("\n"))


def _assistant_turn(message: Message, current: bool) -> Iterator[Piece]:
    weight = float(current) if message.loss_weight is None else message.loss_weight
    yield from (Piece(Markup(CHAT_START)), Piece("assistant\n"))
    if current:
        yield from (Piece(Markup(THINK)), Piece("\n"), Piece(f"{message.reasoning_content or ''}\n", weight))
        yield from (Piece(Markup(END_THINK), weight), Piece("\n", weight))
    yield from (Piece(_item(part), weight) for part in message.content)
    if message.tool_calls:
        yield from (Piece("\n", weight), Piece(Markup(TOOL_CALLS), weight))
        for call in message.tool_calls:
            yield from (Piece("\n", weight), Piece(Markup(TOOL_CALL), weight))
            yield from (Piece(tool_call_text(call), weight), Piece(Markup(END_TOOL_CALL), weight))
        yield from (Piece("\n", weight), Piece(Markup(END_TOOL_CALLS), weight))
    yield from (Piece(Markup(CHAT_END), weight), Piece("\n"))


def _tool_turn(message: Message, first: bool, last: bool) -> Iterator[Piece]:
    """One result; neighbouring results share a turn."""
    if first:
        yield from (Piece(Markup(CHAT_START)), Piece("tool_response"))
    yield from (Piece("\n"), Piece(Markup(TOOL_RESPONSE)), Piece("\n"))
    yield from (Piece(_item(part)) for part in message.content)
    yield from (Piece("\n"), Piece(Markup(END_TOOL_RESPONSE)))
    if last:
        yield from (Piece(Markup(CHAT_END)), Piece("\n"))
