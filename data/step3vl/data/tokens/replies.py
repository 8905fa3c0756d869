"""The parts of a model's reply: reasoning, answer and tool calls."""

import json
import re
from typing import NamedTuple

from step3vl.data.sample.sample import ToolCall
from step3vl.data.tokens.template import END_THINK, END_TOOL_CALL, END_TOOL_CALLS, THINK, TOOL_CALL, TOOL_CALLS

_DECODER = json.JSONDecoder()
_CLOSING = re.compile(rf"\s*{END_TOOL_CALL}")
_EMPTY_WRAPPER = re.compile(rf"\n?{TOOL_CALLS}\s*{END_TOOL_CALLS}")


class Reply(NamedTuple):
    """A model's reasoning, its answer without the tool calls, and the calls."""

    reasoning: str
    answer: str
    tool_calls: tuple[ToolCall, ...]


def split_answer(text: str) -> tuple[str, str]:
    """Split a reply at its last `</think>` into reasoning and answer; without the tag, all of it is the answer."""
    reasoning, tag, answer = text.rpartition(END_THINK)
    return (reasoning.removeprefix(THINK).strip("\n"), answer.strip("\n")) if tag else ("", text)


def parse_reply(text: str) -> Reply:
    """Split a reply into reasoning, answer and tool calls; see `split_answer` and `extract_tool_calls`."""
    reasoning, answer = split_answer(text)
    return Reply(reasoning, *extract_tool_calls(answer))


def extract_tool_calls(answer: str) -> tuple[str, tuple[ToolCall, ...]]:
    """Split an answer into its text and its tool calls.

    A call that is not a JSON object with a name and arguments stays in the text. The wrapper around the calls may be
    missing, since decoding that skips special tokens drops it.
    """
    calls: list[ToolCall] = []
    remaining: list[str] = []
    position = 0
    while (start := answer.find(TOOL_CALL, position)) >= 0:
        call, end = _read_call(answer, start + len(TOOL_CALL))
        if call is None:
            remaining.append(answer[position : start + len(TOOL_CALL)])
            position = start + len(TOOL_CALL)
        else:
            calls.append(call)
            remaining.append(answer[position:start].rstrip("\n"))
            position = end
    if not calls:
        return answer, ()
    remaining.append(answer[position:])
    return _EMPTY_WRAPPER.sub("", "".join(remaining)).strip("\n"), tuple(calls)


def _read_call(text: str, start: int) -> tuple[ToolCall | None, int]:
    """The call whose JSON begins at `start`, and the position after its closing tag."""
    start += len(text[start:]) - len(text[start:].lstrip())
    try:
        value, end = _DECODER.raw_decode(text, start)
        closing = _CLOSING.match(text, end)
        return (ToolCall.model_validate(value), closing.end()) if closing else (None, start)
    except (ValueError, RecursionError):  # pydantic's and JSON's errors are ValueErrors
        return None, start
