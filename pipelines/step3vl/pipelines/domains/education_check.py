"""The independent checks of exercises and problems: answers are computed once more from the finished sample, by SymPy.

They share nothing with what built the sample: they see the words of question and answer and the truth. Of an exercise
they find a label that stands for another option, a rounding that is off, and a step whose sides differ.
"""

import re
from collections.abc import Callable
from math import gcd, lcm

import sympy

from step3vl.data.sample import MathTruth, NumberTruth, OptionTruth, Sample, TextPart
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked

_EQUATION = re.compile(r"[=≈]")
_ARITHMETIC = re.compile(r"(?:sin|cos|tan|[\d\s.+−×÷/()√π°⁰¹²³⁴⁵⁶⁷⁸⁹|])+")
_WORDS_BEFORE = re.compile(r"^[^\d√|]*(?:[:：,，]|[A-Za-z\u4e00-\u9fff]{2,}(?<!sin)(?<!cos)(?<!tan))\s+(?=[(\d√|−])")
_UNIT = re.compile(r"(?<=[\d)°π])(?:%|\s+[A-Za-zΩ°]+[²³]?(?:/[A-Za-z]+[²³]?)*)?\s*[。.]?$")
_LIST = re.compile(r"[=≈][^=≈]*(?:\band\b|[和，,、])[^=≈]*=")  # several values, such as `x = 1 and x = 3`
_ROUNDING = re.compile(r"[Rr]ound to|保留|取整数")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_CLOSE = 1e-6
_ROUNDED = 0.06  # of a value after ≈, which has one decimal or more


class CheckExercises:
    """Checks samples of `education.figures` and `education.worksheets`.

    Args:
        entry: Of either.
        context: Of the step.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        self._families = ("chemistry.balance",)  # whose last equation is a test, and not the answer

    def __call__(self, sample: Sample, /) -> str | None:
        """None for a right label, else `step_differs` or `answer_differs`.

        Raises:
            Unchecked: The answer has no steps that are equations, or is a word.
        """
        if sample.messages is None or len(sample.messages) != 2:
            raise Unchecked("several_turns" if sample.messages else "running_text")
        lines = sample.answer().split("\n")
        if len(lines) < 2 or lines[0].startswith("1. "):
            raise Unchecked("answer_without_steps")
        result, signs = None, ""
        for line in lines[:-1]:
            if _LIST.search(line):
                continue
            sides = _EQUATION.split(line)
            values = [value_of(side) for side in sides]
            signs = "".join(_EQUATION.findall(line)) or signs
            for i in range(len(values) - 1):
                left, right = values[i], values[i + 1]
                if left is None or right is None:
                    continue
                allowed = _ROUNDED if _EQUATION.findall(line)[i] == "≈" else _CLOSE * max(1, abs(left))
                if abs(left - right) > allowed:
                    return "step_differs"
            if len(values) > 1 and values[-1] is not None:
                result = values[-1]
        if result is None:
            raise Unchecked("no_equation")
        if sample.source is not None and any(name in sample.source.collected_by for name in self._families):
            raise Unchecked("another_equation")
        expected = _expected(sample)
        if expected is None:
            raise Unchecked("answer_is_a_word")
        on_page = sample.task == "education.worksheets"  # where the rounding that is asked for stands, too
        rounded = "≈" in signs or on_page or _ROUNDING.search(_question(sample)) is not None
        allowed = _ROUNDED if rounded else _CLOSE * max(1, abs(result))
        return None if abs(expected - result) <= allowed else "answer_differs"


class CheckProblems:
    """Checks samples of `education` whose question is in words and says all that is computed.

    Args:
        entry: Any.
        context: Of the step.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        """Nothing to load."""

    def __call__(self, sample: Sample, /) -> str | None:
        """None for a right label, else `answer_differs`.

        Raises:
            Unchecked: The question is in the image, or of a family that only its generator can solve.
        """
        solve = _SOLVERS.get(sample.task.rpartition(".")[2])
        if solve is None:
            raise Unchecked("no_second_way")
        if sample.images or sample.messages is None:
            raise Unchecked("no_question_in_words")
        assert isinstance(sample.truth, NumberTruth)
        result = solve(_question(sample))
        return None if abs(result - sample.truth.value) <= _CLOSE * max(1, abs(result)) else "answer_differs"


def _integers(question: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", question)]


def _calculated(question: str) -> float:
    """The value of the calculation at the end of a question."""
    (formula,) = re.findall(r"([-\d(][-+*/(). \d]*[\d)])\s*[.=]?$", question.strip())
    return float(sympy.sympify(formula, rational=True))


def _solved(question: str) -> float:
    """The unknown of the equation after the last colon."""
    left, _, right = question.rpartition(":")[2].partition("=")
    difference = sympy.sympify(left) - sympy.sympify(right)
    (solution,) = sympy.solve(difference)
    return float(solution)


def _primes(question: str) -> float:
    low, high = _integers(question)
    return sum(sympy.isprime(number) for number in range(low, high + 1))


_SOLVERS: dict[str, Callable[[str], float]] = {
    "basic_arithmetic": _calculated,
    "chain_sum": _calculated,
    "count_primes": _primes,
    "gcd": lambda question: gcd(*_integers(question)),
    "lcm": lambda question: lcm(*_integers(question)),
    "simple_equations": _solved,
}


def _question(sample: Sample) -> str:
    assert sample.messages is not None
    return "\n".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))


def _expected(sample: Sample) -> float | None:
    truth = sample.truth
    if isinstance(truth, NumberTruth):
        return truth.value
    if isinstance(truth, MathTruth):
        from math_verify import parse

        parsed = parse(f"${truth.expression}$", parsing_timeout=None)
        return float(parsed[0]) if parsed and parsed[0].is_number else None
    if isinstance(truth, OptionTruth) and truth.option[1:3] == ". ":
        return value_of(truth.option[3:])
    return None


def value_of(text: str) -> float | None:
    """The number that the arithmetic at the end of a text gives; None where a name stands for a number."""
    text = _UNIT.sub("", _WORDS_BEFORE.sub("", text.strip()))
    if not _ARITHMETIC.fullmatch(text) or not re.search(r"[\dπ]", text):
        return None
    source = text.replace("°", "").replace("−", "-").replace("×", "*").replace("÷", "/").replace("π", " pi ")
    source = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda match: f"**{match[0].translate(_RAISED)}", source)
    source = re.sub(r"(sin|cos|tan) (\d+)", r"\1(pi*\2/180)", source)
    source = re.sub(r"√(\d+(?:\.\d+)?)", r"sqrt(\1)", source).replace("√(", "sqrt(")
    source = re.sub(r"\|([^|]*)\|", r"Abs(\1)", source)
    source = re.sub(r"(?<=[\d)])\s*(?=sqrt|pi|sin|cos|tan|\()|(?<=pi)\s+(?=[\dspi(])", "*", source)
    try:
        value = sympy.sympify(source, rational=True)
    except (sympy.SympifyError, SyntaxError, TypeError, ValueError):
        return None
    return float(value) if value.is_number and value.is_finite else None
