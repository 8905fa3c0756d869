"""Areas, perimeters and volumes: triangles, quadrilaterals, composite shapes, cuboids."""

import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise
from step3vl.pipelines.render.exercises.exercise_values import Value, show, show_root
from step3vl.pipelines.render.exercises.geometry_lengths import name_points, some_unit, square_unit
from step3vl.pipelines.render.exercises.sketch import BLANK, turned
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def triangle_area(d: Draft) -> Exercise:
    """The area of a triangle with its height."""
    unit = some_unit(d)
    base, height = d.rng.randint(4, 20), d.rng.randint(3, 14)
    foot = base * d.rng.choice((0.25, 0.35, 0.6, 0.7, -0.2))
    a, b, c, h = name_points(d, (0, 0), (base, 0), (foot, height), (foot, 0))
    d.sketch.polygon(a, b, c)
    d.sketch.segment(c, h, "aid", dashed=True)
    if foot < 0:
        d.sketch.segment(h, a, "aid", dashed=True)
    d.setting(f"triangle {a}{b}{c} with the height {c}{h}", f"三角形{a}{b}{c}及其高{c}{h}")
    d.right_angle(c, h, b)
    d.given_length(a, b, base, unit)
    d.given_length(c, h, height, unit)
    area = Fraction(base * height, 2)
    d.ask(f"the area of triangle {a}{b}{c}", f"三角形{a}{b}{c}的面积")
    d.steps.append(d.say("Area = base × height ÷ 2", "面积 = 底 × 高 ÷ 2"))
    d.steps.append(f"{base} × {height} ÷ 2 = {show(area)}")
    return d.exercise(
        5,
        area,
        square_unit(unit),
        wrong=[base * height, base + height, Fraction(base * height, 4)],
        measure=lambda r: r.area(a, b, c) / r.distance(a, b) ** 2 * base**2,
    )


def quadrilateral_area(d: Draft) -> Exercise:
    """The area of a parallelogram or a trapezium."""
    unit = some_unit(d)
    height, base = d.rng.randint(3, 12), d.rng.randint(6, 18)
    shift = d.rng.randint(1, 4)
    top = base if d.rng.random() < 0.4 else d.rng.randint(2, base - 2)
    a, b, c, e, h = name_points(d, (0, 0), (base, 0), (shift + top, height), (shift, height), (shift, 0))
    d.sketch.polygon(a, b, c, e)
    d.sketch.segment(e, h, "aid", dashed=True)
    flat = top == base
    kind = ("parallelogram", "平行四边形") if flat else ("trapezium", "梯形")
    if not flat and d.rng.random() < 0.5:
        kind = ("trapezoid", "梯形")
    d.setting(f"the {kind[0]} {a}{b}{c}{e} with the height {e}{h}", f"{kind[1]}{a}{b}{c}{e}，其高为{e}{h}")
    d.right_angle(e, h, b)
    d.given_length(a, b, base, unit)
    d.given_length(e, h, height, unit)
    if not flat:
        d.given_length(c, e, top, unit, noun=f"{e}{c}")
        d.fact(f"{a}{b} ∥ {e}{c}")
    area = Fraction((base + top) * height, 2)
    d.ask(f"the area of the {kind[0]}", f"这个{kind[1]}的面积")
    if flat:
        d.steps.append(d.say("Area = base × height", "面积 = 底 × 高"))
        d.steps.append(f"{base} × {height} = {show(area)}")
        wrong: list[Value] = [Fraction(base * height, 2), base + height, 2 * (base + height)]
    else:
        d.steps.append(d.say("Area = (sum of the parallel sides) × height ÷ 2", "面积 = (上底 + 下底) × 高 ÷ 2"))
        d.steps.append(f"({base} + {top}) × {height} ÷ 2 = {show(area)}")
        wrong = [(base + top) * height, base * height, Fraction(base * top * height, 2), base + top + height]
    return d.exercise(
        6, area, square_unit(unit), wrong=wrong, measure=lambda r: r.area(a, b, c, e) / r.distance(a, b) ** 2 * base**2
    )


def composite(d: Draft) -> Exercise:
    """The perimeter or the area of an L-shape."""
    unit = some_unit(d)
    width, height = d.rng.randint(6, 16), d.rng.randint(6, 14)
    cut_x, cut_y = d.rng.randint(2, width - 3), d.rng.randint(2, height - 3)
    corners = [
        (0, 0),
        (width, 0),
        (width, height - cut_y),
        (width - cut_x, height - cut_y),
        (width - cut_x, height),
        (0, height),
    ]
    names = [chr(ord("A") + i) for i in range(6)]
    flip = d.rng.choice((1, -1))
    for name, (x, y) in zip(names, corners, strict=True):
        d.sketch.point(name, (flip * x, y))
    d.sketch.polygon(*names, fill=d.rng.choice((None, 2, 3)))
    for i in range(6):
        if i != 3:
            d.sketch.angle(names[i - 1], names[i], names[(i + 1) % 6], right=True)
    d.setting("the hexagon ABCDEF, all of whose angles are right angles", "六边形ABCDEF，相邻两边都互相垂直")
    d.given_length("A", "B", width, unit)
    d.given_length("F", "A", height, unit, noun="AF")
    d.given_length("C", "D", cut_x, unit)
    d.given_length("D", "E", cut_y, unit)
    if d.rng.random() < 0.5:
        area = width * height - cut_x * cut_y
        d.ask("its area", "它的面积")
        d.step("Take the missing corner from the whole rectangle.", "用大长方形的面积减去缺角的面积。")
        d.steps.append(f"{width} × {height} − {cut_x} × {cut_y} = {area}")
        return d.exercise(
            4,
            area,
            square_unit(unit),
            wrong=[width * height, cut_x * cut_y, 2 * (width + height)],
            measure=lambda r: r.area(*names) / r.distance("A", "B") ** 2 * width**2,
        )
    perimeter = 2 * (width + height)
    d.ask("its perimeter", "它的周长")
    d.step(
        "The sides that are cut in are as long in all as those of the whole rectangle.",
        "缺角处的边平移后，周长等于大长方形的周长。",
    )
    d.steps.append(f"2 × ({width} + {height}) = {perimeter}")
    return d.exercise(
        4,
        perimeter,
        unit,
        wrong=[perimeter - cut_x - cut_y, width + height + cut_x + cut_y, perimeter + 2 * cut_x, width * height],
        measure=lambda r: r.perimeter(*names) / r.distance("A", "B") * width,
    )


def cuboid(d: Draft) -> Exercise:
    """Volume, surface or space diagonal of a cuboid in oblique projection."""
    unit = d.rng.choice(("cm", "cm", "dm", "m"))
    width, depth, height = d.rng.randint(3, 12), d.rng.randint(2, 9), d.rng.randint(2, 10)
    slant = 0.5 * math.cos(math.radians(45))
    names = "ABCDEFGH"
    base = [(0, 0), (width, 0), (width + depth * slant, depth * slant), (depth * slant, depth * slant)]
    corners = base + [(x, y + height) for x, y in base]
    for name, at in zip(names, corners, strict=True):
        d.sketch.point(name, at)
    for start, end in ("AB", "BC", "EF", "FG", "GH", "HE", "AE", "BF", "CG"):
        d.sketch.segment(start, end)
    for start, end in ("CD", "DA", "DH"):
        d.sketch.segment(start, end, "aid", dashed=True)
    d.setting("the cuboid ABCD-EFGH", "长方体ABCD-EFGH")
    d.given_length("A", "B", width, unit)
    d.given_length("B", "C", depth, unit)
    d.given_length("C", "G", height, unit)
    kind = d.rng.choice(("volume", "surface", "diagonal"))

    def edges(r: Reading) -> tuple[float, float, float]:
        scale = width / r.distance("A", "B")
        # Edges that go backwards are shown at half their length.
        return width, 2 * r.distance("B", "C") * scale, r.distance("C", "G") * scale

    if kind == "volume":
        answer: Value = width * depth * height
        d.ask("its volume", "它的体积")
        d.steps.append(f"{width} × {depth} × {height} = {answer}")
        return d.exercise(
            5,
            answer,
            f"{unit}³",
            wrong=[2 * (width * depth + depth * height + width * height), width + depth + height, width * depth],
            measure=lambda r: math.prod(edges(r)),
        )
    if kind == "surface":
        answer = 2 * (width * depth + depth * height + width * height)
        d.ask("its surface area", "它的表面积")
        d.steps.append(f"2 × ({width} × {depth} + {depth} × {height} + {width} × {height}) = {answer}")
        return d.exercise(
            6,
            answer,
            f"{unit}²",
            wrong=[answer // 2, width * depth * height, 4 * (width + depth + height)],
            measure=lambda r: 2 * sum(x * y for x, y in zip(edges(r), (*edges(r)[1:], edges(r)[0]), strict=True)),
        )
    square = width**2 + depth**2 + height**2
    answer = sympy.sqrt(square)
    d.ask("the length of the space diagonal AG", "体对角线AG的长")
    d.step("AG² = AB² + BC² + CG², as the edges are perpendicular.", "三条棱互相垂直，AG² = AB² + BC² + CG²。")
    d.steps.append(f"AG = √({width}² + {depth}² + {height}²) = {show_root(square)}")
    return d.exercise(
        9,
        answer,
        unit,
        wrong=[sympy.sqrt(width**2 + depth**2), width + depth + height, sympy.sqrt(width**2 + height**2)],
        measure=lambda r: math.hypot(*edges(r)),
    )


def rhombus(d: Draft) -> Exercise:
    """Diagonals of a rhombus: side or area."""
    unit = some_unit(d)
    half_a, half_b = d.rng.choice(((3, 4), (6, 8), (5, 12), (4, 5), (2, 7), (9, 12), (8, 15)))
    if d.rng.random() < 0.5:
        half_a, half_b = half_b, half_a
    turn = d.rng.choice((0, 0, d.rng.uniform(-30, 30)))
    for name, at in (("A", (-half_a, 0)), ("B", (0, -half_b)), ("C", (half_a, 0)), ("D", (0, half_b))):
        d.sketch.point(name, turned(at, turn), away=(0, 0))
    d.sketch.point("O", (0, 0))
    d.sketch.polygon(*"ABCD")
    for name in "ABCD":
        d.sketch.segment("O", name, "aid")
    d.setting("the rhombus ABCD, whose diagonals cross at O", "菱形ABCD，对角线交于点O")
    d.fact(f"AC = {show(2 * half_a, unit)}")
    d.fact(f"BD = {show(2 * half_b, unit)}")
    if d.rng.random() < 0.5:
        area = 2 * half_a * half_b
        d.ask("the area of the rhombus", "菱形的面积")
        d.step("The area is half the product of the diagonals.", "菱形面积等于对角线乘积的一半。")
        d.steps.append(f"{2 * half_a} × {2 * half_b} ÷ 2 = {area}")
        return d.exercise(
            8,
            area,
            square_unit(unit),
            wrong=[2 * area, half_a * half_b, 2 * (half_a + half_b)],
            measure=lambda r: r.area("A", "B", "C", "D") / r.distance("A", "O") ** 2 * half_a**2,
        )
    square = half_a**2 + half_b**2
    side = sympy.sqrt(square)
    d.ask_length("A", "B")
    d.step("The diagonals of a rhombus bisect each other at right angles.", "菱形的对角线互相垂直平分。")
    d.steps.append(f"AB = √({half_a}² + {half_b}²) = {show_root(square)}")
    return d.exercise(
        8,
        side,
        unit,
        wrong=[2 * side, half_a + half_b, sympy.sqrt(abs(half_b**2 - half_a**2) or 2)],
        measure=lambda r: r.distance("A", "B") / r.distance("A", "O") * half_a,
    )


def path_area(d: Draft) -> Exercise:
    """A rectangle with a rectangular path around, or a hole in it."""
    unit = "m"
    width, height, border = d.rng.randint(8, 20), d.rng.randint(6, 14), d.rng.randint(1, 2)
    for name, at in (("A", (0, 0)), ("B", (width, 0)), ("C", (width, height)), ("D", (0, height))):
        d.sketch.point(name, at)
    inner = [(border, border), (width - border, border), (width - border, height - border), (border, height - border)]
    d.sketch.line("outer", [(0, 0), (width, 0), (width, height), (0, height)], "grid", closed=True, fill=1)
    d.sketch.line("inner", inner, "grid", closed=True, fill=BLANK)
    for name, at in zip("PQRS", inner, strict=True):
        d.sketch.point(name, at, away=(0, 0) if name == "R" else (width / 2, height / 2), label=False)
    d.sketch.polygon(*"ABCD")
    d.sketch.polygon(*"PQRS")
    d.setting(
        "a rectangular lawn with a path of the same width all around inside its border ABCD",
        "长方形草地ABCD，四周边界内侧有一条等宽的小路",
    )
    d.given_length("A", "B", width, unit)
    d.given_length("B", "C", height, unit)
    d.facts.append(d.say(f"the path is {show(border, unit)} wide", f"小路宽{show(border, unit)}"))
    area = width * height - (width - 2 * border) * (height - 2 * border)
    d.ask("the area of the path", "小路的面积")
    d.steps.append(f"{width} × {height} = {width * height}")
    d.steps.append(
        f"({width} − 2 × {border}) × ({height} − 2 × {border}) = {(width - 2 * border) * (height - 2 * border)}"
    )
    d.steps.append(f"{width * height} − {(width - 2 * border) * (height - 2 * border)} = {area}")
    return d.exercise(
        5,
        area,
        square_unit(unit),
        wrong=[
            width * height - (width - border) * (height - border),
            (width - 2 * border) * (height - 2 * border),
            2 * (width + height) * border,
        ],
        measure=lambda r: (r.area(*"ABCD") - r.area(*"PQRS")) / r.distance("A", "B") ** 2 * width**2,
    )


AREAS: dict[str, Callable[[Draft], Exercise]] = {
    "triangle_area": triangle_area,
    "quadrilateral_area": quadrilateral_area,
    "composite_shape": composite,
    "cuboid": cuboid,
    "rhombus": rhombus,
    "path_area": path_area,
}
