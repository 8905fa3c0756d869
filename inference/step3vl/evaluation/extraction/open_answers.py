"""MMMU's rule for open questions (utils/eval_utils.py of its repository), and our strict one."""

import re
from collections.abc import Sequence

from step3vl.evaluation.item import Score
from step3vl.grading import marked_answer, normalise
from step3vl.grading.extraction import phrased_answer
from step3vl.grading.number import Reading, read_number

_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = frozenset(":,.!?;'")
_GROUPED = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
# As the official patterns, but a number is looked for at its first digit only, so that they take linear time.
_SCIENTIFIC = re.compile(r"-?(?<!\d)\d++(?:\.\d++)?[eE][+-]?\d+")
_PLAIN = re.compile(r"-?(?:(?<!\d)\d++\.\d++|\.\d++|(?<!\d)\d++\b)(?![eE][+-]?\d)(?![,\d])")
_MAX_CHARS = 2**16


def read_mmmu_open(response: str) -> set[str | float]:
    """What MMMU takes for predicted answers: the ends of sentences after a cue, and all numbers in them.

    Texts are in lower case, numbers rounded to two decimals, and a text of one character is padded with a blank, so
    that it does not match within words.
    """
    response = response[-_MAX_CHARS:].strip().strip(".").lower()
    sentences = response.split("\n")  # the official pattern for ends of sentences wants a capital after lowering all
    ends = []
    for number, sentence in enumerate(sentences, 1):
        cues = (*_CUES, "=") if number == len(sentences) else _CUES
        tails = [sentence.rpartition(cue)[2].strip() for cue in cues if cue in sentence]
        # An empty end does not count, unless it is a later one.
        shortest = ""
        for tail in tails:
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in _TRIVIAL:
            ends.append(shortest)
    answers = ends or [response]
    numbers = [
        number for end in answers for pattern in (_GROUPED, _SCIENTIFIC, _PLAIN) for number in pattern.findall(end)
    ]
    return {value for answer in (*answers, *numbers) for value in _normalised(answer)}


def matches_mmmu_open(predicted: set[str | float], answers: Sequence[str]) -> bool:
    """Whether a predicted number equals an answer, or a predicted text contains one."""
    values = [value for answer in answers for value in _normalised(answer)]
    texts = [value for value in values if isinstance(value, str)]
    return any(
        any(text in prediction for text in texts) if isinstance(prediction, str) else prediction in values
        for prediction in predicted
    )


def _normalised(text: str) -> list[str | float]:
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def score_strictly(response: str, answers: Sequence[str]) -> Score:
    """The score by the strict rule for an open question.

    What the response marks as final, or gives after a phrase such as "Final answer:", else its last line, must hold
    an answer's number (to two decimals) or its text as whole words. An empty response is unparsable.
    """
    lines = response.strip().splitlines()
    final = marked_answer(response) or phrased_answer(response) or (lines[-1] if lines else "")
    final = final.strip()[:_MAX_CHARS]
    if not final:
        return Score.unparsable("empty")
    number, text = read_number(final), normalise(final)
    return Score.of(any(_has_answer(number, text, answer) for answer in answers), final, "final part")


def _has_answer(number: Reading | None, text: str, answer: str) -> bool:
    value = _normalised(answer)[0]
    if isinstance(value, float):
        return number is not None and round(number.value, 2) == value
    return re.search(rf"(?<!\w){re.escape(normalise(answer))}(?!\w)", text) is not None
