"""Problems from generators, kept only when an independent check confirms their answers.

reasoning-gym scores its own answer again; an answer of mathgenerator is compared with what math-verify computes from
the problem's own formula. Both libraries are slow to import, so they are imported where they are used.
"""

import logging
import random
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, Literal, NamedTuple

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.education.problem_wording import reword, tidy_formula

Option = int | float | bool | str
Answer = Literal["number", "text", "yes_no"]

_BLOCK = 1000  # items of one reasoning-gym dataset; some families load a dictionary for each dataset
_LOCK = Lock()  # mathgenerator uses a module-wide random generator
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class GeneratedProblem(NamedTuple):
    """`question` in full; `formula` is what an image shows when the question is a plain calculation."""

    question: str
    formula: str | None
    answer: str


class Family(NamedTuple):
    """The kind of a family's answers, and the key of its metadata that holds a formula, if any.

    Only families whose answer is unique belong here: a truth compares with the one answer stored.
    """

    answer: Answer
    formula: str | None = None


REASONING_GYM: dict[str, Family] = {
    "aiw": Family("number"),
    "basic_arithmetic": Family("number", "expression"),
    "calendar_arithmetic": Family("text"),
    "chain_sum": Family("number", "expression"),
    "color_cube_rotation": Family("text"),
    "count_bits": Family("number"),
    "count_primes": Family("number"),
    "course_schedule": Family("text"),
    "decimal_chain_sum": Family("number", "expression"),
    "family_relationships": Family("text"),
    "gcd": Family("number"),
    "gsm_symbolic": Family("number"),
    "isomorphic_strings": Family("text"),
    "largest_island": Family("number"),
    "lcm": Family("number"),
    "leg_counting": Family("number"),
    "letter_counting": Family("number"),  # words: the name that reasoning-gym gives it
    "number_sequence": Family("number"),
    "products": Family("number", "expression"),
    "simple_equations": Family("number", "equation"),
    "spell_backward": Family("text"),
    "syllogism": Family("yes_no"),
    "time_intervals": Family("text"),
}
MATHGENERATOR: dict[str, Family] = {
    name: Family("number")
    for name in (
        "absolute_difference",
        "addition",
        "divide_fractions",
        "division",
        "exponentiation",
        "factorial",
        "fraction_multiplication",
        "multiplication",
        "square",
        "square_root",
        "subtraction",
    )
}


def family_of(name: str) -> Family:
    """A family by its name, which is `mathgenerator.NAME` for those of mathgenerator.

    Raises:
        KeyError: The family is in neither table.
    """
    library, _, short = name.rpartition(".")
    return (MATHGENERATOR if library == "mathgenerator" else REASONING_GYM)[short if library else name]


def make_problem(name: str, options: Mapping[str, Option], number: int, rng: random.Random) -> GeneratedProblem:
    """A problem of a family, its answer verified and its wording corrected.

    Args:
        name: Of the family.
        options: Of the family's generator.
        number: Which problem of a reasoning-gym family.
        rng: What a mathgenerator family generates from.

    Raises:
        Dropped: `unverified`, when the independent check does not confirm the answer; `unclear`, when the wording
            leaves more than one.
    """
    library, _, short = name.rpartition(".")
    if library == "mathgenerator":
        return _mathgenerator_problem(short, options, rng)
    return _reasoning_gym_problem(name, options, number)


def load_generators(names: list[str]) -> None:
    """Import what the families need, once, so that no single problem pays for it."""
    if any("." not in name for name in names):
        import reasoning_gym  # noqa: F401
    if any("." in name for name in names):
        import mathgenerator  # noqa: F401


@lru_cache(maxsize=128)
def _gym(name: str, options: tuple[tuple[str, Option], ...], block: int) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(name, size=_BLOCK, seed=block * _BLOCK, **dict(options))


def _reasoning_gym_problem(name: str, options: Mapping[str, Option], number: int) -> GeneratedProblem:
    dataset = _gym(name, tuple(sorted(options.items())), number // _BLOCK)
    entry = dataset[number % _BLOCK]
    answer = str(entry["answer"]).strip()
    if not answer or not dataset.score_answer(entry["answer"], entry) > 0.99:
        raise Dropped("unverified")
    key = REASONING_GYM[name].formula
    formula = None if key is None else str(entry["metadata"][key])
    if formula is not None and "=" not in formula:
        formula += " ="
    return GeneratedProblem(reword(name, str(entry["question"]).strip(), answer), formula, answer)


def _mathgenerator_problem(name: str, options: Mapping[str, Option], rng: random.Random) -> GeneratedProblem:
    import mathgenerator

    generator: Callable[..., tuple[str, str]] = getattr(mathgenerator, name)
    with _LOCK:
        state = random.getstate()
        random.seed(rng.random())
        question, solution = generator(**options)
        random.setstate(state)
    expression = question.strip().strip("$").rstrip("= ")
    answer = solution.strip().strip("$")
    if not _equal(expression, answer):
        raise Dropped("unverified")
    formula = tidy_formula(name, plain_maths(expression))
    return GeneratedProblem(f"Calculate {formula}.", f"{formula} =", plain_maths(answer))


def _equal(expression: str, answer: str) -> bool:
    """Whether math-verify computes the answer from the expression."""
    from math_verify import parse, verify

    # It warns at every call that its time limit, which needs the main thread's signals, is off.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    left = parse(f"${expression}$", parsing_timeout=None)
    right = parse(f"${answer}$", parsing_timeout=None)
    return bool(left and right and verify(right, left, timeout_seconds=None))


def plain_maths(latex: str) -> str:
    """The small part of LaTeX that these generators use, as Unicode text."""
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", latex)
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"√\1", text)
    text = re.sub(r"\^\{?(-?\d+)\}?", lambda match: match[1].translate(_SUPERSCRIPTS), text)
    for command, sign in ((r"\cdot", "×"), (r"\times", "×"), (r"\div", "÷")):
        text = text.replace(command, f" {sign} ")
    text = re.sub(r"(?<=[\d|)])\s*([-+])\s*(?=-?\d)", r" \1 ", text)
    return " ".join(text.split())
