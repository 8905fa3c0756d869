"""The turns of conversations as all formats write them: roles, reasoning, weights, and which turns are trained."""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.sample.parts import Part, TextPart, text
from step3vl.data.sample.sample import Message, ToolCall
from step3vl.data.tokens.template import END_THINK, THINK, last_question

Role = Literal["system", "user", "assistant", "tool"]
Trained = Literal["all", "last"]

ROLES: dict[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "ai": "assistant",
    "bot": "assistant", "bing": "assistant", "bard": "assistant", "claude": "assistant", "gemini": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "environment": "tool",
    "tool_response": "tool", "function_response": "tool",
}  # fmt: skip
CALL_ROLES = frozenset({"function_call", "tool_call"})  # an assistant's turn whose text is the calls
_WEIGHTS = ("weight", "loss_weight", "loss_mask", "loss", "train")
_REASONING = re.compile(rf"\A\s*{THINK}\n?(.*?)\n?{END_THINK}\n*(.*)\Z", re.DOTALL)
_UNCLOSED = re.compile(rf"\A\s*{THINK}(?!.*{END_THINK})", re.DOTALL)


def role_of(speaker: Any) -> Role:
    """The role of a speaker, whose name may be in any case. Raises ValueError for an unknown one."""
    name = speaker.strip().lower() if isinstance(speaker, str) else ""
    if name in CALL_ROLES:
        return "assistant"
    if name not in ROLES:
        raise ValueError(f"a turn is from {excerpt(repr(speaker))}; known are {', '.join(ROLES)}")
    return ROLES[name]


def split_reasoning(value: str) -> tuple[str | None, str]:
    """The reasoning in `<think>` and `</think>` that an answer begins with, and the rest; None without it."""
    match = _REASONING.match(value) if THINK in value else None
    return (match[1], match[2]) if match else (None, value)


def join_reasoning(reasoning: str | None, answer: str) -> str:
    """The inverse of `split_reasoning`, for formats that keep reasoning and answer in one text."""
    return answer if reasoning is None else f"{THINK}\n{reasoning}\n{END_THINK}\n{answer}"


def with_reasoning(parts: Sequence[Part], reasoning: str | None) -> tuple[str | None, tuple[Part, ...]]:
    """The reasoning of an answer and its parts without it.

    Args:
        parts: The answer, whose first text may begin with reasoning in `<think>`.
        reasoning: Reasoning that the record has in a field of its own.

    Raises:
        ValueError: Both are there, and differ.
    """
    if not parts or not isinstance(first := parts[0], TextPart):
        return reasoning, tuple(parts)
    inside, rest = split_reasoning(first.text)
    if inside is None:
        return reasoning, tuple(parts)
    if reasoning is not None and reasoning.strip() != inside.strip():
        raise ValueError(f"an answer has reasoning in a field of its own and begins with other reasoning in {THINK}")
    return inside, (*((text(rest),) if rest else ()), *parts[1:])


def weight_of(turn: Fields, role: Role) -> float | None:
    """The weight of a turn in the loss, or None. That of another role than the assistant's can only be 0."""
    if not turn.has_any(_WEIGHTS):
        return None
    if role == "assistant":
        return turn.get(*_WEIGHTS)
    for name in _WEIGHTS:
        if turn.peek(name) in (0, False):
            turn.accept(name)
    return None


def call_of(call: Fields) -> ToolCall:
    """A tool call, as such or as a function. Raises ValueError when it is malformed."""
    call.accept("id", "type", "index")
    function = call.child(call.get("function"), "function") if "function" in call else call
    return ToolCall.model_validate(
        {"name": function.get("name"), "arguments": function.get("arguments", "parameters") or {}}
    )


def calls_in(value: str, turn: Fields) -> tuple[ToolCall, ...]:
    """The calls that a turn's text is, one object or a list. Raises ValueError when it is not JSON."""
    try:
        calls = json.loads(value)
    except ValueError:
        raise ValueError(f"a turn of function calls is not JSON: {excerpt(value)}") from None
    return tuple(call_of(turn.child(call, "call")) for call in (calls if isinstance(calls, list) else [calls]))


def train_turns(messages: Sequence[Message], trained: Trained | None) -> tuple[Message, ...]:
    """The messages with weights for the answers before the last question, which a message without one has not.

    Args:
        messages: The turns; a weight that a turn has stays.
        trained: Train `all` answers or those after the `last` question. None trains all, unless the template would
            strip the reasoning of an earlier answer, whose training would then teach to answer without.
    """
    question = last_question(messages)
    earlier = [number for number in range(max(question, 0)) if messages[number].role == "assistant"]
    if trained is None:
        trained = "last" if any(messages[number].reasoning_content for number in earlier) else "all"
    weighted = list(messages)
    if trained == "all":
        for number in earlier:
            if weighted[number].loss_weight is None:
                weighted[number] = weighted[number].model_copy(update={"loss_weight": 1.0})
    return tuple(weighted)


def check_turns(messages: Sequence[Message]) -> None:
    """Refuse turns that say nothing or stop inside their reasoning, of which nothing good is learned.

    Raises:
        ValueError: A question or an answer is empty, or its reasoning is not closed.
    """
    for number, message in enumerate(messages, 1):
        if message.role not in ("user", "assistant"):
            continue
        first = message.content[0] if message.content else None
        if not message.tool_calls and not any(map(_says_something, message.content)):
            raise ValueError(f"turn {number}, of the {message.role}, is empty")
        if message.role == "assistant" and isinstance(first, TextPart) and _UNCLOSED.match(first.text):
            raise ValueError(f"turn {number} begins with {THINK} and never closes it")


def _says_something(part: Part) -> bool:
    return not isinstance(part, TextPart) or (part.text != "" and not part.text.isspace())
