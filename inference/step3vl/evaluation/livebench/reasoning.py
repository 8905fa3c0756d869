"""LiveBench's tasks of reasoning."""

import re
from itertools import product

from step3vl.evaluation.extraction.counts import NUMBER_WORDS
from step3vl.evaluation.livebench.marks import bold, boxed, plain, solutions

_ANSWERS = ("yes", "no", "unknown")
_NUMBERS = {word: str(number) for number, word in enumerate(NUMBER_WORDS)}
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_MARKED_WORD = re.compile(r"\*\*\*(\w+)\*\*\*")
_SHAPES = ("tetrahedra", "tetrahedron", "triangle", "square")


def spatial(truth: str, response: str) -> float:
    """One of the last three bold texts is the answer (a number also as a word), or the box."""
    if response == truth:
        return 1.0
    answer = truth.strip().lower()
    for part in _BOLD.findall(response)[-3:]:
        word = part.strip().lower()
        with_adjective = answer in _SHAPES and answer in word and len(word) < 2 * len(answer) + 5
        if word == answer or _NUMBERS.get(word) == answer or with_adjective:
            return 1.0
    content = boxed(response)
    return float(content is not None and plain(content, ("\\textbf{", "\\mathbf{", "\\text{", "}")) == truth)


def web_of_lies_v2(truth: str, response: str) -> float:
    """Three words, in tags, else the last three in bold, else in the box, else anywhere."""
    answer: str | None = next(iter(solutions(response)[-1:]), None)
    if answer is None:
        words = [word for part in bold(response) for word in part.split()]
        cleaned = [word.lower().replace(",", "").replace(".", "") for word in words]
        answer = ", ".join([word for word in cleaned if word in _ANSWERS][-3:]) or None
    if answer is None or not answer.strip():
        content = boxed(response.replace("\\textbf{", "\\boxed{"))
        answer = content if content is not None else answer
    if answer is None:
        answer = _last_triple(response.lower())
    if not answer:
        return 0.0
    counted = sum(answer.count(word) for word in _ANSWERS) == 3
    return float(answer == truth.lower() or (counted and truth.lower() in answer))


def _last_triple(text: str) -> str | None:
    triples = [", ".join(triple) for triple in product(_ANSWERS, repeat=3)]
    # The official rule takes the triple whose first occurrence comes last.
    places = [(text.find(triple), triple) for triple in triples]
    position, triple = max(places, key=lambda place: place[0])
    return triple if position >= 0 else None


def zebra_puzzle(truth: str, response: str) -> float:
    """A list in tags, the box or the last line: half for the share of right entries, half for all of them."""
    expected = [entry.strip().lower().replace("-", " ") for entry in truth.split(",")]
    lists = solutions(response)
    if not lists:
        content = boxed(response)
        last_line = response.strip().split("\n")[-1]
        if content is not None:
            lists = [plain(content)]
        elif last_line.count(",") == len(expected) - 1:
            lists = [last_line]
        else:
            return 0.0
    entries = [entry for text in lists for entry in text.split(",")]
    if len(lists) > 1:
        entries = entries[-len(expected) :]
    entries = [entry.strip().lower().replace("-", " ").replace("position", "") for entry in entries]
    right = sum(value in entry for value, entry in zip(expected, entries, strict=False))
    return ((right == len(expected)) + right / len(expected)) / 2


def zebra_puzzle_2024(truth: str, response: str) -> float:
    """The rule before the release 2024-11-25: the last text in triple asterisks, else the last word."""
    words = _MARKED_WORD.findall(response) or re.findall(r"\w+", response) or [""]
    answer = words[-1]
    spelled = next((word for word, digits in _NUMBERS.items() if digits == answer and 0 < int(digits) < 10), "")
    return float(truth.lower() in (answer.lower(), spelled, f"{answer.lower()} movies"))
