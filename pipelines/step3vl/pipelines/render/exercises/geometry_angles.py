"""Angles: triangles, parallels, polygons, and angles around a point."""

import math
from collections.abc import Callable

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.sketch import XY, between, on_circle, turned


def triangle_from_angles(first: float, second: float, turn: float = 0.0) -> tuple[XY, XY, XY]:
    """A triangle by the angles at its first two vertices, with a first side of length 1."""
    third = 180 - first - second
    side = math.sin(math.radians(second)) / math.sin(math.radians(third))
    apex = on_circle((0.0, 0.0), side, first)
    return turned((0.0, 0.0), turn), turned((1.0, 0.0), turn), turned(apex, turn)


def _render_triangle(d: Draft, first: int, second: int) -> tuple[str, str, str]:
    a, b, c = d.symbols(3)
    if d.rng.random() < 0.3:
        a, b, c = c, a, b
    for name, at in zip((a, b, c), triangle_from_angles(first, second, d.turn()), strict=True):
        d.sketch.point(name, at)
    d.sketch.polygon(a, b, c, fill=d.rng.choice((None, None, 2)))
    return a, b, c


def triangle_sum(d: Draft) -> Exercise:
    """Two angles of a triangle give the third."""
    first, second = d.rng.randint(28, 95), d.rng.randint(28, 80)
    if 180 - first - second < 25:
        first = d.rng.randint(30, 60)
    a, b, c = _render_triangle(d, first, second)
    third = 180 - first - second
    d.setting(f"triangle {a}{b}{c}", f"三角形{a}{b}{c}")
    d.given_angle(b, a, c, first)
    d.given_angle(a, b, c, second)
    d.ask_angle(a, c, b)
    d.step("The angles of a triangle add up to 180°.", "三角形的内角和为180°。")
    d.steps.append(f"180° − {first}° − {second}° = {third}°")
    return d.exercise(
        7,
        third,
        "°",
        wrong=[180 - first, 180 - second, first + second, abs(first - second)],
        measure=lambda r: r.angle(a, c, b),
        loose=True,
    )


def isosceles(d: Draft) -> Exercise:
    """The base angles of an isosceles triangle are equal."""
    base = d.rng.randint(30, 78)
    apex = 180 - 2 * base
    a, b, c = _render_triangle(d, base, base)
    d.setting(f"triangle {a}{b}{c}", f"三角形{a}{b}{c}")
    d.shown_fact(f"{a}{c} = {b}{c}", lambda: d.sketch.equal_ticks((a, c), (b, c)))
    if d.rng.random() < 0.5:
        d.given_angle(a, c, b, apex)
        d.ask_angle(b, a, c)
        d.step("Equal sides have equal angles opposite.", "等边对等角，两底角相等。")
        d.steps.append(f"(180° − {apex}°) ÷ 2 = {base}°")
        return d.exercise(
            8,
            base,
            "°",
            wrong=[180 - apex, apex, (180 - apex) // 2 + 10, 90 - base],
            measure=lambda r: r.angle(b, a, c),
        )
    d.given_angle(b, a, c, base)
    d.ask_angle(a, c, b)
    d.step("The base angles are equal.", "两个底角相等。")
    d.steps.append(f"180° − 2 × {base}° = {apex}°")
    return d.exercise(8, apex, "°", wrong=[base, 180 - base, 90 - base, 2 * base], measure=lambda r: r.angle(a, c, b))


def exterior(d: Draft) -> Exercise:
    """An exterior angle is the sum of the two opposite interior ones."""
    first, second = d.rng.randint(35, 75), d.rng.randint(40, 80)
    a, b, c = _render_triangle(d, first, second)
    e = chr(ord(max(a, b, c)) + 1)
    (x1, y1), (x2, y2) = d.sketch.points[a], d.sketch.points[b]
    d.sketch.point(e, (x2 + 0.45 * (x2 - x1), y2 + 0.45 * (y2 - y1)))
    d.sketch.segment(b, e)
    outer = 180 - second
    third = 180 - first - second
    d.setting(f"triangle {a}{b}{c} with side {a}{b} extended to {e}", f"三角形{a}{b}{c}，边{a}{b}延长至点{e}")
    if d.rng.random() < 0.5:
        d.given_angle(b, a, c, first)
        d.given_angle(a, c, b, third)
        d.ask_angle(c, b, e)
        d.step(
            "An exterior angle of a triangle equals the sum of the two opposite interior angles.",
            "三角形的外角等于与它不相邻的两个内角之和。",
        )
        d.steps.append(f"{first}° + {third}° = {outer}°")
        return d.exercise(
            7,
            outer,
            "°",
            wrong=[second, 180 - first, 180 - third, abs(first - third)],
            measure=lambda r: r.angle(c, b, e),
            loose=True,
        )
    d.given_angle(b, a, c, first)
    d.given_angle(c, b, e, outer)
    d.ask_angle(a, c, b)
    d.step(
        f"The exterior angle ∠{c}{b}{e} is the sum of ∠{b}{a}{c} and ∠{a}{c}{b}.",
        f"外角∠{c}{b}{e}等于∠{b}{a}{c}与∠{a}{c}{b}的和。",
    )
    d.steps.append(f"{outer}° − {first}° = {third}°")
    return d.exercise(
        7, third, "°", wrong=[second, 180 - outer, 180 - first, outer], measure=lambda r: r.angle(a, c, b), loose=True
    )


def parallel_lines(d: Draft) -> Exercise:
    """A line across two parallels: corresponding, alternate and co-interior angles."""
    slope = d.rng.randint(40, 140)
    if abs(slope - 90) < 12:
        slope += 25
    turn = d.rng.choice((0, 0, d.rng.uniform(-20, 20)))
    top, bottom = 0.45, -0.45
    shift = math.tan(math.radians(90 - slope))
    crossing = {y: (shift * y, y) for y in (top, bottom)}
    names = d.rng.choice((("A", "B", "C", "D", "E", "F", "P", "Q"), ("P", "Q", "R", "S", "T", "U", "M", "N")))
    a, b, c, e, g, h, p, q = names
    reach = 1.3
    for name, at in (
        (a, (-reach, top)), (b, (reach, top)), (c, (-reach, bottom)), (e, (reach, bottom)),
        (g, (shift, 1.0)), (h, (-shift, -1.0)),
        (p, crossing[top]), (q, crossing[bottom]),
    ):  # fmt: skip
        d.sketch.point(name, turned(at, turn))
    for start, end in ((a, p), (p, b), (c, q), (q, e), (g, p), (p, q), (q, h)):
        d.sketch.segment(start, end)
    d.setting(f"lines {a}{b} and {c}{e} cut by line {g}{h}", f"直线{a}{b}、{c}{e}被直线{g}{h}所截")
    d.shown_fact(f"{a}{b} ∥ {c}{e}", lambda: d.sketch.equal_ticks((p, b), (q, e), parallel=True))
    kinds: dict[str, tuple[tuple[str, str], tuple[str, str], bool, str, str]] = {
        "corresponding": (
            (g, b), (p, e), True, "Corresponding angles at parallel lines are equal.", "两直线平行，同位角相等。"
        ),
        "alternate": (
            (a, q), (p, e), True, "Alternate angles at parallel lines are equal.", "两直线平行，内错角相等。"
        ),
        "co-interior": (
            (b, q), (p, e), False, "Co-interior angles at parallel lines add up to 180°.", "两直线平行，同旁内角互补。"
        ),
    }  # fmt: skip
    (first, last), (third, fourth), equal, en, zh = d.rng.choice(list(kinds.values()))
    if d.rng.random() < 0.5:  # the mirrored pair, on the other side of the transversal
        flip = {a: b, b: a, c: e, e: c}
        first, last, third, fourth = (flip.get(name, name) for name in (first, last, third, fourth))
    size = round(_angle(d, first, last, p))
    answer = size if equal else 180 - size
    d.given_angle(first, p, last, size)
    d.ask_angle(third, q, fourth)
    d.step(en, zh)
    d.steps.append(f"∠{third}{q}{fourth} = " + (f"{size}°" if equal else f"180° − {size}° = {answer}°"))
    return d.exercise(
        7, answer, "°", wrong=[180 - answer, 90 - answer, 360 - 2 * size], measure=lambda r: r.angle(third, q, fourth)
    )


def _angle(d: Draft, first: str, second: str, vertex: str) -> float:
    (x, y), (x1, y1), (x2, y2) = (d.sketch.points[name] for name in (vertex, first, second))
    turn = abs(math.degrees(math.atan2(y1 - y, x1 - x) - math.atan2(y2 - y, x2 - x))) % 360
    return min(turn, 360 - turn)


def quadrilateral_sum(d: Draft) -> Exercise:
    """The angles of a polygon of four or five sides, all but one given."""
    count = d.rng.choice((4, 4, 5))
    whole = (count - 2) * 180
    for _ in range(200):
        angles = [d.rng.randint(60, 150) for _ in range(count - 1)]
        last = whole - sum(angles)
        if not 55 <= last <= 155:
            continue
        points = _polygon([*angles, last], d)
        if points is not None:
            break
    else:
        raise Unsuited("no such polygon was found")
    names = d.symbols(count)
    for name, at in zip(names, points, strict=True):
        d.sketch.point(name, at)
    d.sketch.polygon(*names, fill=d.rng.choice((None, 3)))
    d.setting(
        f"{'quadrilateral' if count == 4 else 'pentagon'} {''.join(names)}",
        f"{'四' if count == 4 else '五'}边形{''.join(names)}",
    )
    around = [*names[-1:], *names, names[0]]
    for i in range(count - 1):
        d.given_angle(around[i], names[i], around[i + 2], angles[i], noun=f"∠{names[i]}")
    before, vertex, after = names[-2], names[-1], names[0]
    d.ask_angle(before, vertex, after, noun=f"∠{vertex}")
    d.step(
        f"The interior angles of a polygon with {count} sides add up to ({count} − 2) × 180° = {whole}°.",
        f"{count}边形的内角和为 ({count} − 2) × 180° = {whole}°。",
    )
    d.steps.append(f"{whole}° − " + " − ".join(f"{angle}°" for angle in angles) + f" = {last}°")
    return d.exercise(
        8,
        last,
        "°",
        wrong=[abs(last - 10), last + 10, abs(360 - sum(angles)), 180 - angles[-1]],
        measure=lambda r: r.angle(before, vertex, after),
        loose=True,
    )


def _polygon(angles: list[int], d: Draft) -> list[XY] | None:
    """A convex polygon with these interior angles, whose sides are of similar length."""
    count = len(angles)
    directions = [0.0]
    for angle in angles[1:]:
        directions.append(directions[-1] + 180 - angle)
    lengths = [d.rng.uniform(0.8, 1.3) for _ in range(count - 2)]
    x = sum(length * math.cos(math.radians(t)) for length, t in zip(lengths, directions, strict=False))
    y = sum(length * math.sin(math.radians(t)) for length, t in zip(lengths, directions, strict=False))
    # The last two sides close the polygon: two equations for two lengths.
    c1, s1 = math.cos(math.radians(directions[-2])), math.sin(math.radians(directions[-2]))
    c2, s2 = math.cos(math.radians(directions[-1])), math.sin(math.radians(directions[-1]))
    determinant = c1 * s2 - c2 * s1
    if abs(determinant) < 1e-6:
        return None
    lengths += [(-x * s2 + y * c2) / determinant, (-y * c1 + x * s1) / determinant]
    if not all(0.6 < length < 1.8 for length in lengths):
        return None
    points = [(0.0, 0.0)]
    for length, t in zip(lengths[:-1], directions[:-1], strict=True):
        points.append(
            (points[-1][0] + length * math.cos(math.radians(t)), points[-1][1] + length * math.sin(math.radians(t)))
        )
    turn = d.turn()
    return [turned(at, turn) for at in points]


_POLYGONS = {5: ("pentagon", "正五边形"), 6: ("hexagon", "正六边形"), 8: ("octagon", "正八边形"),
             9: ("nonagon", "正九边形"),
             10: ("decagon", "正十边形"), 12: ("dodecagon", "正十二边形")}  # fmt: skip


def regular_polygon(d: Draft) -> Exercise:
    """An angle of a regular polygon."""
    count = d.rng.choice(list(_POLYGONS))
    en, zh = _POLYGONS[count]
    names = [chr(ord("A") + i) for i in range(count)]
    start = d.rng.choice((90.0, 90 + 180 / count))
    for i, name in enumerate(names):
        d.sketch.point(name, on_circle((0, 0), 1, start - 360 * i / count), away=(0, 0))
    d.sketch.polygon(*names, fill=d.rng.choice((None, 4)))
    d.setting(f"the regular {en} {''.join(names)}", f"{zh}{''.join(names)}")
    if d.rng.random() < 0.5:
        answer = (count - 2) * 180 // count
        d.ask(f"the interior angle ∠{names[0]}{names[1]}{names[2]}", f"内角∠{names[0]}{names[1]}{names[2]}的度数")
        d.step(
            f"The angles of a polygon with {count} sides add up to ({count} − 2) × 180° = {(count - 2) * 180}°.",
            f"{count}边形的内角和为 ({count} − 2) × 180° = {(count - 2) * 180}°。",
        )
        d.steps.append(f"{(count - 2) * 180}° ÷ {count} = {answer}°")
        return d.exercise(
            8,
            answer,
            "°",
            wrong=[360 // count, 180 - 720 // count, (count - 1) * 180 // count, 180 - answer],
            measure=lambda r: r.angle(names[0], names[1], names[2]),
        )
    d.sketch.point("O", (0, 0), dot=True)
    d.sketch.segment("O", names[0], "aid")
    d.sketch.segment("O", names[1], "aid")
    answer = 360 // count
    d.note(f"O is its centre, joined to {names[0]} and {names[1]}.", f"O为其中心，连接O{names[0]}与O{names[1]}。")
    d.ask(f"the angle ∠{names[0]}O{names[1]} at the centre O", f"中心角∠{names[0]}O{names[1]}的度数")
    d.step(f"The {count} equal angles at the centre make a full turn.", f"{count}个相等的中心角合成一个周角。")
    d.steps.append(f"360° ÷ {count} = {answer}°")
    return d.exercise(
        9,
        answer,
        "°",
        wrong=[180 // count, (count - 2) * 180 // count, 90 - answer],
        measure=lambda r: r.angle(names[0], "O", names[1]),
    )


def straight_line(d: Draft) -> Exercise:
    """Angles on a straight line."""
    count = d.rng.choice((2, 3))
    if count == 2:
        parts = [d.rng.randint(25, 155)]
    else:
        parts = [d.rng.randint(25, 80), d.rng.randint(30, 75)]
    last = 180 - sum(parts)
    names = ["A", "C", "D", "B"] if count == 3 else ["A", "C", "B"]
    turn = d.rng.uniform(-30, 30)
    at = 180.0
    d.sketch.point("O", (0, 0), away=(0, 1))
    directions = [at]
    for part in parts:
        directions.append(directions[-1] - part)
    directions.append(0.0)
    for name, direction in zip(names, directions, strict=True):
        d.sketch.point(name, turned(on_circle((0, 0), 1.0, direction), turn))
        d.sketch.segment("O", name)
    rays = "、".join(f"O{n}" for n in names[1:-1])
    d.setting(
        f"the straight line AB through O with {'rays OC and OD' if count == 3 else 'ray OC'}",
        f"过点O的直线AB以及射线{rays}",
    )
    for i, part in enumerate(parts):
        d.given_angle(names[i], "O", names[i + 1], part)
    d.ask_angle(names[-2], "O", names[-1])
    d.step("The angles on a straight line add up to 180°.", "直线上的各角之和为180°。")
    d.steps.append("180° − " + " − ".join(f"{part}°" for part in parts) + f" = {last}°")
    return d.exercise(
        5,
        last,
        "°",
        wrong=[abs(90 - sum(parts)), sum(parts), 360 - sum(parts), parts[0]],
        measure=lambda r: r.angle(names[-2], "O", names[-1]),
    )


def crossing_lines(d: Draft) -> Exercise:
    """Vertical angles where two lines cross."""
    size = d.rng.randint(28, 85)
    turn = d.rng.uniform(0, 180)
    for name, direction, reach in (("A", 0, 1.0), ("B", 180, 0.9), ("C", size, 0.95), ("D", 180 + size, 1.0)):
        d.sketch.point(name, turned(on_circle((0, 0), reach, direction), turn))
    d.sketch.point("O", (0, 0), away=turned(on_circle((0, 0), 1, size / 2), turn))
    for name in "ABCD":
        d.sketch.segment("O", name)
    d.setting("lines AB and CD that cross at O", "相交于点O的直线AB与CD")
    d.given_angle("A", "O", "C", size)
    if d.rng.random() < 0.5:
        d.ask_angle("B", "O", "D")
        d.step("Vertical angles are equal.", "对顶角相等。")
        d.steps.append(f"∠BOD = ∠AOC = {size}°")
        return d.exercise(
            7, size, "°", wrong=[180 - size, 90 - size, 2 * size], measure=lambda r: r.angle("B", "O", "D")
        )
    d.ask_angle("B", "O", "C")
    d.step("∠AOC and ∠BOC form a straight angle.", "∠AOC与∠BOC互为邻补角。")
    d.steps.append(f"180° − {size}° = {180 - size}°")
    return d.exercise(
        7, 180 - size, "°", wrong=[size, 90 - size, 360 - size], measure=lambda r: r.angle("B", "O", "C")
    )


def bisector(d: Draft) -> Exercise:
    """A bisector of an angle of a triangle, and the angle that it makes with the opposite side."""
    first, second = 2 * d.rng.randint(20, 38), d.rng.randint(40, 75)
    a, b, c = _render_triangle(d, first, second)
    e = chr(ord(max(a, b, c)) + 1)
    pa, pb, pc = (d.sketch.points[name] for name in (a, b, c))
    share = math.dist(pa, pb) / (math.dist(pa, pb) + math.dist(pa, pc))
    d.sketch.point(e, between(pb, pc, share))
    d.sketch.segment(b, e)
    d.sketch.segment(e, c)
    d.sketch.strokes = [s for s in d.sketch.strokes if s.name != f"{b}-{c}"]
    d.sketch.segment(a, e)
    d.setting(f"triangle {a}{b}{c} with point {e} on side {b}{c}", f"三角形{a}{b}{c}，点{e}在边{b}{c}上")
    d.facts.append(d.say(f"{a}{e} bisects ∠{b}{a}{c}", f"{a}{e}平分∠{b}{a}{c}"))
    d.note(f"{a}{e} bisects ∠{b}{a}{c}.", f"{a}{e}平分∠{b}{a}{c}。")
    d.fact(f"∠{b}{a}{c} = {first}°")
    d.given_angle(a, b, c, second)
    half, answer = first // 2, 180 - first // 2 - second
    d.ask_angle(a, e, b)
    d.step(
        f"The bisector halves the angle: ∠{b}{a}{e} = {first}° ÷ 2 = {half}°",
        f"角平分线平分该角：∠{b}{a}{e} = {first}° ÷ 2 = {half}°",
    )
    d.step(
        f"In triangle {a}{b}{e}: 180° − {half}° − {second}° = {answer}°",
        f"在三角形{a}{b}{e}中：180° − {half}° − {second}° = {answer}°",
    )
    return d.exercise(
        8,
        answer,
        "°",
        wrong=[180 - first - second, 180 - answer, half + second - 10, 90],
        measure=lambda r: r.angle(a, e, b),
    )


ANGLES: dict[str, Callable[[Draft], Exercise]] = {
    "triangle_sum": triangle_sum,
    "isosceles": isosceles,
    "exterior_angle": exterior,
    "parallel_lines": parallel_lines,
    "polygon_angle": quadrilateral_sum,
    "regular_polygon": regular_polygon,
    "straight_line": straight_line,
    "crossing_lines": crossing_lines,
    "bisector": bisector,
}
