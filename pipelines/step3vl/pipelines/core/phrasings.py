"""How questions are worded: many phrasings in English and Chinese."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

Language = Literal["en", "zh"]

STEP: dict[Language, str] = {"en": " Values are multiples of {step}.", "zh": "数值均为 {step} 的倍数。"}
"""Follows a question about values that stand nowhere in the image and can only be read off an axis."""


def joined(*parts: Sequence[str]) -> tuple[str, ...]:
    """Every way to join one of each of the parts."""
    return tuple("".join(chosen) for chosen in product(*parts))


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
    return (*joined(verbs, (separator,), objects), *sentences)


def paragraph(language: Language, *sentences: str) -> str:
    """Sentences one after the other, in English with spaces between them; empty ones are left out."""
    return (" " if language == "en" else "").join(filter(None, sentences))
