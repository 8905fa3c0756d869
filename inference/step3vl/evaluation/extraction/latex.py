r"""Answers in LaTeX: the clean-ups of the MATH family, and equality of values.

What needs a parser runs in the worker processes of `step3vl.grading.pool`, with a deadline. The official scripts call
Python's `eval` on what a model wrote; here a grammar reads LaTeX, and nothing else is ever executed.
"""

import logging
import math
import re
from functools import lru_cache

from step3vl.grading.pool import WorkerError, WorkerPool

log = logging.getLogger(__name__)

SECONDS = 20.0
"""The deadline of a comparison, which takes milliseconds on an idle machine."""
MAX_EXPRESSION = 2**10
"""Longer texts are no expressions, and are not parsed."""

_POOL = WorkerPool("step3vl.evaluation.extraction.latex_worker:same_value", warm_up=("1", "2", "rounded"))

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
_BARE_WORD = re.compile(r"(?<![\\a-z])[a-z]{2,}")
_UNREAD = ("\\circ", "\\!")
_SHORT_ROOT = re.compile(r"\\sqrt(?!\\sqrt)([^{])", re.DOTALL)
_SHORT_FRACTION = re.compile(r"\\frac(?!\{)(.)(?:(\{)|(.))", re.DOTALL)
_INTEGERS = re.compile(r"(-?\d+)/(-?\d+)")

# In this order: later ones meet what earlier ones leave.
_CLEAN_UPS = (
    (" ", ""), ("\\,", ""), ("∞", "\\infty"), ("+\\infty", "\\infty"), ("\\\\", "\\"), ("\n", ""), ("\\text", ""),
    ("\\mbox", ""), ("bmatrix", "pmatrix"), ("\\left", ""), ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""),
    ("{m}^3", ""), ("m^3", ""), ("{units}", ""), ("units", ""), ("{km}", ""), ("km", ""), ("\\!", ""), ("\\\\", "\\"),
    ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""),
    ("\\$", ""), ("$", ""), ("\\%", ""), ("{.", "{0."),
)  # fmt: skip


def clean_latex(text: str) -> str:
    r"""The answer of a text as MathVision's script finds it: the boxed part, its last side, without units and layout.

    Args:
        text: Any text; `\boxed{…}` counts where it has one, else all of it.
    """
    text = text.lower().replace("{}", "")
    start, end = text.find("oxed{") + len("oxed{"), text.rfind("}")
    if len("oxed{") <= start <= end:
        text = text[start:end]
    closing, opening = text.find("}"), text.find("{")
    if closing >= 0 and (opening < 0 or closing < opening):
        text = text[:closing]
    text = text.split("=")[-1].split("\\approx")[-1]
    for old, new in _CLEAN_UPS:
        text = text.replace(old, new)
    if text.startswith("."):
        text = f"0{text}"
    if "sqrt" in text:
        text = _braced_fractions(_SHORT_ROOT.sub(r"\\sqrt{\1}", text))
    if text == "0.5":
        return "\\frac{1}{2}"
    whole = _INTEGERS.fullmatch(text)
    if whole and all(str(int(digits)) == digits for digits in whole.groups() if len(digits) < 1000):
        return f"\\frac{{{whole[1]}}}{{{whole[2]}}}"
    return text


def _braced_fractions(text: str) -> str:
    r"""`\frac12` as `\frac{1}{2}`; unchanged where a fraction has no second part."""
    if any(len(part) < 2 and not part.startswith("{") for part in text.split("\\frac")[1:]):
        return text
    return _SHORT_FRACTION.sub(lambda match: f"\\frac{{{match[1]}}}" + (match[2] or f"{{{match[3]}}}"), text)


def equal_rounded(first: str, second: str) -> bool:
    """Whether two expressions are the same text, or have the same value in two decimals (MathVision's rule).

    Tuples and lists are compared by elements. What is no number, such as a formula with variables, is only equal as a
    text. Never raises; a comparison that exceeds its deadline is no equality.
    """
    first, second = first.lower(), second.lower()
    if not first.replace(" ", "") or not second.replace(" ", ""):
        return False
    if first.strip() == second.strip():
        return True
    if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(second):
        return round(float(first), 2) == round(float(second), 2)
    first, second = _before_unmatched(first), _before_unmatched(second)
    if any(_has_no_value(text) for text in (first, second)):
        return False
    return _same_value(first, second, "rounded")


def _has_no_value(text: str) -> bool:
    """Whether a text is no number to the official parser: degrees, a bare word, a variable, or no ASCII."""
    return (
        len(text) > MAX_EXPRESSION
        or not text.isascii()
        or any(command in text for command in _UNREAD)
        or _BARE_WORD.search(text) is not None
        or (len(text) == 1 and text.isalpha())
    )


def _before_unmatched(text: str) -> str:
    """The text up to a closing brace that none opens, where the official parser stops reading."""
    depth = 0
    for position, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return text[:position]
    return text


@lru_cache(maxsize=2**14)
def _same_value(first: str, second: str, rule: str) -> bool:
    try:
        return bool(_POOL.call(first, second, rule, seconds=SECONDS))
    except TimeoutError:
        log.info("comparing %r with %r took more than %g seconds", first, second, SECONDS)
    except WorkerError as error:
        log.info("comparing %r with %r: %s", first, second, error)
    return False


_CHOICE = re.compile(r"\b[A-E]\b")
_BRACKETED = re.compile(r"[(\[].+[)\]]", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{[pb]matrix\}(.*)\\end\{[pb]matrix\}", re.DOTALL)
_SET = re.compile(r"\{(.*,.*)\}")
_MAX_DEPTH = 8


def math_equal(prediction: str, reference: str, depth: int = 0) -> bool:
    r"""Whether two answers are equal as Qwen2.5-Math's grader has it.

    Equal are the same texts (case aside), numbers within 1e-4 of each other (also where one is the percentage of the
    other), tuples, intervals and matrices with equal elements, equations with the same difference of sides, and
    expressions whose difference is zero. Never raises; a comparison that exceeds its deadline is no equality.

    Args:
        prediction: An answer that was already extracted.
        reference: The true one.
        depth: Of nested tuples; deeper ones than a few are not equal.
    """
    if prediction.strip().lower() == reference.strip().lower():
        return True
    if reference in ("A", "B", "C", "D", "E") and _chosen(prediction) == reference:
        return True
    number, true_number = _read_number(prediction), _read_number(reference)
    if number is not None and true_number is not None:
        return any(math.isclose(value, number, rel_tol=1e-4) for value in _with_percentages(true_number))
    prediction, reference = prediction.strip(), reference.strip()
    if not prediction or depth > _MAX_DEPTH or max(len(prediction), len(reference)) > MAX_EXPRESSION:
        return False
    if "pmatrix" in prediction and "matrix" not in reference:
        rows = ("\\".join(body.strip("{}").split(",")) for body in _SET.findall(reference))
        reference = ", ".join(f"\\begin{{pmatrix}}{row}\\end{{pmatrix}}" for row in rows)
    return (
        _same_unbracketed(prediction, reference)
        or _same_elements(prediction, reference, depth)
        or _same_sides(prediction, reference, depth)
        or _same_value(prediction, reference, "symbolic")
    )


def _chosen(text: str) -> str:
    text = text.strip("\n").rstrip(".").rstrip("/").strip(" ").lstrip(":")
    letters = _CHOICE.findall(text.upper())
    return letters[-1] if letters else text.strip().strip(".").rstrip("./")


def _read_number(text: str) -> float | None:
    text = text.replace(",", "")
    percent = text.endswith("%")
    for digits, scale in ((text, 1.0), (text.removesuffix("%").removesuffix("\\") if percent else "", 100.0)):
        try:
            return float(digits) / scale
        except ValueError:
            continue
    return None


def _with_percentages(value: float) -> tuple[float, float, float]:
    return value / 100, value, value * 100


def _same_unbracketed(prediction: str, reference: str) -> bool:
    if (prediction[0] + prediction[-1] == "[]" and not reference.startswith("(")) or (
        prediction[0] + prediction[-1] == "()" and not reference.startswith("[")
    ):
        prediction, reference = prediction.strip("[]()"), reference.strip("[]()")
    for bracket in "{}()":
        prediction, reference = prediction.replace(bracket, ""), reference.replace(bracket, "")
    return prediction.lower() == reference.lower()


def _same_elements(prediction: str, reference: str, depth: int) -> bool:
    if _BRACKETED.fullmatch(prediction) and _BRACKETED.fullmatch(reference):
        return _all_equal(prediction[1:-1].split(","), reference[1:-1].split(","), depth)
    matrices = _MATRIX.fullmatch(prediction), _MATRIX.fullmatch(reference)
    if matrices[0] is None or matrices[1] is None:
        return False
    rows, true_rows = ([row.strip() for row in match[1].split("\\\\") if row.strip()] for match in matrices if match)
    return len(rows) == len(true_rows) and all(
        _all_equal(row.split("&"), true_row.split("&"), depth) for row, true_row in zip(rows, true_rows, strict=True)
    )


def _all_equal(parts: list[str], true_parts: list[str], depth: int) -> bool:
    return len(parts) == len(true_parts) and all(
        math_equal(part, true_part, depth + 1) for part, true_part in zip(parts, true_parts, strict=True)
    )


def _same_sides(prediction: str, reference: str, depth: int) -> bool:
    """Equations: both as the difference of their sides; `x = 5` is 5 where the other has no sign of equality."""
    sides, true_sides = prediction.split("="), reference.split("=")
    if len(sides) == len(true_sides) == 2:
        difference, true_difference = (f"{left.strip()} - ({right.strip()})" for left, right in (sides, true_sides))
        return _same_value(difference, true_difference, "symbolic") or _same_value(
            f"-({difference})", true_difference, "symbolic"
        )
    if len(sides) == 2 and len(sides[0].strip()) <= 2 and len(true_sides) == 1:
        return math_equal(sides[1], reference, depth + 1)
    if len(true_sides) == 2 and len(true_sides[0].strip()) <= 2 and len(sides) == 1:
        return math_equal(prediction, true_sides[1], depth + 1)
    return False
