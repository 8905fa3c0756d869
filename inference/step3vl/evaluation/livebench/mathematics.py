"""LiveBench's tasks of mathematics."""

import re

from rapidfuzz.distance import Levenshtein

from step3vl.evaluation.extraction.latex import math_equal
from step3vl.evaluation.livebench.marks import between, boxed, plain

_OPTION = re.compile(r"\\textbf{\(([A-E])\)\s?}(.*?)(?:\\qquad|\$)")
_LIST_SIGNS = ("$", "{", "}", "\\", "boxed", "<", ">")
_CONSTANTS = ("+C", "+ C", "+ c", "+c")
_LAYOUT = ("\\left", "\\right", "\\bigl", "\\bigr", "\\Bigl", "\\Bigr", "\\,", "\\;", "\n")


def contest(truth: str, response: str, question: str) -> float:
    """AMC and SMC: the letter in tags, four times in a row, in the box or in the last line; or the option's value."""
    tagged = between(response, "<solution>", "</solution>")[-1:]
    if tagged and tagged[0] and set(tagged[0].lower()) == {truth.lower()}:
        return 1.0
    if truth * 4 in response:
        return 1.0
    content = boxed(response)
    if content is not None and plain(content).lower() == truth.lower():
        return 1.0
    value = _option_value(question, truth)
    if value in response[-20 - len(value) :]:
        return 1.0
    last_line = response.strip().split("\n")[-1]
    bracketed = last_line.partition("(")[2].partition(")")[0] if ")" in last_line else ""
    return float(truth.lower() in (last_line.strip().replace("*", "").lower(), bracketed.lower()))


def _option_value(question: str, letter: str) -> str:
    values = {match[1]: match[2].strip() for match in _OPTION.finditer(question)}
    # A question whose options are too long to repeat has none that can be read.
    return (values.get(letter) or "FAILURE").strip().strip("$").strip("~")


def aime(truth: str, response: str) -> float:
    """The number stands in the last 50 characters."""
    return float(truth in response[-50:])


def olympiad(truth: str, response: str) -> float:
    """The order of formulas: one minus the edit distance to the true one, over the longer length."""
    expected = [int(number) for number in truth.split(",")]
    numbers = _listed_numbers(response)
    longer = max(len(numbers), len(expected))
    return 1 - Levenshtein.distance(numbers, expected) / longer


def _listed_numbers(response: str) -> list[int]:
    """The numbers after the last "answer:", else in the box, else in the last line; -1 for what is no number."""
    text = response.lower().strip()
    if "answer:" in text:
        lines = text.split("\n")
        index = max(index for index, line in enumerate(lines) if "answer:" in line)
        after = lines[index].split("answer:")[1].replace("**", "").replace(".", "").strip()
        if not after and index < len(lines) - 1:
            after = lines[index + 1].replace("**", "").replace(".", "").strip()
        words = [entry.strip().split(" ")[-1] for entry in after.split(",")]
        numbers = [_integer(plain(word, _LIST_SIGNS)) for word in words]
        if any(number >= 0 for number in numbers):
            return numbers
    if "\\boxed" in response:
        content = boxed(response)
        inner = plain(response if content is None else content)
        numbers = [_integer(entry) for entry in inner.strip().split(",")]
        if any(number >= 0 for number in numbers):
            return numbers
    numbers = [int(digits) for digits in map(_first_digits, text.split("\n")[-1].split(",")) if digits]
    if numbers:
        return numbers
    return _numbers_until_text(text.split("answer:")[-1])


def _numbers_until_text(text: str) -> list[int]:
    numbers: list[int] = []
    for index, entry in enumerate(text.split(",")):
        digits = _first_digits(entry.strip())
        numbers += [int(digits)] if digits else []
        if index > 0 and len(digits) < len(entry.strip()):
            break
    return numbers


def _integer(text: str) -> int:
    digits = text.strip()
    return int(digits) if digits.isdecimal() and len(digits) < 1000 else -1


def _first_digits(text: str) -> str:
    match = re.search(r"\d{1,1000}", text)
    return match[0] if match else ""


def amps_hard(truth: str, response: str) -> float:
    """The box, else the last formula, is equal to the answer as an expression; else the response ends with it."""
    text = plain(response, _CONSTANTS).replace("\\\\fbox{", "\\\\boxed{")
    text = plain(text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac"), _LAYOUT).replace("\\cdot", "*")
    expected = plain(truth, ("\\left", "\\right")).replace(" ^", "^").replace("\\ ", "*")
    answer = boxed(text)
    if answer is None:
        answer = _last_formula(text)
    if answer is None:
        return float(text.removesuffix(".").endswith(expected))
    return float(math_equal(_normalised(answer), expected))


def _last_formula(text: str) -> str | None:
    """What stands between the last two dollar signs: its last side, or the last of its alternatives."""
    if text.count("$") < 2:
        return None
    formula = text.removesuffix("$") if text.endswith("$$") else text
    before, _, _ = formula.rpartition("$")
    formula = before.removesuffix("$").rpartition("$")[2] if before.endswith("$") else before.rpartition("$")[2]
    if "=" in formula:
        return formula.rpartition("=")[2].strip()
    return formula.rpartition("\\quad \\text{or} \\quad")[2].strip()


_FONTS = re.compile(r"\\(?:text|textbf|overline)\{([^}]*)\}")
_SHORT_FRACTION = re.compile(r"frac([^{])(.)")
_SHORT_ROOT = re.compile(r"sqrt([^{\[])")


def _normalised(answer: str) -> str:
    """The last side, without fonts and dollar signs, with the braces that LaTeX lets writers leave out."""
    answer = _FONTS.sub(r"\1", answer.rpartition("=")[2])
    answer = _SHORT_ROOT.sub(r"sqrt{\1}", _SHORT_FRACTION.sub(r"frac{\1}{\2}", answer)).replace("$", "")
    return answer.replace(",", "") if answer.replace(",", "").isdigit() else answer
