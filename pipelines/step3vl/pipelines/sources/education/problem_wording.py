"""The wording of generated problems: corrected where the generators' English is broken, dropped where it is unclear.

Every family of the whitelist was read, some fifty problems each. What is said here is what was found wrong: plurals
(`fireflys`), articles (`a indigo`), ambiguous questions, sequences that more than one rule continues, and an answer
that floating point had cut off.
"""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise

from step3vl.pipelines.core.steps import Dropped

_PLURALS = {
    "fireflys": "fireflies", "butterflys": "butterflies", "leechs": "leeches",
    "starfishs": "starfish", "sheeps": "sheep",
    "deers": "deer", "jellyfishs": "jellyfish", "praying mantiss": "praying mantises", "cockroachs": "cockroaches",
    "wolfs": "wolves", "mouses": "mice", "gooses": "geese", "oxs": "oxen", "fishs": "fish", "flys": "flies",
    "dragonflys": "dragonflies", "walruss": "walruses", "octopuss": "octopuses", "cuttlefishs": "cuttlefish",
}  # fmt: skip
_PLURAL = re.compile(r"\b(" + "|".join(sorted(_PLURALS, key=len, reverse=True)) + r")\b")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?!one\b|once\b|eu|ew)[aeio])")
_COUNT_OF_ONE = re.compile(r"\b1 ((?:male |female )?)(brother|sister|friend|colleague)s\b")
_COUNTED_UNIT = re.compile(r"\b(?!1\b)(\d+) (liter|meter|kilogram|mile|yard|pound|gallon)\b")
_CLOCK = re.compile(r"(\d{2}):(\d{2}):(\d{2})\.(\d{3})")


def reword(family: str, question: str, answer: str) -> str:
    """A problem of reasoning-gym in correct English.

    Args:
        family: Of reasoning-gym.
        question: As the library words it.
        answer: As the library gives it.

    Raises:
        Dropped: `unclear`, where a reader may understand it otherwise, or `unverified`, where the answer is wrong.
    """
    change = _CHANGES.get(family)
    return question if change is None else change(question, answer)


def _friends(question: str, answer: str) -> str:
    name = question.split(" ", 1)[0]
    if f"{name}'s brother" not in question and f"friend of {name}" not in question:
        raise Dropped("unclear")
    question = _COUNT_OF_ONE.sub(r"1 \1\2", question)
    return question.replace(
        "They all are friends with each other and have no other friends aside.",
        "They are all friends with each other and have no other friends.",
    )


def _legs(question: str, answer: str) -> str:
    asked = question.rpartition("Now, h")[2]
    return "H" + _PLURAL.sub(lambda match: _PLURALS[match[1]], asked)


def _articles(question: str, answer: str) -> str:
    return _ARTICLE.sub(r"\1n ", question)


def _story(question: str, answer: str) -> str:
    question = _ARTICLE.sub(r"\1n ", question)
    question = _COUNTED_UNIT.sub(r"\1 \2s", question)
    return re.sub(r"(?<=[.?!] )([a-z])", lambda match: match[1].upper(), question)


def _primes(question: str, answer: str) -> str:
    low, high = re.findall(r"\d+", question)[:2]
    return f"How many prime numbers are there between {low} and {high}, both included?"


def _multiple(question: str, answer: str) -> str:
    return question if question.endswith(".") else question + "."


def _sequence(question: str, answer: str) -> str:
    terms = [int(term) for term in re.findall(r"-?\d+", question)]
    continued = {rule(terms) for rule in _RULES} - {None}
    if continued != {int(answer)}:
        raise Dropped("unclear")
    return f"What number comes next in the sequence {question.replace(', ?', '')}, …?"


def _constant(terms: Sequence[int]) -> int | None:
    """The next term if all steps, or all steps of steps, are the same, of at least five and six terms."""
    steps = [b - a for a, b in pairwise(terms)]
    seconds = [b - a for a, b in pairwise(steps)]
    if len(terms) >= 5 and len(set(steps)) == 1:
        return terms[-1] + steps[-1]
    if len(terms) >= 6 and len(set(seconds)) == 1:
        return terms[-1] + steps[-1] + seconds[-1]
    return None


def _factor(terms: Sequence[int]) -> int | None:
    """The next term if each is the same whole multiple of the one before."""
    if len(terms) < 5 or 0 in terms:
        return None
    factors = {b / a for a, b in pairwise(terms)}
    if len(factors) == 1 and (factor := factors.pop()) == int(factor):
        return terms[-1] * int(factor)
    return None


def _sum(terms: Sequence[int]) -> int | None:
    """The next term if each is the sum of the two before."""
    if len(terms) < 6 or any(a + b != c for a, b, c in zip(terms, terms[1:], terms[2:], strict=False)):
        return None
    return terms[-2] + terms[-1]


def _alternating(terms: Sequence[int]) -> int | None:
    """The next term if two take turns."""
    if len(terms) < 6 or len(set(terms)) != 2 or any(a != b for a, b in zip(terms, terms[2:], strict=False)):
        return None
    return terms[-2]


_RULES = (_constant, _factor, _sum, _alternating)


def _interval(question: str, answer: str) -> str:
    clocks = _clocks(question)
    if clocks and (len(clocks) != 2 or _clocks(answer) != [clocks[1] - clocks[0]]):
        raise Dropped("unverified")
    return question


def _clocks(text: str) -> list[timedelta]:
    """The times of day, or spans of time, to milliseconds that a text states."""
    return [
        timedelta(hours=int(h), minutes=int(m), seconds=int(s), milliseconds=int(ms))
        for h, m, s, ms in _CLOCK.findall(text)
    ]


_CHANGES: dict[str, Callable[[str, str], str]] = {
    "aiw": _friends,
    "color_cube_rotation": _articles,
    "count_primes": _primes,
    "gsm_symbolic": _story,
    "lcm": _multiple,
    "leg_counting": _legs,
    "number_sequence": _sequence,
    "time_intervals": _interval,
}


def tidy_formula(family: str, formula: str) -> str:
    """A formula of mathgenerator, with signs and fractions as they are printed.

    Args:
        family: Of mathgenerator.
        formula: As plain text.
    """
    if family == "absolute_difference":
        return re.sub(r"\|\s*-\s*(?=\d)", "|-", formula)
    if family in ("divide_fractions", "fraction_multiplication"):
        return re.sub(r"(\d+/\d+)", r"(\1)", formula)
    return formula
