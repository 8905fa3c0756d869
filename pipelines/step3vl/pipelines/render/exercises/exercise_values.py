"""Values of exercises: exact numbers by SymPy, how they are written, and whether two are the same."""

import math
import random
from fractions import Fraction
from typing import TypeAlias

import sympy

Value: TypeAlias = int | Fraction | sympy.Expr | str
"""An exact number, or a word."""


def to_expr(value: Value) -> sympy.Expr:
    """A value as a SymPy expression."""
    if isinstance(value, Fraction):
        return sympy.Rational(value.numerator, value.denominator)
    return sympy.sympify(value)


def to_number(value: Value) -> float:
    """A value as a float."""
    return float(to_expr(value))


def decimal(value: float) -> Fraction:
    """A measured number to nine decimals, for answers that are rounded further: exact arithmetic stays fast."""
    return Fraction(f"{value:.9f}")


def rounded(value: Value, digits: int) -> Fraction:
    """A value rounded half away from zero to a number of decimals, exactly."""
    exact = to_expr(value)
    scaled = sympy.floor(abs(exact) * 10**digits + sympy.Rational(1, 2))
    return Fraction(int(scaled) * (1 if exact >= 0 else -1), 10**digits)


def near_tie(value: Value, digits: int) -> bool:
    """Whether rounding is a matter of opinion: the value is within a thousandth of a unit of half way."""
    part = (abs(to_number(value)) * 10**digits) % 1
    return abs(part - 0.5) < 1e-3


def is_decimal(value: Value) -> bool:
    """Whether a value has a decimal expansion of at most four places."""
    expr = to_expr(value)
    return bool(expr.is_Rational) and (Fraction(int(expr.p), int(expr.q)) * 10**4).denominator == 1


def show(value: Value, unit: str = "", digits: int | None = None) -> str:
    """A value as people write it in plain text: `12.5 cm`, `5√3`, `3/4`, `6π cm²`, `35°`.

    Args:
        value: The number.
        unit: Follows it, after a space unless it is a sign.
        digits: Decimals to round to.
    """
    if isinstance(value, str):
        return value
    text = _plain(to_expr(rounded(value, digits) if digits is not None else value), digits)
    if not unit:
        return text
    return text + (unit if unit in ("°", "%") else " " + unit)


def show_root(square: int) -> str:
    """The root of a square, and what it is where that is simpler: `√25 = 5`, `√8 = 2√2`, `√7`."""
    root, simplest = f"√{square}", show(sympy.sqrt(square))
    return root if simplest == root else f"{root} = {simplest}"


def bracket(number: int) -> str:
    """A whole number between signs of a calculation, a negative one in brackets."""
    return f"(−{-number})" if number < 0 else str(number)


def _plain(expr: sympy.Expr, digits: int | None = None) -> str:
    if expr.is_Rational:
        fraction = Fraction(int(expr.p), int(expr.q))
        if digits is not None:
            scaled = abs(fraction) * 10**digits
            assert scaled.denominator == 1
            whole, rest = divmod(scaled.numerator, 10**digits)
            text = f"{whole}.{rest:0{digits}d}" if digits else str(whole)
            return ("−" if fraction < 0 else "") + text
        return ("−" if fraction < 0 else "") + decimal_text(abs(fraction))
    if expr.is_Add:
        terms = sorted(expr.args, key=lambda term: (bool(term.is_negative), not term.is_Rational, str(term)))
        text = _plain(terms[0])
        for term in terms[1:]:
            piece = _plain(term)
            text += f" − {piece[1:]}" if piece.startswith("−") else f" + {piece}"
        return text
    coefficient, rest = expr.as_coeff_Mul()
    if rest == sympy.pi:
        sign = "π"
    elif rest.is_Pow and rest.exp == sympy.Rational(1, 2) and rest.base.is_Integer:
        sign = f"√{rest.base}"
    elif rest.is_Mul and sympy.pi in rest.args:
        sign = _plain(rest / sympy.pi) + "π"
    else:
        raise ValueError(f"{expr} has no plain form")
    fraction = Fraction(int(coefficient.p), int(coefficient.q))
    minus = "−" if fraction < 0 else ""
    above, below = abs(fraction.numerator), fraction.denominator
    if is_decimal(coefficient) and below != 1 and sign == "π":
        return f"{minus}{decimal_text(abs(fraction))}π"
    return f"{minus}{above if above != 1 else ''}{sign}" + (f"/{below}" if below != 1 else "")


def decimal_text(fraction: Fraction) -> str:
    """A positive fraction as a decimal where it ends after four places, else as a quotient."""
    if (fraction * 10**4).denominator != 1:
        return f"{fraction.numerator}/{fraction.denominator}"
    text = f"{fraction.numerator * 10**4 // fraction.denominator:05d}"
    return f"{text[:-4]}.{text[-4:]}".rstrip("0").rstrip(".")


def latex(value: Value) -> str:
    """A value as LaTeX."""
    expr = to_expr(value)
    if is_decimal(expr) and not expr.is_Integer:
        return show(value).replace("−", "-")
    return str(sympy.latex(expr))


def same_value(first: Value, second: Value, digits: int | None = None) -> bool:
    """Whether two options are the same, or are written alike."""
    if isinstance(first, str) or isinstance(second, str):
        return str(first) == str(second)
    if math.isclose(to_number(first), to_number(second), rel_tol=1e-6, abs_tol=1e-9):
        return True
    if digits is None:
        return False
    return rounded(first, digits) == rounded(second, digits)


def fallback_values(answer: Value, unit: str, rng: random.Random) -> list[Value]:
    """Values near an answer, of the same form: off by a little, doubled, halved, of the other sign."""
    expr = to_expr(answer)
    if expr.is_Integer:
        number = int(expr)
        size = max(1, round(abs(number) * 0.1))
        near: list[Value] = [number + size, number - size, number + 2 * size, number + 1, number - 1, 2 * number]
        if unit == "°":
            near = [180 - number, 90 - number, number + 10, number - 10, 2 * number, number + 5, *near]
        if number == 0:
            near = [1, 2, -1]
    else:
        near = [
            expr * 2,
            expr / 2,
            expr * sympy.Rational(3, 2),
            expr * sympy.Rational(5, 4),
            expr * sympy.Rational(4, 5),
        ]
        if expr.is_Rational and 0 < expr < 1:
            near = [1 - expr, *near]
    rng.shuffle(near)
    return near
