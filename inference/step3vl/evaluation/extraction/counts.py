"""How many a response says there are."""

import re

from step3vl.grading import marked_answer
from step3vl.grading.extraction import phrased_answer
from step3vl.grading.number import read_number

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_WORD = re.compile(rf"\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_MAX_CHARS = 2**12


def read_count(response: str) -> float | None:
    """The number that a response gives, also as a word up to twenty; None without one.

    What the response marks as final, or says after a phrase such as "Final answer:", counts first; in each place
    digits count before words, and words only where there is no more than one of them: "one of the three" is no count.
    """
    for text in (marked_answer(response), phrased_answer(response), response):
        if text is None:
            continue
        number = read_number(text)
        if number is not None:
            return number.value
        words = {word.lower() for word in _WORD.findall(text[-_MAX_CHARS:])}
        if len(words) == 1:
            return float(NUMBER_WORDS.index(words.pop()))
    return None
