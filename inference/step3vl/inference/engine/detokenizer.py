"""Incremental detokenisation: complete characters only, and nothing that may turn out to be a stop string."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from step3vl.inference.client.reply_splitter import partial_match

REPLACEMENT = "\ufffd"  # what the bytes of an incomplete character decode to


def decode_reply(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """Decode a reply; an incomplete character at its end is dropped."""
    return tokenizer.decode(list(token_ids), skip_special_tokens=True).rstrip(REPLACEMENT)


class IncrementalDetokenizer:
    """Turns tokens into pieces of text that join to `decode_reply`, cut before the first stop string.

    Args:
        tokenizer: Decodes the tokens.
        stop: The stop strings.
        min_tokens: A stop string counts only if its last token comes after so many.

    Attributes:
        text: What has been returned so far.
        stopped: Whether a stop string has been reached.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), min_tokens: int = 0):
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = stop
        self._unchecked = min_tokens  # tokens that cannot complete a stop string
        self._tokens: list[int] = []  # of a character that is not complete yet
        self._held = ""  # text that may be the start of a stop string

    def add(self, token: int) -> str:
        """Add a token and return the text that is certain now; it may be empty."""
        self._tokens.append(token)
        self._unchecked -= 1
        fresh = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        # In a byte-level vocabulary tokens decode independently wherever characters end between them.
        if fresh.endswith(REPLACEMENT):
            return ""
        self._tokens.clear()
        return self._emit(fresh, final=False)

    def finish(self) -> str:
        """Return the rest, when no token follows."""
        if self.stopped:
            return ""
        return self._emit(decode_reply(self._tokenizer, self._tokens), final=True)

    def _emit(self, fresh: str, final: bool) -> str:
        held = self._held + fresh
        # A stop string ends within the fresh text; one that ends before came too early.
        first = len(self._held) + 1
        matches = (held.find(stop, max(0, first - len(stop))) for stop in self._stop)
        starts = [] if self._unchecked >= 0 else [start for start in matches if start >= 0]
        if starts:
            self.stopped = True
            piece, self._held = held[: min(starts)], ""
        else:
            kept = 0 if final else max((partial_match(held, stop) for stop in self._stop), default=0)
            piece, self._held = held[: len(held) - kept], held[len(held) - kept :]
        self.text += piece
        return piece
