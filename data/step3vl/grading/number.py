r"""Numbers as people and models write them.

Read are `1,000`, `1 000`, `1{,}000`, full-width digits, `1e3`, `1.5 × 10^3`, `10³`, `3/4`, `1 1/2`, `½` and
`\frac{3}{4}`, signs of percent and currency, and the multipliers thousand, million, billion, trillion, 百, 千, 万 and
亿 (`12万` is 120,000). The exponent of a unit and the index of a variable are no numbers of their own: `12 cm^2` is
12. Number words, decimal commas and abbreviated multipliers (`5k`) are not read, and of an expression with a root or π
no number that stands in it: `2\pi` is not 2.
"""

import math
import re
from typing import NamedTuple

from step3vl.data.sample import CountTruth, NumberTruth
from step3vl.grading.extraction import marked_answer, phrased_answer
from step3vl.grading.verdicts import UNPARSABLE, Grade, exact

_FRACTIONS = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8",
}  # fmt: skip
_VARIANTS = "．，／⁄∕－−–×·⋅％＄￥\u00a0\u2007\u2009\u202f", ".,///---***%$¥    "
_PLAIN = str.maketrans({sign: f" {value}" for sign, value in _FRACTIONS.items()} | dict(zip(*_VARIANTS, strict=True)))
_RAISED = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LOWERED = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")

_LATEX_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|\\[,;:! ])(?=\d{3})")
_LATEX_SIGN = re.compile(r"\\(?:times|cdot|(?=[%$]))")
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mbox|operatorname)\{([^{}\\]*)\}")
_LATEX_FRACTION = re.compile(r"(\d?)\s?\\[cdt]?frac\s?(?:\{([^{}]*)\}\s?\{([^{}]*)\}|(\d)\s?(\d))")

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d++)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d++)?+|(?<!\d)\.\d++)"
# Neither the exponent of `cm^2` or `s^{-1}` nor the index of `x_1`, and no part of a longer number.
_START = r"(?<![\w)}\]][_^])(?<![\w)}\]][_^][{(+-])(?<![\w)}\]][_^]\{[+-])(?<!\d)(?<!\d\.)"
_NUMBER = re.compile(
    rf"{_START}(?P<sign>(?<![\w)}}\]])[-+](?:[$€£¥₹]\s?)?)?"  # a minus between two numbers is no sign
    rf"(?:(?<!\d/)(?:(?P<whole>\d{{1,6}})\s)?(?P<above>{_DECIMAL})\s?/\s?(?P<below>{_DECIMAL})(?!/?\d)"
    rf"|(?P<number>{_DECIMAL})(?:[eE](?P<exponent>[-+]?\d{{1,5}})(?!\w)"
    r"|(?P<times>\s?[*xX]\s?10)?(?:\^|\*\*)[{(]?(?P<power>[-+]?\d{1,5}))?[)}]?)"
    r"(?:\s?(?P<percent>%)|\s?(?P<unit>[百千万萬亿億]{1,2})(?![克米瓦卡赫帕焦伏分])"
    r"|\s(?P<scale>thousand|million|billion|trillion)\b)?",
    re.IGNORECASE,
)
_SPACED_SIGN = re.compile(r"=[ \t]?([-+])[ \t]{1,4}(?=[.\d])")
_APPROXIMATELY = re.compile(r"≈|\\approx(?![a-z])")
_EXPRESSION = re.compile(r"(?<![A-Za-z])(?:pi|sqrt)(?![A-Za-z])|\\(?:log|ln|sin|cos|tan)(?![a-z])|[π√]")
"""What a number is a part of that is not the value."""
_CLAUSE_END = re.compile(r"[;(（，；。\n]|[,.]\s|\b(?:because|since|as|when|where|if|for)\b", re.IGNORECASE)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_WINDOW = 2**12
"""Characters that are searched for a number: the last of an answer."""
_PHRASE_WINDOW = 2**10
"""The same after a phrase such as "the answer is": the first ones."""
_UNITS = {"百": 1e2, "千": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8}


class Reading(NamedTuple):
    """A number (infinite or NaN where no float holds it), and whether it is written as a percentage."""

    value: float
    percent: bool


def read_number(answer: str) -> Reading | None:
    r"""The number that an answer gives; None without one.

    The last number inside of what the answer marks as final; else the first after a phrase such as "the answer is",
    where an equation counts by its last side; else the last number of the answer. Digits inside of a Latin word, as
    in `H2O`, count where there is nothing else.
    """
    marked = marked_answer(answer)
    if marked is not None:
        side = _last_side(marked)
        if _EXPRESSION.search(side):
            return None
        if readings := _readings(side):
            return readings[-1]
    phrased = phrased_answer(answer)
    if phrased is not None:
        phrased = phrased[:_PHRASE_WINDOW]
        side = _last_side(_CLAUSE_END.split(phrased, maxsplit=1)[0])
        if _EXPRESSION.search(side):
            return None
        if readings := _readings(side) or _readings(phrased):
            return readings[0]
    readings = _readings(answer[-_WINDOW:])
    return readings[-1] if readings else None


def _last_side(text: str) -> str:
    """The last side of an equation, with its sign; the approximation of an expression; of all else, all of it."""
    side = text.rpartition("=")[2]
    exact, *approximations = _APPROXIMATELY.split(side)
    return f"={approximations[-1] if approximations and _EXPRESSION.search(exact) else side}"[-_WINDOW:]


def last_number(text: str) -> float | None:
    """The number that a text gives, see `read_number`, a percentage as it is written; None without a finite one."""
    reading = read_number(text)
    return reading.value if reading is not None and math.isfinite(reading.value) else None


def grade_number(truth: NumberTruth, answer: str) -> Grade:
    """Compare a number within the greater of the absolute and the relative tolerance; `45%` is 45 as well as 0.45."""
    reading = read_number(answer)
    if reading is None:
        return UNPARSABLE
    tolerance = max(truth.tolerance, truth.relative_tolerance * abs(truth.value))
    values = (reading.value, reading.value / 100) if reading.percent else (reading.value,)
    return exact(any(abs(value - truth.value) <= tolerance for value in values))


def grade_count(truth: CountTruth, answer: str) -> Grade:
    """Compare a count exactly."""
    reading = read_number(answer)
    return UNPARSABLE if reading is None else exact(reading.value == truth.count)


def _readings(text: str) -> list[Reading]:
    text = _plain(text)[-_WINDOW:]  # written out, a sign such as ½ is longer
    matches = list(_NUMBER.finditer(text))
    apart = [match for match in matches if not _follows_latin(text, match.start())]
    return [Reading(_value(match), match["percent"] is not None) for match in apart or matches]


def _plain(text: str) -> str:
    """The text with ASCII signs in place of LaTeX and of typographic variants."""
    if not text.isascii():
        text = _RAISED.sub(lambda match: f"^{match[0].translate(_LOWERED)}", text).translate(_PLAIN)
    if "\\" in text or "{" in text:
        text = _LATEX_TEXT.sub(r"\1", _LATEX_SEPARATOR.sub(",", text))
        text = _LATEX_SIGN.sub(lambda match: "*" if len(match[0]) > 1 else "", text)
        text = _LATEX_FRACTION.sub(_fraction_text, text)
    return _SPACED_SIGN.sub(r"= \1", text)


def _fraction_text(match: re.Match[str]) -> str:
    before, above, below, digit_above, digit_below = match.groups()
    return f"{before}{' ' if before else ''}{above or digit_above}/{below or digit_below}"


def _follows_latin(text: str, start: int) -> bool:
    return start > 0 and text[start - 1].isascii() and text[start - 1].isalpha()


def _value(match: re.Match[str]) -> float:
    try:
        if match["above"]:
            value = _float(match["whole"] or "0") + _float(match["above"]) / _float(match["below"])
        else:
            value = _float(match["number"])
            if match["exponent"]:
                value = float(f"{_ungrouped(match['number'])}e{match['exponent']}")
            elif match["power"]:
                value = value * 10.0 ** int(match["power"]) if match["times"] else value ** int(match["power"])
        if match["unit"]:
            value *= math.prod(_UNITS[unit] for unit in match["unit"])
        elif match["scale"]:
            value *= _SCALES[match["scale"].lower()]
    except (OverflowError, ZeroDivisionError):
        value = math.nan
    return -value if (match["sign"] or "").startswith("-") else value


def _float(digits: str) -> float:
    return float(_ungrouped(digits))


def _ungrouped(digits: str) -> str:
    return digits.replace(",", "").replace(" ", "")
