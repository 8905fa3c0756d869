"""Exact texts and transcripts."""

import unicodedata

from rapidfuzz.distance import Levenshtein

from step3vl.data.sample import TextTruth, TranscriptTruth
from step3vl.grading.extraction import marked_answer, phrased_answer
from step3vl.grading.verdicts import UNPARSABLE, Grade, exact

MAX_COMPOSED = 2**12
"""Characters of a text that are brought into NFKC, which turns some into eighteen; the rest is only folded."""
MAX_TRANSCRIPT = 24_000
"""Characters of a transcript that are compared; the edit distance takes time in the square of it."""
_MAX_MARKS = 30
"""Combining marks in a row that are kept, as in the Stream-Safe Text Format of Unicode Standard Annex 15: to bring n
of them into their canonical order takes time in the square of n."""

_QUOTES = (("**", "**"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("「", "」"), ("$", "$"), (r"\text{", "}"))


def normalise(text: str) -> str:
    """NFKC, case folded, runs of white space as one space, no closing full stop."""
    text = " ".join(text.split())
    if not text.isascii():
        text = unicodedata.normalize("NFKC", stream_safe(text[:MAX_COMPOSED])) + text[MAX_COMPOSED:]
    return " ".join(text.casefold().split()).rstrip(".。")


def stream_safe(text: str) -> str:
    """The text with no more than `_MAX_MARKS` combining marks in a row, so that it is composed in linear time."""
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def unquoted(text: str) -> str:
    """The text without the quotation marks or the markup around all of it."""
    text = text.strip()
    for opening, closing in _QUOTES:
        inner = text.removesuffix(".").removeprefix(opening)
        if len(inner) < len(text.removesuffix(".")) and inner.endswith(closing):
            return inner.removesuffix(closing).strip()
    return text


def final_answer(answer: str) -> str:
    r"""What two answers are compared by: what the last `\boxed{…}` or answer tag holds, or all of it, normalised."""
    marked = marked_answer(answer)
    return normalise(answer if marked is None else marked)


def grade_text(truth: TextTruth, answer: str) -> Grade:
    """Compare an exact text after `normalise`: the whole answer, or the part that it marks as final."""
    if not answer.strip():
        return UNPARSABLE
    expected = normalise(truth.text)
    readings = (answer, marked_answer(answer), phrased_answer(answer))
    texts = {text for reading in readings if reading is not None for text in (reading, unquoted(reading))}
    return exact(any(normalise(text) == expected for text in texts))


def grade_transcript(truth: TranscriptTruth, answer: str) -> Grade:
    """Grade a longer text by one minus its edit distance over the longer length, runs of white space as one space.

    "correct" means a perfect copy. What lies beyond `MAX_TRANSCRIPT` characters counts as wrong unless all is equal.
    """
    if not answer.strip():
        return UNPARSABLE
    transcript, expected = " ".join(answer.split()), " ".join(truth.text.split())
    if transcript == expected:
        return Grade(1.0, "correct")
    beyond = max(len(transcript), len(expected)) - MAX_TRANSCRIPT
    if beyond <= 0:
        return Grade(Levenshtein.normalized_similarity(transcript, expected), "wrong")
    distance = Levenshtein.distance(transcript[:MAX_TRANSCRIPT], expected[:MAX_TRANSCRIPT]) + beyond
    return Grade(max(1 - distance / max(len(transcript), len(expected)), 0.0), "wrong")
