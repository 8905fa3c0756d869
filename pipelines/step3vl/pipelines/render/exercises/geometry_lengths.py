"""Lengths in triangles: Pythagoras, trigonometry, similar triangles, the laws of sines and cosines."""

import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise
from step3vl.pipelines.render.exercises.exercise_values import Value, decimal, show, show_root
from step3vl.pipelines.render.exercises.geometry_angles import triangle_from_angles
from step3vl.pipelines.render.exercises.sketch import XY, between, turned

_UNITS = ("cm", "m", "mm", "km", "dm", "")
_TRIPLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29))


def some_unit(d: Draft) -> str:
    return d.rng.choice(_UNITS[:4] if d.rng.random() < 0.8 else _UNITS)


def square_unit(unit: str) -> str:
    return f"{unit}²" if unit else ""


def name_points(d: Draft, *points: XY) -> list[str]:
    """Name points in order, turned as a whole."""
    turn = d.turn()
    names = d.symbols(len(points))
    for name, at in zip(names, points, strict=True):
        d.sketch.point(name, turned(at, turn))
    return names


def pythagoras(d: Draft) -> Exercise:
    """A side of a right triangle from the two others."""
    unit = some_unit(d)
    if d.rng.random() < 0.55:
        scale = d.rng.choice((1, 1, 2))
        triple = d.rng.choice(_TRIPLES)
        first, second, third = (side * scale for side in triple)
        legs: tuple[int, int] = (first, second)
        hypotenuse: Value = third
    else:
        legs = (d.rng.randint(2, 9), d.rng.randint(2, 9))
        hypotenuse = sympy.sqrt(legs[0] ** 2 + legs[1] ** 2)
    if d.rng.random() < 0.5:
        legs = legs[::-1]
    c, a, b = name_points(d, (0, 0), (legs[0], 0), (0, legs[1]))
    d.sketch.polygon(c, a, b, fill=d.rng.choice((None, None, 1)))
    d.setting(f"the right triangle {c}{a}{b}", f"直角三角形{c}{a}{b}")
    d.right_angle(a, c, b)
    if d.rng.random() < 0.5:
        d.given_length(c, a, legs[0], unit)
        d.given_length(c, b, legs[1], unit)
        d.ask_length(a, b)
        squares = legs[0] ** 2 + legs[1] ** 2
        d.step(
            f"By Pythagoras: {a}{b}² = {legs[0]}² + {legs[1]}² = {squares}",
            f"由勾股定理：{a}{b}² = {legs[0]}² + {legs[1]}² = {squares}",
        )
        d.steps.append(f"{a}{b} = {show_root(squares)}")
        return d.exercise(
            8,
            hypotenuse,
            unit,
            wrong=[legs[0] + legs[1], abs(legs[0] - legs[1]) or 1, squares],
            measure=lambda r: r.distance(a, b) / r.distance(c, a) * legs[0],
        )
    d.given_length(a, b, hypotenuse, unit)
    d.given_length(c, a, legs[0], unit)
    d.ask_length(c, b)
    whole = legs[0] ** 2 + legs[1] ** 2
    d.step(
        f"By Pythagoras: {c}{b}² = {whole} − {legs[0]}² = {legs[1] ** 2}",
        f"由勾股定理：{c}{b}² = {whole} − {legs[0]}² = {legs[1] ** 2}",
    )
    d.steps.append(f"{c}{b} = √{legs[1] ** 2} = {legs[1]}")
    return d.exercise(
        8,
        legs[1],
        unit,
        wrong=[legs[1] + 1, legs[1] + 2, sympy.sqrt(whole + legs[0] ** 2), whole - legs[0] ** 2],
        measure=lambda r: r.distance(c, b) / r.distance(c, a) * legs[0],
    )


def right_triangle_trig(d: Draft) -> Exercise:
    """A side of a right triangle from an angle and another side."""
    unit = some_unit(d)
    degrees, side = d.rng.choice((30, 45, 60, d.rng.randint(22, 68), d.rng.randint(22, 68))), d.rng.randint(4, 24)
    radians = math.radians(degrees)
    c, a, b = name_points(d, (0, 0), (math.cos(radians), 0), (0, math.sin(radians)))
    d.sketch.polygon(c, a, b)
    d.setting(f"the right triangle {c}{a}{b}", f"直角三角形{c}{a}{b}")
    d.right_angle(a, c, b)
    angle = sympy.pi * degrees / 180
    exact = degrees in (30, 45, 60)
    sine, cosine, tangent = (
        (function(angle) for function in (sympy.sin, sympy.cos, sympy.tan))
        if exact
        else (decimal(function(radians)) for function in (math.sin, math.cos, math.tan))
    )
    name, known, asked, factor, wrong_factors = d.rng.choice((
        ("sin", (a, b), (c, b), sine, (cosine, tangent)),
        ("cos", (a, b), (c, a), cosine, (sine, tangent)),
        ("tan", (c, a), (c, b), tangent, (sine, cosine)),
    ))  # fmt: skip
    d.given_length(*known, side, unit)
    d.given_angle(c, a, b, degrees)
    d.ask_length(*asked)
    answer = sympy.nsimplify(side * factor) if exact else side * factor
    digits = None if exact else 1
    d.step(
        f"{name} ∠{c}{a}{b} = {''.join(asked)} : {''.join(known)}",
        f"{name}∠{c}{a}{b} 等于 {''.join(asked)} 与 {''.join(known)} 之比",
    )
    sign = "=" if exact else "≈"
    d.steps.append(f"{''.join(asked)} = {side} × {name} {degrees}° {sign} {show(answer, unit, digits)}")
    return d.exercise(
        9,
        answer,
        unit,
        wrong=[side * f for f in wrong_factors] + [side / factor],
        digits=digits,
        measure=lambda r: r.distance(*asked) / r.distance(*known) * side,
    )


def parallel_in_triangle(d: Draft) -> Exercise:
    """A line parallel to a side divides the other sides in the same ratio."""
    unit = some_unit(d)
    part, rest = d.rng.randint(2, 9), d.rng.randint(2, 9)
    factor = d.rng.randint(2, 5)
    base = Fraction(factor * (part + rest), d.rng.choice((1, 1, 2)))
    inner = base * Fraction(part, part + rest)
    share = part / (part + rest)
    width = float(base)
    along = d.rng.uniform(0.2, 0.5) * (part + rest)
    a, b, c = (along, math.sqrt((part + rest) ** 2 - along**2)), (0.0, 0.0), (width, 0.0)
    names = d.symbols(5)
    pa, pb, pc, pd, pe = names
    turn = d.turn()
    for name, at in ((pa, a), (pb, b), (pc, c), (pd, between(a, b, share)), (pe, between(a, c, share))):
        d.sketch.point(name, turned(at, turn), away=turned(((a[0] + b[0] + c[0]) / 3, a[1] / 3), turn))
    for start, end in ((pa, pd), (pd, pb), (pb, pc), (pc, pe), (pe, pa), (pd, pe)):
        d.sketch.segment(start, end)
    d.setting(
        f"triangle {pa}{pb}{pc} with {pd} on {pa}{pb} and {pe} on {pa}{pc}",
        f"三角形{pa}{pb}{pc}，点{pd}在{pa}{pb}上，点{pe}在{pa}{pc}上",
    )
    d.shown_fact(f"{pd}{pe} ∥ {pb}{pc}", lambda: d.sketch.equal_ticks((pd, pe), (pb, pc), parallel=True))
    d.given_length(pa, pd, part, unit)
    d.given_length(pd, pb, rest, unit)
    if d.rng.random() < 0.5:
        d.given_length(pb, pc, base, unit)
        d.ask_length(pd, pe)
        d.step(
            f"Triangles {pa}{pd}{pe} and {pa}{pb}{pc} are similar with ratio {part} : {part + rest}.",
            f"三角形{pa}{pd}{pe}与三角形{pa}{pb}{pc}相似，相似比为 {part} : {part + rest}。",
        )
        d.steps.append(f"{pd}{pe} = {show(base)} × {part} ÷ {part + rest} = {show(inner)}")
        answer, wrong = inner, [base * Fraction(part, rest), base * Fraction(rest, part + rest), base - inner]
        asked = (pd, pe)
    else:
        d.given_length(pd, pe, inner, unit)
        d.ask_length(pb, pc)
        d.step(
            f"Triangles {pa}{pb}{pc} and {pa}{pd}{pe} are similar with ratio {part + rest} : {part}.",
            f"三角形{pa}{pb}{pc}与三角形{pa}{pd}{pe}相似，相似比为 {part + rest} : {part}。",
        )
        d.steps.append(f"{pb}{pc} = ({show(inner)}) × {part + rest} ÷ {part} = {show(base)}")
        answer, wrong = base, [inner * Fraction(rest, part), inner * Fraction(part + rest, rest), inner + rest]
        asked = (pb, pc)
    return d.exercise(9, answer, unit, wrong=wrong, measure=lambda r: r.distance(*asked) / r.distance(pa, pd) * part)


def midline(d: Draft) -> Exercise:
    """The segment between the midpoints of two sides."""
    unit = some_unit(d)
    base = d.rng.randint(5, 40)
    apex = base * d.rng.uniform(0.1, 0.9), base * d.rng.uniform(0.6, 1.0)
    a, b, c, m, n = name_points(d, apex, (0, 0), (base, 0), between(apex, (0, 0), 0.5), between(apex, (base, 0), 0.5))
    for start, end in ((a, m), (m, b), (b, c), (c, n), (n, a), (m, n)):
        d.sketch.segment(start, end)
    d.setting(f"triangle {a}{b}{c}", f"三角形{a}{b}{c}")
    d.fact(d.say(f"{m} is the midpoint of {a}{b}", f"{m}是{a}{b}的中点"), lambda: d.sketch.equal_ticks((a, m), (m, b)))
    d.fact(
        d.say(f"{n} is the midpoint of {a}{c}", f"{n}是{a}{c}的中点"),
        lambda: d.sketch.equal_ticks((a, n), (n, c), count=2),
    )
    half = Fraction(base, 2)
    if d.rng.random() < 0.5:
        d.given_length(b, c, base, unit)
        d.ask_length(m, n)
        d.step("The midline of a triangle is half as long as the third side.", "三角形的中位线等于第三边的一半。")
        d.steps.append(f"{m}{n} = {base} ÷ 2 = {show(half)}")
        return d.exercise(
            8,
            half,
            unit,
            wrong=[base, 2 * base, Fraction(base, 3)],
            measure=lambda r: r.distance(m, n) / r.distance(b, c) * base,
        )
    d.given_length(m, n, half, unit)
    d.ask_length(b, c)
    d.step("The third side is twice as long as the midline.", "第三边是中位线的两倍。")
    d.steps.append(f"{b}{c} = 2 × {show(half)} = {base}")
    return d.exercise(
        8,
        base,
        unit,
        wrong=[half, 3 * half, base + 2],
        measure=lambda r: r.distance(b, c) / r.distance(m, n) * float(half),
    )


def law_of_cosines(d: Draft) -> Exercise:
    """The third side of a triangle from two sides and their angle."""
    unit = some_unit(d)
    first, second = d.rng.randint(4, 14), d.rng.randint(4, 14)
    degrees = d.rng.choice((60, 120, d.rng.randint(35, 140)))
    radians = math.radians(degrees)
    c, a, b = name_points(d, (0, 0), (first, 0), (second * math.cos(radians), second * math.sin(radians)))
    d.sketch.polygon(c, a, b, fill=d.rng.choice((None, 0)))
    d.setting(f"triangle {c}{a}{b}", f"三角形{c}{a}{b}")
    d.given_length(c, a, first, unit)
    d.given_length(c, b, second, unit)
    d.given_angle(a, c, b, degrees)
    d.ask_length(a, b)
    exact = degrees in (60, 120)
    cosine = Fraction(1 if degrees == 60 else -1, 2) if exact else decimal(math.cos(radians))
    squared, opposite = (first**2 + second**2 - sign * 2 * first * second * cosine for sign in (1, -1))
    answer: Value = sympy.sqrt(squared.numerator) if exact else decimal(math.sqrt(squared))
    digits = None if exact else 1
    d.step("Use the law of cosines.", "使用余弦定理。")
    expression = f"{first}² + {second}² − 2 × {first} × {second} × cos {degrees}°"
    if exact:
        d.steps.append(f"{a}{b}² = {expression} = {squared}")
        d.steps.append(f"{a}{b} = {show_root(squared.numerator)}")
    else:
        d.steps.append(f"{a}{b} = √({expression}) ≈ {show(answer, unit, 1)}")
    return d.exercise(
        10,
        answer,
        unit,
        digits=digits,
        wrong=[
            sympy.sqrt(first**2 + second**2),
            first + second,
            sympy.sqrt(opposite.numerator) if exact else decimal(math.sqrt(opposite)),
        ],
        measure=lambda r: r.distance(a, b) / r.distance(c, a) * first,
    )


def law_of_sines(d: Draft) -> Exercise:
    """A side of a triangle from another side and two angles."""
    unit = some_unit(d)
    first, second, side = d.rng.randint(35, 85), d.rng.randint(35, 75), d.rng.randint(5, 20)
    third = 180 - first - second
    turn = d.turn()
    a, b, c = d.symbols(3)
    for name, at in zip((a, b, c), triangle_from_angles(first, second, turn), strict=True):
        d.sketch.point(name, at)
    d.sketch.polygon(a, b, c)
    d.setting(f"triangle {a}{b}{c}", f"三角形{a}{b}{c}")
    d.given_angle(b, a, c, first)
    d.given_angle(a, b, c, second)
    d.given_length(b, c, side, unit)
    d.ask_length(a, c)
    sine = {
        name: decimal(math.sin(math.radians(angle))) for name, angle in (("a", first), ("b", second), ("c", third))
    }
    answer = side * sine["b"] / sine["a"]
    d.step("Use the law of sines.", "使用正弦定理。")
    d.steps.append(f"{a}{c} = {side} × sin {second}° ÷ sin {first}° ≈ {show(answer, unit, 1)}")
    return d.exercise(
        10,
        answer,
        unit,
        digits=1,
        wrong=[side * sine["a"] / sine["b"], side * sine["c"] / sine["a"], side * sine["b"]],
        measure=lambda r: r.distance(a, c) / r.distance(b, c) * side,
    )


LENGTHS: dict[str, Callable[[Draft], Exercise]] = {
    "pythagoras": pythagoras,
    "right_triangle_trig": right_triangle_trig,
    "parallel_in_triangle": parallel_in_triangle,
    "midline": midline,
    "law_of_cosines": law_of_cosines,
    "law_of_sines": law_of_sines,
}
