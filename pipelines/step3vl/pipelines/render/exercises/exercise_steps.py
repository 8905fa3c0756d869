"""The equations that worked steps state, each computed again from its text."""

import ast
import math
import re
from collections.abc import Callable, Sequence

_UNITS = "cm|mm|km|dm|nm|m|kg|mg|g|ms|s|min|h|N|J|kJ|W|V|A|mA|Ω|Hz|Pa|kPa|mol|L|mL|rad|u|K|°C|人|个|次|单位|平方单位"
_UNIT = re.compile(rf"(?<=[\d)%π])\s?(?:(?:{_UNITS})(?![A-Za-z])[²³]?(?:[/·](?:cm|mm|m|kg|g|s|mol|h|min|L)[²³]?)*)")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SIGNS = str.maketrans({"−": "-", "×": "*", "·": "*", "÷": "/", "π": " pi ", "°": "", "½": "(1/2)", ",": ""})
_TEXT = re.compile(r"(?:(?:sin|cos|tan|arctan|log|ln|[\d\s.,+−×÷·/()√π°%⁰¹²³⁴⁵⁶⁷⁸⁹⁻½|])+)")
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "sin": lambda degrees: math.sin(math.radians(degrees)),
    "cos": lambda degrees: math.cos(math.radians(degrees)),
    "tan": lambda degrees: math.tan(math.radians(degrees)),
    "log": math.log10,
    "ln": math.log,
    "abs": abs,
}
_CLOSE = 1e-9


def check_steps(steps: Sequence[str]) -> int:
    """Compute both sides of every equation of numbers that the steps state.

    Returns:
        How many equations there are.

    Raises:
        ValueError: The sides of one differ.
    """
    return sum(_check(step) for step in steps)


def _check(step: str) -> int:
    sides = re.split(r"([=≈])", _UNIT.sub("", step))
    checked = 0
    for i in range(0, len(sides) - 2, 2):
        left, right = _value_at_end(sides[i], i > 0), _value_at_start(sides[i + 2], i + 3 < len(sides))
        if left is None or right is None:
            continue
        value, _ = left
        other, decimals = right
        allowed = _CLOSE * max(1.0, abs(value))
        if sides[i + 1] == "≈":
            allowed = 0.51 * 10.0**-decimals
        if abs(value - other) > allowed:
            raise ValueError(f"{value} {sides[i + 1]} {other} is wrong in {step!r}")
        checked += 1
    return checked


def _value_at_end(side: str, whole: bool) -> tuple[float, int] | None:
    matches = list(_TEXT.finditer(side))
    if not matches or matches[-1].end() != len(side):
        return None
    text, start = matches[-1][0], matches[-1].start()
    if whole and start > 0:
        return None
    if start > 0 and (
        text.lstrip()[:1] in "+−×÷·/)²³"
        or (side[start - 1].isascii() and side[start - 1].isalnum() and not text.startswith(" "))
    ):
        return None
    if start > 0 and side[start - 1] == "|":
        return None
    return _evaluate(text)


def _value_at_start(side: str, whole: bool) -> tuple[float, int] | None:
    match = _TEXT.match(side)
    if match is None or (whole and match.end() != len(side)):
        return None
    text, rest = match[0], side[match.end() :]
    if rest and (
        text.rstrip()[-1:] in "+−×÷·/(" or (rest[0].isalpha() and rest[0].isascii() and not text.endswith(" "))
    ):
        return None
    return _evaluate(text)


def _evaluate(text: str) -> tuple[float, int] | None:
    """The value of an expression and the decimals of its last number; None for what is no expression."""
    source = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: f"**({m[0].translate(_SUPERSCRIPTS)})", text.strip().rstrip("。.,;"))
    source = re.sub(r"\|([^|]+)\|", r" abs(\1)", source)
    source = re.sub(r"√(\d+(?:\.\d+)?)", r" sqrt(\1)", source).replace("√(", " sqrt(")
    source = re.sub(r"(sin|cos|tan|log|ln)\s+(\d+(?:\.\d+)?)", r"\1(\2)", source)
    source = re.sub(r"%", "/100", source.translate(_SIGNS))
    source = re.sub(r"(?<=[\d)i])\s*(?=\(|sqrt|sin|cos|tan|pi)|(?<=pi)\s+(?=\d|sqrt|\()", "*", source)
    source = re.sub(r"(sqrt|sin|cos|tan|log|ln|abs)\s*\*\s*\(", r"\1(", source)
    if not re.search(r"\d|pi", source) or re.search(r"\d\s+\d", source):
        return None
    try:
        value = _value(ast.parse(source.strip(), mode="eval").body)
    except (SyntaxError, ZeroDivisionError, ValueError, KeyError, TypeError, OverflowError):
        return None
    decimals = re.findall(r"\d+(?:\.(\d+))?", source)[-1] if re.search(r"\d", source) else ""
    return value, len(decimals)


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id="pi"):
            return math.pi
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _FUNCTIONS[name](_value(argument))
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _value(left), _value(right)
            match op:
                case ast.Add():
                    return first + second
                case ast.Sub():
                    return first - second
                case ast.Mult():
                    return first * second
                case ast.Div():
                    return first / second
                case ast.Pow() if abs(second) <= 64:
                    return float(first**second)
    raise ValueError("no arithmetic")
