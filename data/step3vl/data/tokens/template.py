"""The released chat template as a sequence of texts, markup tokens and images, each with its weight in the loss.

`chat_template.jinja` beside the model renders the same conversation as one text, and a parity test compares the two.
Markup is separate from text here, so that no text can forge it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from step3vl.data.sample.parts import ImagePart, Part, TextPart
from step3vl.data.sample.sample import Message, ToolCall

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
_TOOLS_FORMAT = "\n</tools>\n\nWrite calls in exactly this form:\n"
_CALL_FORMAT = '\n{"name": <function-name>, "arguments": <args-json-object>}\n'
_TOOLS_NOTE = (
    "\n\nNote:\n- One <tool_calls> block holds every call of a turn.\n"
    "- Arguments are one JSON object that fits the signature.\n- When no function helps, answer without a call."
)


class Markup(NamedTuple):
    """A control token, by its name."""

    token: str


class RenderPiece(NamedTuple):
    """Text, a control token or an image, and its weight in the loss."""

    item: str | Markup | ImagePart
    weight: float = 0.0


_START, _END, _NEWLINE = RenderPiece(Markup(CHAT_START)), RenderPiece(Markup(CHAT_END)), RenderPiece("\n")
_ASSISTANT = (_START, RenderPiece("assistant\n"))
_THINKING = (RenderPiece(Markup(THINK)), _NEWLINE)


def document_pieces(content: Sequence[Part]) -> list[RenderPiece]:
    """The pieces of a document, which is trained on all its text and on its end."""
    return _pieces(*map(_item, content), Markup(END_OF_TEXT), weight=1.0)


def conversation_pieces(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[RenderPiece]:
    """The pieces of all turns in order, after the tools' signatures, which share the opening system turn.

    Assistant turns after the last question have reasoning and are trained with weight 1, or with their `loss_weight`;
    earlier ones are rendered without reasoning and trained only where they have a `loss_weight`.
    """
    pieces: list[RenderPiece] = []
    opening = messages[0] if messages and messages[0].role == "system" else None
    if tools:
        pieces += _tools_turn(opening, tools)
    question = last_question(messages)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            pieces += _assistant_turn(message, index > question)
        elif message.role == "tool":
            pieces += _tool_turn(message, _role(messages, index - 1) != "tool", _role(messages, index + 1) != "tool")
        elif message is not opening:
            pieces += _plain_turn(message.name or message.role, message)
        elif not tools:
            pieces += _plain_turn("system", message)
    return pieces


def generation_pieces() -> list[RenderPiece]:
    """The generation prompt: an assistant turn that is open inside its reasoning."""
    return [*_ASSISTANT, *_THINKING]


def last_question(messages: Sequence[Message]) -> int:
    """The index of the last user turn that is not a tool response in a user turn; -1 without one."""
    for index in range(len(messages) - 1, -1, -1):
        if _is_question(messages[index]):
            return index
    return -1


def tool_call_text(call: ToolCall) -> str:
    """The text between `<tool_call>` and `</tool_call>`."""
    return f'\n{{"name": "{call.name}", "arguments": {json.dumps(call.arguments, ensure_ascii=False)}}}\n'


def _pieces(*items: str | Markup | ImagePart, weight: float = 0.0) -> list[RenderPiece]:
    return [RenderPiece(item, weight) for item in items]


def _is_question(message: Message) -> bool:
    if message.role != "user":
        return False
    first = message.content[0] if message.content else None
    if isinstance(first, TextPart) and not TOOL_RESPONSE.startswith(first.text[: len(TOOL_RESPONSE)]):
        return True  # as nearly all are, which saves joining their texts
    content = "".join(part.text if isinstance(part, TextPart) else "<im_patch>" for part in message.content)
    return not (content.startswith(TOOL_RESPONSE) and content.endswith(END_TOOL_RESPONSE))


def _role(messages: Sequence[Message], index: int) -> str | None:
    return messages[index].role if 0 <= index < len(messages) else None


def _item(part: Part) -> str | ImagePart:
    return part.text if isinstance(part, TextPart) else part


def _content(message: Message, weight: float = 0.0) -> list[RenderPiece]:
    return [RenderPiece(_item(part), weight) for part in message.content]


def _plain_turn(role: str, message: Message) -> list[RenderPiece]:
    return [_START, RenderPiece(f"{role}\n"), *_content(message), _END, _NEWLINE]


def _tools_turn(opening: Message | None, tools: Sequence[Mapping[str, Any]]) -> Iterator[RenderPiece]:
    yield from _pieces(Markup(CHAT_START), "system\n")
    if opening is not None:
        yield from _content(opening)
        yield from _pieces("\n\n")
    signatures = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in tools)
    yield from _pieces(_TOOLS_HEAD + signatures + _TOOLS_FORMAT)
    yield from _pieces(Markup(TOOL_CALLS), "\n", Markup(TOOL_CALL), _CALL_FORMAT, Markup(END_TOOL_CALL))
    yield from _pieces("\n{more tool calls}", Markup(END_TOOL_CALLS))
    head, tail = _TOOLS_NOTE.split(TOOL_CALLS)
    yield from _pieces(head, Markup(TOOL_CALLS), tail, Markup(CHAT_END), "\n")


def _assistant_turn(message: Message, current: bool) -> list[RenderPiece]:
    weight = float(current) if message.loss_weight is None else message.loss_weight
    pieces = [*_ASSISTANT]
    if current:
        pieces += _THINKING
        pieces += _pieces(f"{message.reasoning_content or ''}\n", Markup(END_THINK), "\n", weight=weight)
    pieces += _content(message, weight)
    if message.tool_calls:
        pieces += _pieces("\n", Markup(TOOL_CALLS), weight=weight)
        for call in message.tool_calls:
            markup = (Markup(TOOL_CALL), tool_call_text(call), Markup(END_TOOL_CALL))
            pieces += _pieces("\n", *markup, weight=weight)
        pieces += _pieces("\n", Markup(END_TOOL_CALLS), weight=weight)
    return [*pieces, RenderPiece(_END.item, weight), _NEWLINE]


def _tool_turn(message: Message, first: bool, last: bool) -> Iterator[RenderPiece]:
    """One tool result; adjacent results share a turn."""
    if first:
        yield from _pieces(Markup(CHAT_START), "tool_response")
    yield from _pieces("\n", Markup(TOOL_RESPONSE), "\n")
    yield from _content(message)
    yield from _pieces("\n", Markup(END_TOOL_RESPONSE))
    if last:
        yield from _pieces(Markup(CHAT_END), "\n")
