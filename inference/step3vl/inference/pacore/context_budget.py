"""Truncate conclusions to fit a context: the longest ones are cut, the others stay complete."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

ELLIPSIS = "… "  # before what is left of a conclusion
ATTEMPTS = 16  # each comes closer; texts are at most a few times denser in tokens than the average


class FittedConclusions(NamedTuple):
    """Conclusions that fit a context.

    Attributes:
        conclusions: The texts, truncated where necessary.
        tokens: Tokens of the prompt around them.
        cut: How many were truncated or left out.
        cut_characters: How many characters were removed in total.
    """

    conclusions: list[str]
    tokens: int
    cut: int
    cut_characters: int


async def fit_conclusions(
    conclusions: Sequence[str], limit: int, measure: Callable[[Sequence[str]], Awaitable[int]]
) -> FittedConclusions:
    """Truncate conclusions until their prompt has at most `limit` tokens.

    The end of a conclusion is kept, where results stand. If not even empty conclusions fit, none is left.

    Args:
        conclusions: The texts in order.
        limit: Most tokens of the prompt.
        measure: Returns the tokens of the prompt around some conclusions.
    """
    tokens = await measure(conclusions)
    if tokens <= limit:
        return FittedConclusions(list(conclusions), tokens, 0, 0)
    minimum = await measure([ELLIPSIS] * len(conclusions))
    lengths = [len(conclusion) for conclusion in conclusions]
    characters = float(sum(lengths))
    for _ in range(ATTEMPTS if minimum < limit else 0):
        characters *= min(0.95, (limit - minimum) / max(1, tokens - minimum))
        cap = length_cap(lengths, int(characters))
        truncated = [text if len(text) <= cap else ELLIPSIS + text[len(text) - cap :] for text in conclusions]
        tokens = await measure(truncated)
        if tokens <= limit:
            removed = [length - cap for length in lengths if length > cap]
            return FittedConclusions(truncated, tokens, len(removed), sum(removed))
    return FittedConclusions([], await measure([]), len(conclusions), sum(lengths))


def length_cap(lengths: Sequence[int], total: int) -> int:
    """Return the largest cap for which the lengths, each at most the cap, sum to at most `total`."""
    remaining = total
    for index, length in enumerate(ordered := sorted(lengths)):
        share = remaining // (len(ordered) - index)
        if length > share:
            return share
        remaining -= length
    return max(lengths, default=0)
