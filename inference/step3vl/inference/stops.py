"""The text of a reply while it is drawn: whole characters only, and nothing that may turn out to be a stop string."""

from collections.abc import Sequence

from tokenizers import Tokenizer

BROKEN = "\ufffd"  # what the bytes of an unfinished character decode to


def whole_text(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """The text of a reply; a character that was cut off at its end is left out."""
    return tokenizer.decode(list(token_ids), skip_special_tokens=True).rstrip(BROKEN)


class Spelling:
    """Turns tokens into pieces of text that join to `whole_text`, cut before the first stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()):
        self.text = ""  # what has been handed out
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = stop
        self._tokens: list[int] = []  # of a character that is not complete yet
        self._held = ""  # text that may be the beginning of a stop string

    def take(self, token: int) -> str:
        """The text that is certain after this token; it may be empty. At a stop string `stopped` becomes true."""
        self._tokens.append(token)
        fresh = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        # In a byte-level vocabulary tokens decode independently wherever characters end between them.
        if fresh.endswith(BROKEN):
            return ""
        self._tokens.clear()
        return self._hand_out(fresh, final=False)

    def finish(self) -> str:
        """The rest, when no token follows."""
        if self.stopped:
            return ""
        return self._hand_out(whole_text(self._tokenizer, self._tokens), final=True)

    def _hand_out(self, fresh: str, final: bool) -> str:
        held = self._held + fresh
        found = [at for stop in self._stop if (at := held.find(stop)) >= 0]
        if found:
            self.stopped = True
            piece, self._held = held[: min(found)], ""
        else:
            kept = 0 if final else max((overlap(held, stop) for stop in self._stop), default=0)
            piece, self._held = held[: len(held) - kept], held[len(held) - kept :]
        self.text += piece
        return piece


def overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` with which `stop` begins."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
