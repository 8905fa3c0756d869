"""Circles: angles at centre and rim, tangents, chords, sectors, and areas between shapes."""

import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise
from step3vl.pipelines.render.exercises.exercise_values import Value, show
from step3vl.pipelines.render.exercises.geometry_lengths import square_unit
from step3vl.pipelines.render.exercises.sketch import BLANK, XY, on_circle, turned

_UNITS = ("cm", "cm", "m", "mm", "")


def _circle(d: Draft, **directions: float) -> float:
    """A circle of radius 1 around O with named points on it; returns how far everything is turned."""
    turn = d.rng.uniform(-30, 30)
    d.sketch.circle("circle", (0, 0), 1)
    d.sketch.point("O", (0, 0), dot=True)
    for name, direction in directions.items():
        d.sketch.point(name, on_circle((0, 0), 1, direction + turn), away=(0, 0))
    return turn


def inscribed_angle(d: Draft) -> Exercise:
    """The angle at the centre is twice the angle at the rim."""
    rim = d.rng.randint(22, 75)
    rest = 360 - 2 * rim
    _circle(d, A=-90 - rim, B=-90 + rim, C=-90 + rim + rest * d.rng.uniform(0.35, 0.65))
    for start, end in (("O", "A"), ("O", "B"), ("A", "C"), ("B", "C")):
        d.sketch.segment(start, end)
    d.setting("points A, B and C on the circle with centre O", "以O为圆心的圆及圆上的点A、B、C")
    if d.rng.random() < 0.5:
        d.given_angle("A", "O", "B", 2 * rim)
        d.ask_angle("A", "C", "B")
        d.step("An inscribed angle is half the central angle over the same arc.", "同弧所对的圆周角等于圆心角的一半。")
        d.steps.append(f"∠ACB = {2 * rim}° ÷ 2 = {rim}°")
        return d.exercise(
            9, rim, "°", wrong=[2 * rim, 180 - 2 * rim, 90 - rim, 180 - rim], measure=lambda r: r.angle("A", "C", "B")
        )
    d.given_angle("A", "C", "B", rim)
    d.ask_angle("A", "O", "B")
    d.step("The central angle is twice the inscribed angle over the same arc.", "圆心角等于同弧所对圆周角的两倍。")
    d.steps.append(f"∠AOB = 2 × {rim}° = {2 * rim}°")
    return d.exercise(
        9, 2 * rim, "°", wrong=[rim, 180 - rim, 180 - 2 * rim, 90 + rim], measure=lambda r: r.angle("A", "O", "B")
    )


def thales(d: Draft) -> Exercise:
    """An angle in a semicircle is right."""
    angle = d.rng.randint(22, 68)
    _circle(d, A=180, B=0, C=2 * angle)
    for start, end in (("A", "O"), ("O", "B"), ("A", "C"), ("B", "C")):
        d.sketch.segment(start, end)
    d.setting("a circle with centre O, its diameter AB and a point C on it", "圆O及其直径AB，点C在圆上")
    d.given_angle("C", "A", "B", angle)
    d.ask_angle("A", "B", "C")
    d.step("C lies on the circle over the diameter AB, so ∠ACB = 90°.", "直径所对的圆周角是直角，∠ACB = 90°。")
    d.steps.append(f"∠ABC = 90° − {angle}° = {90 - angle}°")
    return d.exercise(
        9,
        90 - angle,
        "°",
        wrong=[angle, 180 - angle, 180 - 2 * angle, 2 * angle],
        measure=lambda r: r.angle("A", "B", "C"),
    )


def cyclic_quadrilateral(d: Draft) -> Exercise:
    """Opposite angles of a cyclic quadrilateral add up to 180°."""
    angle = d.rng.randint(62, 118)
    arc = 2 * angle  # from B to D that does not hold A
    split = d.rng.uniform(0.4, 0.6)
    turn = d.rng.uniform(0, 360)
    d.sketch.circle("circle", (0, 0), 1)
    for name, direction in (("A", arc + (360 - arc) * split), ("B", 0.0), ("C", arc * split), ("D", float(arc))):
        d.sketch.point(name, on_circle((0, 0), 1, direction + turn), away=(0, 0))
    d.sketch.polygon(*"ABCD")
    d.setting("the quadrilateral ABCD inscribed in a circle", "圆内接四边形ABCD")
    d.given_angle("D", "A", "B", angle)
    d.ask_angle("B", "C", "D")
    d.step("Opposite angles of a cyclic quadrilateral add up to 180°.", "圆内接四边形的对角互补。")
    d.steps.append(f"∠BCD = 180° − {angle}° = {180 - angle}°")
    return d.exercise(
        9,
        180 - angle,
        "°",
        wrong=[angle, 360 - 2 * angle, abs(90 - angle), 2 * angle],
        measure=lambda r: r.angle("B", "C", "D"),
    )


def tangent_length(d: Draft) -> Exercise:
    """A tangent, the radius to its point of contact, and the line to the centre."""
    unit = d.rng.choice(_UNITS)
    scale = d.rng.choice((1, 1, 2, 3))
    radius, tangent, whole = (
        side * scale
        for side in d.rng.choice(((3, 4, 5), (5, 12, 13), (8, 15, 17), (4, 3, 5), (12, 5, 13), (7, 24, 25)))
    )
    turn = d.rng.uniform(-40, 40)
    d.sketch.circle("circle", (0, 0), radius)
    d.sketch.point("O", (0, 0), dot=True)
    foot = math.degrees(math.acos(radius / whole))
    d.sketch.point("P", on_circle((0, 0), whole, turn), away=(0, 0))
    d.sketch.point("T", on_circle((0, 0), radius, turn + foot), away=(0, 0))
    for start, end in (("O", "P"), ("P", "T"), ("O", "T")):
        d.sketch.segment(start, end)
    d.setting("a circle with centre O and the line PT that touches it at T", "圆O，直线PT与圆相切于点T")
    if d.rng.random() < 0.5:
        d.given_length("O", "T", radius, unit)
        d.given_length("O", "P", whole, unit)
        d.ask_length("P", "T")
        d.step("A tangent is perpendicular to the radius at the point of contact.", "切线垂直于过切点的半径。")
        d.steps.append(f"PT = √({whole}² − {radius}²) = √{whole**2 - radius**2} = {tangent}")
        return d.exercise(
            9,
            tangent,
            unit,
            wrong=[whole - radius, sympy.sqrt(whole**2 + radius**2), whole + radius],
            measure=lambda r: r.distance("P", "T") / r.radius("circle") * radius,
        )
    d.given_length("P", "T", tangent, unit)
    d.given_length("O", "P", whole, unit)
    d.ask("the radius of the circle", "圆的半径")
    d.step("OT is perpendicular to PT.", "OT垂直于PT。")
    d.steps.append(f"OT = √({whole}² − {tangent}²) = √{whole**2 - tangent**2} = {radius}")
    return d.exercise(
        9,
        radius,
        unit,
        wrong=[whole - tangent, sympy.sqrt(whole**2 + tangent**2), 2 * radius],
        measure=lambda r: r.radius("circle") / r.distance("P", "T") * tangent,
    )


def chord_distance(d: Draft) -> Exercise:
    """A chord, its distance from the centre, and the radius."""
    unit = d.rng.choice(_UNITS)
    scale = d.rng.choice((1, 1, 2))
    half, away, radius = (
        side * scale
        for side in d.rng.choice(((3, 4, 5), (4, 3, 5), (5, 12, 13), (12, 5, 13), (8, 15, 17), (15, 8, 17)))
    )
    turn = d.turn()
    d.sketch.circle("circle", (0, 0), radius)
    for name, at in (("A", (-half, away)), ("B", (half, away)), ("M", (0, away))):
        d.sketch.point(name, turned(at, turn), away=(0, 0))
    d.sketch.point("O", (0, 0), dot=True)
    for start, end in (("A", "M"), ("M", "B"), ("O", "M"), ("O", "A")):
        d.sketch.segment(start, end)
    d.setting("a circle with centre O, its chord AB, and OM perpendicular to AB", "圆O中的弦AB，OM垂直于AB于点M")
    d.shown_fact("OM ⊥ AB", lambda: d.sketch.angle("O", "M", "B", right=True))
    d.given_length("O", "A", radius, unit)
    if d.rng.random() < 0.5:
        d.given_length("O", "M", away, unit)
        d.ask("the length of the chord AB", "弦AB的长")
        d.steps.append(f"AM = √({radius}² − {away}²) = {half}")
        d.step(f"OM bisects the chord: AB = 2 × {half} = {2 * half}", f"OM平分弦AB：AB = 2 × {half} = {2 * half}")
        return d.exercise(
            9,
            2 * half,
            unit,
            wrong=[half, radius - away, 2 * radius, radius + away],
            measure=lambda r: (r.distance("A", "M") + r.distance("M", "B")) / r.radius("circle") * radius,
        )
    d.facts.append(f"AB = {show(2 * half, unit)}")
    d.ask("the distance of the chord from the centre", "圆心到弦的距离")
    d.steps.append(f"AM = {2 * half} ÷ 2 = {half}")
    d.steps.append(f"OM = √({radius}² − {half}²) = {away}")
    return d.exercise(
        9,
        away,
        unit,
        wrong=[radius - half, half, sympy.sqrt(abs((2 * half) ** 2 - radius**2)), radius],
        measure=lambda r: r.distance("O", "M") / r.radius("circle") * radius,
    )


def sector(d: Draft) -> Exercise:
    """Arc length or area of a sector."""
    unit = d.rng.choice(_UNITS)
    radius, degrees = d.rng.randint(3, 18), d.rng.choice((30, 40, 45, 60, 72, 80, 90, 100, 120, 135, 144, 150))
    start = d.rng.uniform(0, 360)
    d.sketch.point("O", (0, 0))
    d.sketch.point("A", on_circle((0, 0), 1, start), away=(0, 0))
    d.sketch.point("B", on_circle((0, 0), 1, start + degrees), away=(0, 0))
    points = [(0.0, 0.0)] + [on_circle((0, 0), 1, start + degrees * i / 60) for i in range(61)]
    d.sketch.line("sector", points, "grid", closed=True, fill=2)
    d.sketch.segment("O", "A")
    d.sketch.segment("O", "B")
    d.sketch.arc("arc", (0, 0), 1, start, start + degrees)
    d.setting("a sector of a circle with centre O", "以O为圆心的扇形OAB")
    d.given_length("O", "A", radius, unit)
    d.given_angle("A", "O", "B", degrees)
    if d.rng.random() < 0.5:
        length = sympy.Rational(degrees * radius, 180) * sympy.pi
        d.ask("the length of the arc AB in terms of π", "弧AB的长（结果保留π）")
        d.steps.append(d.say("Arc = (angle ÷ 360°) × 2πr", "弧长 = (圆心角 ÷ 360°) × 2πr"))
        d.steps.append(f"({degrees} ÷ 360) × 2 × π × {radius} = {show(length)}")
        return d.exercise(
            9,
            length,
            unit,
            wrong=[length / 2, length * 2, length * radius / 2],
            measure=lambda r: r.length("arc") / r.distance("O", "A") * radius,
        )
    area = sympy.Rational(degrees * radius**2, 360) * sympy.pi
    d.ask("the area of the sector in terms of π", "扇形的面积（结果保留π）")
    d.steps.append(d.say("Area = (angle ÷ 360°) × πr²", "面积 = (圆心角 ÷ 360°) × πr²"))
    d.steps.append(f"({degrees} ÷ 360) × π × {radius}² = {show(area)}")
    return d.exercise(
        9,
        area,
        square_unit(unit),
        wrong=[area * 2, area * 2 / radius, sympy.pi * radius**2],
        measure=lambda r: r.enclosed("sector") / r.distance("O", "A") ** 2 * radius**2,
    )


def ring(d: Draft) -> Exercise:
    """A ring, or a square without its inscribed circle or the reverse."""
    unit = d.rng.choice(_UNITS[:4])
    kind = d.rng.choice(("ring", "square", "in_circle"))
    outer = d.rng.randint(4, 14)
    d.sketch.point("O", (0, 0), dot=True)
    if kind == "ring":
        inner = d.rng.randint(max(1, outer // 3), outer - 2)
        d.sketch.circle("outer", (0, 0), outer, fill=1, role="grid")
        d.sketch.circle("rim", (0, 0), outer)
        d.sketch.circle("inner", (0, 0), inner, fill=BLANK)
        side = d.rng.uniform(10, 60)
        d.sketch.point("A", on_circle((0, 0), outer, side), away=(0, 0))
        d.sketch.point("B", on_circle((0, 0), inner, side + 100), away=(0, 0))
        d.sketch.segment("O", "A", "aid")
        d.sketch.segment("O", "B", "aid")
        d.setting("the ring between two circles with centre O", "以O为公共圆心的两圆之间的圆环")
        d.given_length("O", "A", outer, unit)
        d.given_length("O", "B", inner, unit)
        d.facts.append(d.say("A lies on the larger circle and B on the smaller", "A在大圆上，B在小圆上"))
        area: Value = (outer**2 - inner**2) * sympy.pi
        d.ask("the area of the ring in terms of π", "圆环的面积（结果保留π）")
        d.steps.append(f"π × {outer}² − π × {inner}² = {show(area)}")
        return d.exercise(
            9,
            area,
            f"{unit}²",
            wrong=[(outer - inner) ** 2 * sympy.pi, (outer**2 + inner**2) * sympy.pi, 2 * (outer - inner) * sympy.pi],
            measure=lambda r: (r.enclosed("rim") - r.enclosed("inner")) / r.distance("O", "A") ** 2 * outer**2,
        )
    names = dict(zip("ABCD", (225, 315, 45, 135), strict=True))
    reach = outer * math.sqrt(2) if kind == "square" else outer
    for name, direction in names.items():
        d.sketch.point(name, on_circle((0, 0), reach, direction), away=(0, 0))
    if kind == "in_circle":
        d.sketch.circle("disc", (0, 0), outer, fill=2, role="grid")
        d.sketch.circle("rim", (0, 0), outer)
        d.sketch.polygon(*"ABCD", fill=BLANK)
    else:
        d.sketch.polygon(*"ABCD", fill=3)
        d.sketch.circle("circle", (0, 0), outer, fill=BLANK)
    if kind == "square":
        d.setting("the square ABCD and the circle that touches its four sides", "正方形ABCD及其内切圆")
        d.given_length("A", "B", 2 * outer, unit)
        area = 4 * outer**2 - sympy.pi * outer**2
        d.ask(
            "the area inside of the square but outside of the circle, in terms of π",
            "正方形内、圆外部分的面积（结果保留π）",
        )
        d.step(f"The radius is {2 * outer} ÷ 2 = {outer}", f"圆的半径为 {2 * outer} ÷ 2 = {outer}")
        d.steps.append(f"{2 * outer}² − π × {outer}² = {show(area)}")
        return d.exercise(
            9,
            area,
            f"{unit}²",
            wrong=[sympy.pi * outer**2, 8 * outer - 2 * sympy.pi * outer, 4 * outer**2 - sympy.pi * outer],
            measure=lambda r: (r.area(*"ABCD") - r.enclosed("circle")) / r.distance("A", "B") ** 2 * 4 * outer**2,
        )
    d.sketch.segment("O", "A", "aid")
    d.setting("the square ABCD inscribed in the circle with centre O", "圆O的内接正方形ABCD")
    d.given_length("O", "A", outer, unit)
    area = sympy.pi * outer**2 - 2 * outer**2
    d.ask(
        "the area inside of the circle but outside of the square, in terms of π",
        "圆内、正方形外部分的面积（结果保留π）",
    )
    d.step(
        f"The diagonals are {2 * outer} long, so its area is {2 * outer} × {2 * outer} ÷ 2 = {2 * outer**2}",
        f"正方形的对角线长{2 * outer}，面积为 {2 * outer} × {2 * outer} ÷ 2 = {2 * outer**2}",
    )
    d.steps.append(f"π × {outer}² − {2 * outer**2} = {show(area)}")
    return d.exercise(
        9,
        area,
        f"{unit}²",
        wrong=[sympy.pi * outer**2 - outer**2, sympy.pi * outer**2 - 4 * outer**2, sympy.pi * outer**2],
        measure=lambda r: (r.enclosed("rim") - r.area(*"ABCD")) / r.distance("O", "A") ** 2 * outer**2,
    )


def crossing_chords(d: Draft) -> Exercise:
    """The products of the parts of two chords that cross."""
    unit = d.rng.choice(_UNITS)
    a, b = d.rng.randint(2, 9), d.rng.randint(3, 12)
    divisors = [n for n in range(2, a * b) if (a * b) % n == 0 and abs(n - a * b // n) <= 14 and n not in (a, b)]
    if not divisors:
        a, b, divisors = 4, 6, [3, 8]
    c = d.rng.choice(divisors)
    e = a * b // c
    tilt = d.rng.uniform(55, 110)
    turn = d.rng.uniform(-40, 40)
    # Four points with these distances from the crossing lie on a circle: the products are equal.
    at = {
        "A": on_circle((0, 0), a, 180),
        "B": on_circle((0, 0), b, 0),
        "C": on_circle((0, 0), c, tilt),
        "D": on_circle((0, 0), e, tilt + 180),
    }
    centre = _circumcentre(at["A"], at["B"], at["C"])
    radius = math.dist(centre, at["A"])
    d.sketch.circle("circle", turned(centre, turn), radius)
    for name, xy in at.items():
        d.sketch.point(name, turned(xy, turn), away=turned(centre, turn))
    d.sketch.point("P", (0, 0))
    for name in "ABCD":
        d.sketch.segment("P", name)
    d.setting("two chords AB and CD of a circle that cross at P", "圆的两条弦AB与CD相交于点P")
    d.given_length("P", "A", a, unit)
    d.given_length("P", "B", b, unit)
    d.given_length("P", "C", c, unit)
    d.ask_length("P", "D")
    answer = Fraction(a * b, c)
    d.step("By the theorem of crossing chords, PA × PB = PC × PD.", "由相交弦定理，PA × PB = PC × PD。")
    d.steps.append(f"PD = {a} × {b} ÷ {c} = {show(answer)}")
    return d.exercise(
        10,
        answer,
        unit,
        wrong=[Fraction(a * c, b), Fraction(b * c, a), abs(a + b - c) or 1],
        measure=lambda r: r.distance("P", "D") / r.distance("P", "A") * a,
        confirm=lambda r: abs(math.dist(r.point("D"), r.centre("circle")) / r.radius("circle") - 1) < 0.01,
    )


def _circumcentre(a: XY, b: XY, c: XY) -> XY:
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    double = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
    sa, sb, sc = ax**2 + ay**2, bx**2 + by**2, cx**2 + cy**2
    return (
        (sa * (by - cy) + sb * (cy - ay) + sc * (ay - by)) / double,
        (sa * (cx - bx) + sb * (ax - cx) + sc * (bx - ax)) / double,
    )


def tangent_angle(d: Draft) -> Exercise:
    """Two tangents from a point, and the angle between the radii."""
    angle = d.rng.randint(30, 110)
    reach = 1 / math.sin(math.radians(angle / 2))
    turn = d.rng.uniform(-30, 30)
    d.sketch.circle("circle", (0, 0), 1)
    d.sketch.point("O", (0, 0), dot=True)
    d.sketch.point("P", on_circle((0, 0), reach, turn), away=(0, 0))
    for name, sign in (("A", 1), ("B", -1)):
        d.sketch.point(name, on_circle((0, 0), 1, turn + sign * (90 - angle / 2)), away=(0, 0))
        d.sketch.segment("P", name)
        d.sketch.segment("O", name)
    d.setting("the tangents PA and PB from P to the circle with centre O", "从点P向圆O所引的切线PA、PB，A、B为切点")
    if d.rng.random() < 0.5:
        vertices, asked, answer = ("A", "P", "B"), ("A", "O", "B"), 180 - angle
        d.given_angle(*vertices, angle)
        value = angle
    else:
        vertices, asked, answer = ("A", "O", "B"), ("A", "P", "B"), angle
        value = 180 - angle
        d.given_angle(*vertices, value)
    d.ask_angle(*asked)
    d.step("The radii to A and B are perpendicular to the tangents.", "过切点的半径垂直于切线，故∠OAP与∠OBP都是直角。")
    d.steps.append(f"360° − 90° − 90° − {value}° = {answer}°")
    return d.exercise(
        9,
        answer,
        "°",
        wrong=[value, Fraction(value, 2), abs(90 - value), 360 - value],
        measure=lambda r: r.angle(*asked),
    )


CIRCLES: dict[str, Callable[[Draft], Exercise]] = {
    "inscribed_angle": inscribed_angle,
    "thales": thales,
    "cyclic_quadrilateral": cyclic_quadrilateral,
    "tangent_length": tangent_length,
    "chord_distance": chord_distance,
    "sector": sector,
    "ring": ring,
    "crossing_chords": crossing_chords,
    "tangent_angle": tangent_angle,
}
