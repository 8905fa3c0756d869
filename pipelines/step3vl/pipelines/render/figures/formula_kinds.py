"""Formulas as pairs of LaTeX and Typst that say the same, with the characters that a reader sees."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """A formula in two notations.

    Attributes:
        latex: Source without dollar signs; None where matplotlib's parser does not know the construct.
        typst: Source without dollar signs.
        glyphs: The characters that are seen, in any order, without brackets, bars and radicals.
    """

    latex: str | None
    typst: str
    glyphs: str

    def __add__(self, other: "Formula") -> "Formula":
        latex = None if self.latex is None or other.latex is None else f"{self.latex} {other.latex}"
        return Formula(latex, f"{self.typst} {other.typst}", self.glyphs + other.glyphs)


def sign(text: str, latex: str = "", typst: str = "") -> Formula:
    """A character: a digit, a variable, an operator."""
    return Formula(latex or text, typst or text, text)


def _wrap(latex: str, typst: str, *parts: Formula, glyphs: str = "") -> Formula:
    """A construct around parts: `@0`, `@1` in the templates stand for them."""
    tex: str | None = latex
    for i, part in enumerate(parts):
        tex = None if tex is None or part.latex is None else tex.replace(f"@{i}", part.latex)
        typst = typst.replace(f"@{i}", part.typst)
    return Formula(tex, typst, glyphs + "".join(part.glyphs for part in parts))


def fraction(top: Formula, bottom: Formula) -> Formula:
    """top / bottom, one above the other."""
    return _wrap(r"\frac{@0}{@1}", "frac(@0, @1)", top, bottom)


def power(base: Formula, exponent: Formula) -> Formula:
    """A superscript."""
    return _wrap("@0^{@1}", "@0^(@1)", base, exponent)


def index(base: Formula, subscript: Formula) -> Formula:
    """A subscript."""
    return _wrap("@0_{@1}", "@0_(@1)", base, subscript)


def root(body: Formula) -> Formula:
    """A square root."""
    return _wrap(r"\sqrt{@0}", "sqrt(@0)", body)


def brackets(body: Formula) -> Formula:
    """Round brackets as high as what they hold."""
    return _wrap(r"\left( @0 \right)", "(@0)", body)


def call(name: str, body: Formula) -> Formula:
    """A named function."""
    return _wrap(rf"\{name}\left( @0 \right)", f"{name}(@0)", body, glyphs=name)


def big(latex: str, typst: str, glyph: str, low: Formula, high: Formula) -> Formula:
    """A large operator with limits."""
    return _wrap(rf"\{latex}_{{@0}}^{{@1}}", f"{typst}_(@0)^(@1)", low, high, glyphs=glyph)


_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "θ": "theta", "λ": "lambda", "μ": "mu", "σ": "sigma", "ω": "omega",
          "π": "pi", "ρ": "rho", "τ": "tau", "δ": "delta"}  # fmt: skip
EQUALS = sign("=")
PLUS, MINUS = sign("+"), sign("−", "-", "-")
INFINITY = sign("∞", r"\infty", "infinity")
DOT = sign("⋅", r"\cdot", "dot.op")


def number(rng: random.Random, high: int = 12) -> Formula:
    """A whole number from 2."""
    return sign(str(rng.randint(2, high)))


def variable(rng: random.Random, names: str = "abcmnpqtuxyz") -> Formula:
    """A Latin or Greek variable."""
    if rng.random() < 0.2:
        symbol = rng.choice(sorted(_GREEK))
        return sign(symbol, f"\\{_GREEK[symbol]}", _GREEK[symbol])
    return sign(rng.choice(names))


def term(rng: random.Random, name: Formula | None = None) -> Formula:
    """A small product: 3x, x^2, 5 y^3."""
    body = name or variable(rng)
    if rng.random() < 0.4:
        body = power(body, number(rng, 5))
    return number(rng) + body if rng.random() < 0.5 else body


def expression(rng: random.Random, depth: int = 2, name: Formula | None = None) -> Formula:
    """A random expression, nested at most `depth` times."""
    kind = rng.random()
    if depth == 0 or kind < 0.15:
        return term(rng, name)
    if kind < 0.45:
        return expression(rng, depth - 1, name) + rng.choice((PLUS, MINUS)) + term(rng, name)
    if kind < 0.65:
        return fraction(expression(rng, depth - 1, name), expression(rng, depth - 1, name))
    if kind < 0.75:
        return root(expression(rng, depth - 1, name))
    if kind < 0.88:
        return call(rng.choice(("sin", "cos", "tan", "ln", "exp")), expression(rng, depth - 1, name))
    return power(brackets(expression(rng, depth - 1, name)), number(rng, 4))


def _polynomial(rng: random.Random) -> Formula:
    x = variable(rng, "xyzt")
    parts: list[Formula] = []
    for degree in range(rng.randint(2, 4), -1, -1):
        if parts and rng.random() < 0.2:
            continue
        parts += [rng.choice((PLUS, MINUS))] if parts else []
        factor = number(rng, 20)
        parts.append(factor if degree == 0 else factor + (x if degree == 1 else power(x, sign(str(degree)))))
    first, *others = parts
    return sum(others, first) + EQUALS + sign(str(rng.choice((0, 1, 7, 12))))


def _equation(rng: random.Random) -> Formula:
    return variable(rng) + EQUALS + expression(rng, 3)


def _sum(rng: random.Random) -> Formula:
    n = sign(rng.choice("nkij"))
    high = INFINITY if rng.random() < 0.5 else sign(rng.choice(("N", "m", "10", "100")))
    name = rng.choice((("sum", "sum", "∑"), ("sum", "sum", "∑"), ("prod", "product", "∏")))
    low = n + EQUALS + sign(rng.choice("01"))
    return big(*name, low, high) + expression(rng, 1, n) + EQUALS + expression(rng, 1)


def _integral(rng: random.Random) -> Formula:
    x = sign(rng.choice("xtu"))
    low, high = rng.choice(((sign("0"), sign("1")), (sign("0"), INFINITY), (sign("a"), sign("b")),
                            (sign("0"), sign("π", r"\pi", "pi"))))  # fmt: skip
    body = expression(rng, 2, x)
    differential = Formula(f"\\, d{x.latex}", f"thin d {x.typst}", "d" + x.glyphs)
    return big("int", "integral", "∫", low, high) + body + differential + EQUALS + variable(rng)


def _limit(rng: random.Random) -> Formula:
    x = sign(rng.choice("xnht"))
    target = rng.choice((sign("0"), INFINITY, sign("1")))
    arrow = _wrap(r"\lim_{@0 \to @1}", "lim_(@0 arrow.r @1)", x, target, glyphs="lim→")
    return arrow + fraction(expression(rng, 1, x), expression(rng, 1, x)) + EQUALS + number(rng)


def _derivative(rng: random.Random) -> Formula:
    x = sign(rng.choice("xtsz"))
    top, bottom = sign("d"), sign("d") + x
    if rng.random() < 0.4:
        top, bottom = (sign("∂", r"\partial", "partial"), sign("∂", r"\partial", "partial") + x)
    return fraction(top, bottom) + brackets(expression(rng, 2, x)) + EQUALS + expression(rng, 1, x)


def _binomial(rng: random.Random) -> Formula:
    n, k = sign(rng.choice("nm")), sign(rng.choice("kr"))
    choose = _wrap(r"\binom{@0}{@1}", "binom(@0, @1)", n, k)
    bang = sign("!")
    return choose + EQUALS + fraction(n + bang, k + bang + brackets(n + MINUS + k) + bang)


def _roots(rng: random.Random) -> Formula:
    a, b, c = (sign(name) for name in rng.choice(("abc", "pqr", "uvw")))
    x = sign(rng.choice("xyz"))
    inside = power(b, sign("2")) + MINUS + sign("4") + a + c
    solution = fraction(MINUS + b + sign("±", r"\pm", "plus.minus") + root(inside), sign("2") + a)
    return (index(x, sign("1")) if rng.random() < 0.5 else x) + EQUALS + solution


def _identity(rng: random.Random) -> Formula:
    angle = variable(rng, "xyt")
    name = rng.choice(("sin", "cos", "tan", "log", "exp"))
    return call(name, number(rng, 4) + angle) + EQUALS + expression(rng, 2, angle)


def _inequality(rng: random.Random) -> Formula:
    relation = rng.choice(
        (sign("≤", r"\leq", "<="), sign("≥", r"\geq", ">="), sign("<", "<", "<"), sign("≠", r"\neq", "!="))
    )
    return expression(rng, 2) + relation + expression(rng, 1)


def _law(rng: random.Random) -> Formula:
    """A law of physics with the symbols of textbooks."""
    m, c, v, r = sign("m"), sign("c"), sign("v"), sign("r")
    laws = (
        sign("E") + EQUALS + m + power(c, sign("2")),
        sign("F") + EQUALS + sign("G") + fraction(index(m, sign("1")) + index(m, sign("2")), power(r, sign("2"))),
        index(sign("E"), sign("k")) + EQUALS + fraction(sign("1"), sign("2")) + m + power(v, sign("2")),
        sign("P") + sign("V") + EQUALS + sign("n") + sign("R") + sign("T"),
        sign("T") + EQUALS + sign("2") + sign("π", r"\pi", "pi") + root(fraction(sign("L"), sign("g"))),
        sign("λ", r"\lambda", "lambda") + EQUALS + fraction(sign("h"), m + v),
        sign("s") + EQUALS + index(v, sign("0")) + sign("t") + PLUS + fraction(sign("1"), sign("2")) + sign("a")
        + power(sign("t"), sign("2")),
    )  # fmt: skip
    extra = sign(",") + variable(rng) + EQUALS + number(rng, 99)
    return rng.choice(laws) + extra


def _matrix(rng: random.Random) -> Formula:
    rows, columns = rng.randint(2, 3), rng.randint(2, 4)
    cells = [
        [variable(rng) if rng.random() < 0.3 else sign(str(rng.randint(0, 20))) for _ in range(columns)]
        for _ in range(rows)
    ]
    typst = "mat(" + "; ".join(", ".join(cell.typst for cell in row) for row in cells) + ")"
    matrix = Formula(None, typst, "".join(cell.glyphs for row in cells for cell in row))
    return sign(rng.choice("ABM")) + EQUALS + matrix


def _cases(rng: random.Random) -> Formula:
    x = sign(rng.choice("xtn"))
    first, second = expression(rng, 1, x), expression(rng, 1, x)
    bound = number(rng)
    typst = f'cases({first.typst} & "if" {x.typst} < {bound.typst}, {second.typst} & "if" {x.typst} >= {bound.typst})'
    glyphs = first.glyphs + second.glyphs + "ifif" + 2 * (x.glyphs + bound.glyphs) + "<≥"
    return sign("f") + brackets(x) + EQUALS + Formula(None, typst, glyphs)


FORMULAS: dict[str, Callable[[random.Random], Formula]] = {
    "polynomial": _polynomial,
    "equation": _equation,
    "sum": _sum,
    "integral": _integral,
    "limit": _limit,
    "derivative": _derivative,
    "binomial": _binomial,
    "roots": _roots,
    "identity": _identity,
    "inequality": _inequality,
    "law": _law,
    "matrix": _matrix,
    "cases": _cases,
}
