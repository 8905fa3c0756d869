"""Split a streaming reply into reasoning, answer and tool calls; the calls are withheld until the end."""

from typing import Literal, NamedTuple

from step3vl.data.sample import ToolCall
from step3vl.data.tokens import END_THINK, THINK, TOOL_CALL, TOOL_CALLS, extract_tool_calls

CALLS = (TOOL_CALLS, TOOL_CALL)

PieceKind = Literal["reasoning", "content"]


class ReplyPiece(NamedTuple):
    """A piece of a reply's reasoning or answer."""

    kind: PieceKind
    text: str


class ReplySplitter:
    """Feed it a reply's text as it arrives; `feed` returns what is certain, `finish` the rest.

    A reply begins within the reasoning, which the prompt opened, and the first `</think>` ends it, as in vLLM's
    reasoning parsers: a reply without the tag is all reasoning, and a later tag is text of the answer. The pieces join
    to the same texts however the reply is cut. A possible start of a tag, and newlines at the edges of reasoning and
    answer, are withheld until it is clear what they are.

    Args:
        tools: Whether tool calls are cut out of the answer.
        max_calls: The most calls that `tool_calls` keeps, None for all.

    Attributes:
        reasoning: Whether the reply is still within its reasoning.
        tool_calls: The calls of the answer, set by `finish`.
    """

    def __init__(self, tools: bool, max_calls: int | None = None):
        self.reasoning = True
        self.tool_calls: tuple[ToolCall, ...] = ()
        self._tools = tools
        self._max_calls = max_calls
        self._answer = ""
        self._held = ""
        self._sent = ""  # of the part that the reply is in
        self._opened = False  # whether an opening tag, which some servers add, has been passed
        self._calling = False

    def feed(self, text: str) -> list[ReplyPiece]:
        """Add text and return the pieces that are certain."""
        self._held += text
        pieces: list[ReplyPiece] = []
        if not self.reasoning:
            self._answer += text
        else:
            if not self._opened:
                if self._held != THINK and THINK.startswith(self._held):
                    return pieces
                self._held = self._held.removeprefix(THINK)
                self._opened = True
            if not self._send_until(pieces, "reasoning", (END_THINK,)):
                return pieces
            self._answer = self._held = self._held.removeprefix(END_THINK)
            self._sent = ""
            self.reasoning = False
        if not self._calling:
            self._calling = self._send_until(pieces, "content", CALLS if self._tools else ())
        return pieces

    def finish(self) -> list[ReplyPiece]:
        """Return the rest; no text follows."""
        if self.reasoning:
            rest = self._held if self._sent else self._held.lstrip("\n")
            return [ReplyPiece("reasoning", rest)] if rest else []
        answer = self._answer.strip("\n")
        if self._tools:
            answer, calls = extract_tool_calls(answer)
            self.tool_calls = calls[: self._max_calls]
        rest = answer.removeprefix(self._sent)
        return [ReplyPiece("content", rest)] if rest else []

    def _send_until(self, pieces: list[ReplyPiece], kind: PieceKind, tags: tuple[str, ...]) -> bool:
        """Append the held text before the first of the tags. Return whether there is a tag; it stays held."""
        text = self._held if self._sent else self._held.lstrip("\n")
        starts = [start for tag in tags if (start := text.find(tag)) >= 0]
        end = min(starts) if starts else len(text) - max((partial_match(text, tag) for tag in tags), default=0)
        piece = text[:end].rstrip("\n")
        self._held = text[end if starts else len(piece) :]
        if piece:
            self._sent += piece
            pieces.append(ReplyPiece(kind, piece))
        return bool(starts)


def partial_match(text: str, stop: str) -> int:
    """Return the length of the longest proper prefix of `stop` that `text` ends with."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
