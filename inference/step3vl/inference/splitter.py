"""The parts of a reply while it streams: the thought, the answer, and calls of tools, which are held back whole."""

from typing import Literal, NamedTuple

from step3vl.data.template import END_THINK, THINK, TOOL_CALL, TOOL_CALLS
from step3vl.data.tokens import parse_reply, split_answer
from step3vl.inference.stops import overlap

CALLS = (TOOL_CALLS, TOOL_CALL)

Kind = Literal["reasoning", "content"]


class Piece(NamedTuple):
    kind: Kind
    text: str


class Splitter:
    """Feed it a reply's text as it comes; it gives what is certain, and `finish` gives the rest.

    A reply begins within the thought, which the prompt opened. What might be the beginning of a tag, and newlines at
    the edges of thought and answer, are held back until it is clear what they are.
    """

    def __init__(self, tools: bool):
        self.text = ""
        self.thinking = True
        self._tools = tools
        self._held = ""
        self._sent = ""  # of the part that the reply is in
        self._opened = False  # whether a tag at the very beginning, which some servers add, has been passed
        self._calling = False

    def feed(self, text: str) -> list[Piece]:
        self.text += text
        self._held += text
        pieces: list[Piece] = []
        if self.thinking:
            if not self._opened:
                if self._held != THINK and THINK.startswith(self._held):
                    return pieces
                self._held = self._held.removeprefix(THINK)
                self._opened = True
            if not self._send_until(pieces, "reasoning", (END_THINK,)):
                return pieces
            self._held = self._held.removeprefix(END_THINK)
            self._sent = ""
            self.thinking = False
        if not self._calling:
            self._calling = self._send_until(pieces, "content", CALLS if self._tools else ())
        return pieces

    def finish(self, stopped: bool) -> list[Piece]:
        """What is left of the answer. `stopped` says that the model ended the reply itself.

        A reply that ended by itself without an end of thought is all answer; one that was cut has none.
        """
        if self.thinking and not stopped:
            rest = self._held if self._sent else self._held.lstrip("\n")
            return [Piece("reasoning", rest)] if rest else []
        answer = parse_reply(self.text).answer if self._tools else split_answer(self.text)[1]
        rest = answer if self.thinking else answer.removeprefix(self._sent)
        return [Piece("content", rest)] if rest else []

    def _send_until(self, pieces: list[Piece], kind: Kind, tags: tuple[str, ...]) -> bool:
        """Give what is held before the first of the tags, and say whether one is there; it stays held."""
        text = self._held if self._sent else self._held.lstrip("\n")
        starts = [start for tag in tags if (start := text.find(tag)) >= 0]
        end = min(starts) if starts else len(text) - max((overlap(text, tag) for tag in tags), default=0)
        piece = text[:end].rstrip("\n")
        self._held = text[end if starts else len(piece) :]
        if piece:
            self._sent += piece
            pieces.append(Piece(kind, piece))
        return bool(starts)
