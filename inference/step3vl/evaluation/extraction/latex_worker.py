"""What the workers of `step3vl.evaluation.extraction.latex` run: LaTeX is parsed by a grammar, never executed."""

import math
import re
from typing import Any

from step3vl.data.optional import require

_SEQUENCE = re.compile(r"([(\[])(.*,.*)([)\]])", re.DOTALL)


def same_value(first: str, second: str, rule: str) -> bool:
    """Whether two expressions in LaTeX have the same value.

    Args:
        first: An expression.
        second: Another one.
        rule: "rounded": the same number in two decimals, or tuples of such. "symbolic": the same expression, or
            numbers within 1e-4 of each other, relative to the greater.
    """
    return _same_rounded(first, second) if rule == "rounded" else _same_symbolic(first, second)


def _same_rounded(first: str, second: str) -> bool:
    first, second = _rounded_elements(first), _rounded_elements(second)
    if first == second:
        return True
    value = _rounded(first)
    return value is not None and value == _rounded(second)


def _rounded_elements(text: str) -> str:
    """A tuple or list with its elements in two decimals; any other text as it is, and so where one has no value."""
    match = _SEQUENCE.fullmatch(text)
    if match is None or match[1] + match[3] not in ("()", "[]"):
        return text
    elements = [
        part if "infty" in part or part in ("a", "-a") else str(_rounded(part)) for part in match[2].split(",")
    ]
    return text if "None" in elements else f"{match[1]}{','.join(elements)}{match[3]}"


def _rounded(text: str) -> float | None:
    try:
        value = float(_parse(text).evalf())
    except Exception:  # the parser and sympy raise a score of different errors on what is no number
        return None
    return round(value, 2) if math.isfinite(value) else None


def _parse(text: str) -> Any:
    text = text.replace("$", "").replace("\\displaystyle", "").replace(":", "/")
    return require("latex2sympy2_extended", "grading").latex2sympy(text, normalization_config=None)


def _same_symbolic(first: str, second: str) -> bool:
    try:
        left, right = (
            _parse(text.replace("\\\\", "\\") if "matrix" not in text else text) for text in (first, second)
        )
    except Exception:  # as above
        return False
    return any(_try(rule, left, right) for rule in (_equal, _equal_difference, _equal_sides, _close))


def _try(rule: Any, left: Any, right: Any) -> bool:
    try:
        return bool(rule(left, right))
    except Exception:  # as above: what cannot be compared in this way is not equal in this way
        return False


def _equal(left: Any, right: Any) -> bool:
    return left == right or str(left) == str(right)


def _equal_difference(left: Any, right: Any) -> bool:
    from sympy import simplify

    return left.equals(right) or simplify(left - right) == 0


def _equal_sides(left: Any, right: Any) -> bool:
    return abs(left.lhs - left.rhs).equals(abs(right.lhs - right.rhs))


def _close(left: Any, right: Any) -> bool:
    return math.isclose(float(left.evalf()), float(right.evalf()), rel_tol=1e-4)
