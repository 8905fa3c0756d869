r"""Expressions that an answer does not mark: `The answer is 2\sqrt{3}.`, a last line `(1, 2)`, `So x = \frac{3}{4}`.

math-verify reads LaTeX between `$…$`, `\(…\)` and `\[…\]` and in boxes, and numbers anywhere. Of LaTeX without such
a mark it takes a number that stands in it (2, of the first of these), and of a pair its last number or nothing. Here
is found what such an answer gives, in one pass over a line; all else is left to math-verify.

Nothing is guessed: where the sentence of "the answer is" holds several expressions, none of them is the answer.
Letters that stand together are a word, so that `2xy` is not read as a product.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from step3vl.grading.extraction import phrased_answer

SEVERAL = ""
"""What an answer gives whose final sentence holds several expressions."""

_RUN = re.compile(
    r"(?:\\(?:text|mbox|mathrm|mathbf|operatorname)\{[^{}\\]*\}|\\(?:begin|end)\{[a-z]{1,12}\*?\}|\\(?:[A-Za-z]++|\W)"
    r"|[\d,;:+\-*/^_=<>|!'%()\[\]{}&\s−π≤≥≠∅]|\.(?!\s)"
    r"|(?<![^\W\d_])(?:[A-Za-z](?![^\W\d_])|sqrt(?=[({])|(?:and|or)(?![^\W\d_])))++"
)
"""What may stand in an expression: no word of several letters but a few."""
_ENVIRONMENT = re.compile(r"\$|\\[(\[]|\\f?boxed")
_EVIDENCE = re.compile(r"\d|\\[A-Za-z{]|[=<>^π∅≤≥≠]")
_LATEX = re.compile(r"\\[A-Za-z{]")
_IN_DIGITS = re.compile(r"[\d.,\-%]+|[\d.\s+\-*/^()%]+")
_NUMBER = re.compile(r"-?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?|-?\s?\d+/\d+")
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_AROUND = " \t.,;:*_`。"
_CONJUNCTIONS = ("and", "or")
_ARTICLES = ("a", "A", "I")
_OPERATORS = "+-*/^_=<>|!%)]},;:−≤≥≠&"


class _Run(NamedTuple):
    """An expression in a line, where it begins, and whether a clause ends with it."""

    text: str
    start: int
    closed: bool


def unmarked_expression(answer: str) -> str | None:
    """The expression that an answer without a mark gives.

    A line that is an expression is what it gives: the one after a phrase such as "the answer is", else the last one.
    After a phrase that is followed by words too, it is an expression that ends a clause, as in "x^2, because", or the
    only expression, and without a phrase the last one; an expression between words is LaTeX, or a pair, an interval
    or a set in brackets. A number right after a phrase counts, whatever is explained in later clauses and lines.

    Returns:
        The expression; None where math-verify's own search is to decide; `SEVERAL`.
    """
    phrased = phrased_answer(answer)
    lines = (answer if phrased is None else phrased).strip().splitlines() or [""]
    line = lines[-1 if phrased is None else 0].strip(_AROUND)
    if _ENVIRONMENT.search(answer if phrased is None else line):
        return None
    runs = list(_runs(line))
    if not runs:
        return None
    text, is_first = runs[0].text, phrased is not None and runs[0].start == 0
    if is_first and (runs[0].closed or len(runs) == 1) and _NUMBER.fullmatch(text):
        return text.replace("%", r"\%")
    if text == line or (is_first and runs[0].closed):
        return None if _IN_DIGITS.fullmatch(text) else text
    if phrased is not None and len(runs) > 1:
        return SEVERAL if any(_LATEX.search(run.text) for run in runs) else None
    text = runs[-1].text
    return text if _LATEX.search(text) or _in_brackets(text) else None


def _in_brackets(text: str) -> bool:
    """Whether a text is a pair, an interval or a set."""
    return "," in text and text[0] in "([{" and text[-1] in ")]}"


def _runs(line: str) -> Iterator[_Run]:
    """The expressions of a line in order."""
    for match in _RUN.finditer(line):
        text = _trimmed(_between_brackets(match[0]))
        if _EVIDENCE.search(text) or _in_brackets(text):
            ending = match[0].rstrip()[-1] + line[match.end() : match.end() + 1]
            yield _Run(text, match.start(), ending[0] in ",;:(" or ending[1:] in ".。")


def _between_brackets(text: str) -> str:
    """The text without brackets that are the sentence's: "(" at its end, or ")" and on; "" if others do not match."""
    text = text.rstrip().removesuffix("(")
    depth = 0
    for place, character in enumerate(text):
        depth += _BRACKETS.get(character, 0)
        if depth < 0:
            return text[:place]
    return text if depth == 0 else ""


def _trimmed(text: str) -> str:
    """The text without the punctuation and the words of a sentence around it."""
    words = text.strip(_AROUND).split(" ")
    while len(words) > 1 and (words[0] in _CONJUNCTIONS or (words[0] in _ARTICLES and words[1][:1] not in _OPERATORS)):
        del words[0]
    while words and words[-1] in _CONJUNCTIONS:
        del words[-1]
    return " ".join(words).strip(_AROUND)
