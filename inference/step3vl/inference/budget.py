"""Messages cut to fit a context: the longest ones give, the others stay whole."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

MARK = "… "  # before what is left of a message
ATTEMPTS = 16  # each comes closer; texts are at most a few times denser in tokens than the average


class Fitted(NamedTuple):
    """Messages that fit, their prompt's tokens, and how many of them were cut or left out, by how many characters."""

    messages: list[str]
    tokens: int
    cut: int
    characters: int


async def fit(messages: Sequence[str], room: int, measure: Callable[[Sequence[str]], Awaitable[int]]) -> Fitted:
    """Messages whose prompt has at most `room` tokens. `measure` gives the tokens of the prompt around messages.

    What is kept of a message is its end, where conclusions stand. Where not even empty messages fit, none is left.
    """
    tokens = await measure(messages)
    if tokens <= room:
        return Fitted(list(messages), tokens, 0, 0)
    bare = await measure([MARK] * len(messages))
    lengths = [len(message) for message in messages]
    characters = float(sum(lengths))
    for _ in range(ATTEMPTS if bare < room else 0):
        characters *= min(0.95, (room - bare) / max(1, tokens - bare))
        cap = level(lengths, int(characters))
        kept = [message if len(message) <= cap else MARK + message[len(message) - cap :] for message in messages]
        tokens = await measure(kept)
        if tokens <= room:
            cut = [length - cap for length in lengths if length > cap]
            return Fitted(kept, tokens, len(cut), sum(cut))
    return Fitted([], await measure([]), len(messages), sum(lengths))


def level(lengths: Sequence[int], total: int) -> int:
    """The largest cap for which the lengths, none above the cap, sum to at most `total`."""
    left = total
    for place, length in enumerate(ordered := sorted(lengths)):
        share = left // (len(ordered) - place)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)
