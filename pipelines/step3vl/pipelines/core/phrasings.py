"""How questions are worded: many phrasings in English and Chinese."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

Language = Literal["en", "zh"]


def combine(
    separator: str, verbs: Sequence[str], objects: Sequence[str], sentences: Sequence[str] = ()
) -> tuple[str, ...]:
    """Every verb with every object, then whole sentences.

    Args:
        separator: Between the two: a space in English, nothing in Chinese.
        verbs: Beginnings, such as "Write out".
        objects: The rest of the sentence.
        sentences: Phrasings that are no combination.
    """
    return (*(f"{verb}{separator}{rest}" for verb, rest in product(verbs, objects)), *sentences)
