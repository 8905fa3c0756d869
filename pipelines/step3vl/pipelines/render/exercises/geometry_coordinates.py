"""Analytic geometry: points, lines, polygons, conics and vectors in a coordinate plane."""

import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.axes import Plane, PlaneReading, render_plane
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import Value, bracket, show, show_root
from step3vl.pipelines.render.exercises.sketch import XY, Label
from step3vl.pipelines.render.exercises.sketch_svg import Reading

_PLANE = Plane((-6, 6), (-5, 6))


def _points(d: Draft, count: int, apart: float = 2.5) -> list[tuple[int, int]]:
    """Grid points that are far apart and on no axis."""
    points: list[tuple[int, int]] = []
    while len(points) < count:
        at = d.rng.choice([x for x in range(-5, 6) if x]), d.rng.choice([y for y in range(-4, 6) if y])
        if all(math.dist(at, other) >= apart and at[0] != other[0] and at[1] != other[1] for other in points):
            points.append(at)
    return points


def _text(at: tuple[Value, Value]) -> str:
    return f"({show(at[0])}, {show(at[1])})"


def _read(d: Draft, *names: str) -> None:
    """A first step that reads points off."""
    texts = [f"{name}{_text(_xy(d, name))}" for name in names]
    d.read("The coordinates are " + ", ".join(texts) + ".", "坐标为" + "，".join(texts) + "。")


def _xy(d: Draft, name: str) -> tuple[int, int]:
    x, y = d.sketch.points[name]
    return round(x), round(y)


def distance(d: Draft) -> Exercise:
    """The distance of two grid points."""
    render_plane(d.sketch, _PLANE)
    for name, at in zip("AB", _points(d, 2, 3), strict=True):
        d.sketch.point(name, at, dot=True)
    d.sketch.segment("A", "B")
    d.setting("the points A and B in a coordinate plane", "坐标平面内的点A与点B")
    d.ask("the length of AB", "线段AB的长")
    (x1, y1), (x2, y2) = _xy(d, "A"), _xy(d, "B")
    square = (x2 - x1) ** 2 + (y2 - y1) ** 2
    answer = sympy.sqrt(square)
    _read(d, "A", "B")
    d.steps.append(
        f"AB = √(({bracket(x2)} − {bracket(x1)})² + ({bracket(y2)} − {bracket(y1)})²) = {show_root(square)}"
    )
    return d.exercise(
        8,
        answer,
        wrong=[abs(x2 - x1) + abs(y2 - y1), sympy.sqrt((x1 + x2) ** 2 + (y1 + y2) ** 2), square],
        measure=lambda r: math.dist(PlaneReading(r, _PLANE).point("A"), PlaneReading(r, _PLANE).point("B")),
    )


def midpoint(d: Draft) -> Exercise:
    """A coordinate of the midpoint."""
    render_plane(d.sketch, _PLANE)
    for name, at in zip("AB", _points(d, 2, 3), strict=True):
        d.sketch.point(name, at, dot=True)
    d.sketch.segment("A", "B")
    d.setting("the segment AB in a coordinate plane", "坐标平面内的线段AB")
    index = d.rng.choice((0, 1))
    symbol = "xy"[index]
    d.ask(f"the {symbol}-coordinate of the midpoint of AB", f"线段AB中点的{'横纵'[index]}坐标")
    first, second = _xy(d, "A")[index], _xy(d, "B")[index]
    answer = Fraction(first + second, 2)
    _read(d, "A", "B")
    d.steps.append(f"({bracket(first)} + {bracket(second)}) ÷ 2 = {show(answer)}")
    other = [Fraction(_xy(d, "A")[1 - index] + _xy(d, "B")[1 - index], 2), Fraction(second - first, 2), first + second]

    def measured(r: Reading) -> float:
        reading = PlaneReading(r, _PLANE)
        return (reading.point("A")[index] + reading.point("B")[index]) / 2

    return d.exercise(8, answer, wrong=other, measure=measured)


def slope(d: Draft) -> Exercise:
    """The slope of a line, or where it crosses the y axis."""
    render_plane(d.sketch, _PLANE)
    run, rise = d.rng.choice((1, 1, 2, 3)), d.rng.choice((-3, -2, -1, 1, 2, 3))
    gradient = Fraction(rise, run)
    start = d.rng.randint(-2, 3)
    inside = [x for x in range(-6, 7) if -5 <= start + gradient * x <= 6]
    grid = [x for x in inside if (gradient * x).denominator == 1]
    low, high = grid[0], grid[-1]
    if high == low:
        raise Unsuited("a line without two grid points")
    ends = [(x, float(start + gradient * x)) for x in _clip(gradient, start)]
    d.sketch.line("line", ends, "curve")
    chosen = sorted(d.rng.sample(grid, 2))
    for name, x in zip("AB", chosen, strict=True):
        d.sketch.point(name, (x, float(start + gradient * x)), dot=True)
    d.setting("a line through the points A and B", "过点A、B的直线")
    (x1, y1), (x2, y2) = _xy(d, "A"), _xy(d, "B")
    _read(d, "A", "B")
    quotient = f"({bracket(y2)} − {bracket(y1)}) ÷ ({bracket(x2)} − {bracket(x1)})"

    def read(r: Reading) -> tuple[float, float]:
        (u1, v1), (u2, v2) = PlaneReading(r, _PLANE).path("line")
        gradient = (v2 - v1) / (u2 - u1)
        return gradient, v1 - gradient * u1

    if d.rng.random() < 0.6:
        d.ask("the slope of the line", "直线的斜率")
        d.steps.append(f"{quotient} = {show(gradient)}")
        return d.exercise(8, gradient, wrong=[-gradient, 1 / gradient, -1 / gradient], measure=lambda r: read(r)[0])
    d.ask("the value of b if the line has the equation y = kx + b", "直线方程 y = kx + b 中 b 的值")
    d.steps.append(f"k = {quotient} = {show(gradient)}")
    factor = f"({show(gradient)})" if gradient < 0 or gradient.denominator > 1 else show(gradient)
    d.steps.append(f"b = {bracket(y1)} − {factor} × {bracket(x1)} = {show(start)}")
    return d.exercise(
        8,
        start,
        wrong=[gradient, -start if start else 2, -start / gradient if start else 1, start + 1],
        measure=lambda r: read(r)[1],
    )


def _clip(gradient: Fraction, start: int) -> tuple[float, float]:
    """Where a line enters and leaves the plane, as x."""
    at = (Fraction(-5) - start) / gradient, (Fraction(6) - start) / gradient
    low, high = min(at), max(at)
    return float(max(low, Fraction(-6))), float(min(high, Fraction(6)))


def polygon_area(d: Draft) -> Exercise:
    """The area of a triangle or quadrilateral on a grid."""
    render_plane(d.sketch, _PLANE)
    for _ in range(200):
        count = d.rng.choice((3, 3, 4))
        points = _points(d, count, 2.5)
        centre = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
        points.sort(key=lambda at: math.atan2(at[1] - centre[1], at[0] - centre[0]))
        pairs = list(zip(points, (*points[1:], points[0]), strict=True))
        double = abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs))
        if double >= 10 and _is_convex(points):
            break
    else:
        raise Unsuited("no polygon was found")
    names = "ABCD"[:count]
    for name, at in zip(names, points, strict=True):
        d.sketch.point(name, at, dot=True)
    d.sketch.polygon(*names, fill=d.rng.choice((None, 1, 2)))
    en, zh = ("triangle", "三角形") if count == 3 else ("quadrilateral", "四边形")
    d.setting(f"{en} {names} in a coordinate plane", f"坐标平面内的{zh}{names}")
    d.ask(f"the area of {en} {names}", f"{zh}{names}的面积")
    area = Fraction(double, 2)
    _read(d, *names)
    terms = " + ".join(
        f"({bracket(x1)} × {bracket(y2)} − {bracket(x2)} × {bracket(y1)})" for (x1, y1), (x2, y2) in pairs
    )
    d.step(f"Shoelace formula: |{terms}| ÷ 2 = {show(area)}", f"用鞋带公式：|{terms}| ÷ 2 = {show(area)}")

    def measured(r: Reading) -> float:
        at = [PlaneReading(r, _PLANE).point(name) for name in names]
        # Triangles by Heron's formula, which has nothing in common with the shoelace.
        return sum(_heron(at[0], at[i], at[i + 1]) for i in range(1, count - 1))

    return d.exercise(
        9, area, wrong=[double, area + 1, area - Fraction(1, 2), area + Fraction(3, 2)], measure=measured
    )


def _heron(a: XY, b: XY, c: XY) -> float:
    x, y, z = math.dist(a, b), math.dist(b, c), math.dist(c, a)
    s = (x + y + z) / 2
    return math.sqrt(max(0.0, s * (s - x) * (s - y) * (s - z)))


def _is_convex(points: list[tuple[int, int]]) -> bool:
    count = len(points)
    turns = []
    for i in range(count):
        (x1, y1), (x2, y2), (x3, y3) = points[i], points[(i + 1) % count], points[(i + 2) % count]
        turns.append((x2 - x1) * (y3 - y2) - (y2 - y1) * (x3 - x2))
    return all(turn > 0 for turn in turns)


def circle_equation(d: Draft) -> Exercise:
    """The equation of a circle on a grid, or its radius."""
    render_plane(d.sketch, _PLANE)
    a, b, radius = d.rng.randint(-2, 2), d.rng.randint(-1, 2), d.rng.randint(2, 3)
    d.sketch.circle("circle", (a, b), radius, "curve")
    d.sketch.point("M", (a, b), dot=True)
    d.sketch.point("P", d.rng.choice(((a + radius, b), (a, b + radius), (a - radius, b), (a, b - radius))), dot=True)
    d.sketch.segment("M", "P", "aid", dashed=True)
    d.setting("a circle with centre M through the point P", "以M为圆心、过点P的圆")

    def equation(a: int, b: int, square: int) -> str:
        def term(symbol: str, shift: int) -> str:
            return f"{symbol}²" if shift == 0 else f"({symbol} {'−' if shift > 0 else '+'} {abs(shift)})²"

        return f"{term('x', a)} + {term('y', b)} = {square}"

    _read(d, "M", "P")
    d.read(f"The radius is MP = {radius}.", f"半径 MP = {radius}。")
    answer = equation(a, b, radius**2)
    d.step(f"The circle has the equation {answer}.", f"圆的方程为 {answer}。")
    d.ask_sentence(
        (
            "Which equation describes the circle?",
            "What is the equation of the circle?",
            "Find the circle's equation.",
            "Write the equation of this circle.",
        ),
        ("圆的方程是什么？", "求该圆的方程。", "写出圆的标准方程。"),
    )
    wrong = [
        equation(-a, -b, radius**2),
        equation(a, b, radius),
        equation(-a, -b, radius),
        equation(b, a, radius**2),
        equation(a, b, (radius + 1) ** 2),
    ]
    choices = tuple(dict.fromkeys([answer, *wrong]))

    def confirmed(r: Reading) -> bool:
        return all(
            abs((x - a) ** 2 + (y - b) ** 2 - radius**2) < 0.1 for x, y in PlaneReading(r, _PLANE).path("circle")
        )

    return d.exercise(10, answer, wrong=[w for w in wrong if w != answer], choices=choices, confirm=confirmed)


def reflection(d: Draft) -> Exercise:
    """The image of a point under a reflection, a translation or a rotation."""
    render_plane(d.sketch, _PLANE)
    at = _points(d, 1)[0]
    x, y = at
    d.sketch.point("P", at, dot=True)
    # Nothing but the point is shown; a short aid makes its place exact for those who read the figure.
    d.sketch.points.update({"X": (x, 0), "Y": (0, y)})
    d.sketch.segment("P", "X", "aid", dashed=True)
    d.sketch.segment("P", "Y", "aid", dashed=True)
    h, v = d.rng.choice((-3, -2, 2, 3, 4)), d.rng.choice((-4, -3, -2, 2, 3))
    # The image, and the move as a complex map, which is applied to what is read in the figure.
    moves: list[tuple[str, str, tuple[int, int], Callable[[complex], complex]]] = [
        ("reflected in the x-axis", "关于x轴对称的点", (x, -y), lambda z: z.conjugate()),
        ("reflected in the y-axis", "关于y轴对称的点", (-x, y), lambda z: -z.conjugate()),
        ("reflected in the origin", "关于原点对称的点", (-x, -y), lambda z: -z),
        ("rotated by 90° counter-clockwise about the origin", "绕原点逆时针旋转90°后", (-y, x), lambda z: z * 1j),
        (
            f"moved {abs(h)} units {'right' if h > 0 else 'left'} and {abs(v)} units {'up' if v > 0 else 'down'}",
            f"向{'右' if h > 0 else '左'}平移{abs(h)}个单位，再向{'上' if v > 0 else '下'}平移{abs(v)}个单位后",
            (x + h, y + v),
            lambda z: z + complex(h, v),
        ),
    ]
    en, zh, image, move = d.rng.choice(moves)
    d.setting("the point P in a coordinate plane", "坐标平面内的点P")
    d.ask(f"the coordinates of P after it is {en}", f"点P{zh}的坐标")
    answer = _text(image)
    _read(d, "P")
    d.step(f"The point {_text(at)} goes to {answer}.", f"点 {_text(at)} 变为 {answer}。")
    others = [
        _text(other)
        for other in ((x, -y), (-x, y), (-x, -y), (y, x), (-y, x), (y, -x), (x - h, y - v), (x + v, y + h))
    ]
    wrong = [other for other in dict.fromkeys(others) if other not in (answer, _text(at))]

    def confirmed(r: Reading) -> bool:
        return abs(move(complex(*PlaneReading(r, _PLANE).point("P"))) - complex(*image)) < 0.05

    return d.exercise(7, answer, wrong=wrong, choices=(answer, *wrong), confirm=confirmed)


def vectors(d: Draft) -> Exercise:
    """The scalar product, or the length of the sum, of two vectors shown on a grid."""
    render_plane(d.sketch, _PLANE)
    first, second = _points(d, 2, 3)
    for name, at in (("A", first), ("B", second)):
        d.sketch.point(name, at)
    d.sketch.points["O"] = (0, 0)
    d.sketch.segment("O", "A", arrow=True, colour=0)
    d.sketch.segment("O", "B", arrow=True, colour=1)
    d.setting("the vectors OA and OB in a coordinate plane", "坐标平面内的向量OA与OB")
    (x1, y1), (x2, y2) = first, second

    def read(r: Reading) -> tuple[XY, XY]:
        reading = PlaneReading(r, _PLANE)
        return reading.point("A"), reading.point("B")

    d.read(f"OA = {_text(first)} and OB = {_text(second)}.", f"OA = {_text(first)}，OB = {_text(second)}。")
    if d.rng.random() < 0.5:
        answer = x1 * x2 + y1 * y2
        d.ask("the scalar product of OA and OB", "向量OA与OB的数量积")
        d.steps.append(f"{bracket(x1)} × {bracket(x2)} + {bracket(y1)} × {bracket(y2)} = {show(answer)}")

        def product(r: Reading) -> float:
            (a, b), (c, e) = read(r)
            return math.hypot(a, b) * math.hypot(c, e) * math.cos(math.atan2(b, a) - math.atan2(e, c))

        return d.exercise(
            11,
            answer,
            wrong=[x1 * x2 - y1 * y2, x1 * y2 - x2 * y1, x1 * y2 + x2 * y1, -answer],
            measure=product,
            tolerance=0.02,
        )
    square = (x1 + x2) ** 2 + (y1 + y2) ** 2
    if square == 0:
        raise Unsuited("the vectors cancel")
    answer_length = sympy.sqrt(square)
    d.ask("the length of the vector OA + OB", "向量 OA + OB 的模")
    d.steps.append(f"√(({bracket(x1)} + {bracket(x2)})² + ({bracket(y1)} + {bracket(y2)})²) = {show_root(square)}")
    return d.exercise(
        11,
        answer_length,
        wrong=[sympy.sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2), square, abs(x1 + x2 + y1 + y2) or 3],
        measure=lambda r: abs(complex(*read(r)[0]) + complex(*read(r)[1])),
        tolerance=0.02,
    )


def ellipse(d: Draft) -> Exercise:
    """The distance of the foci, the eccentricity, or the equation of an ellipse."""
    render_plane(d.sketch, _PLANE)
    a, b = d.rng.choice(((5, 3), (5, 4), (4, 2), (4, 3), (3, 2), (5, 2)))
    points = [(a * math.cos(t * math.pi / 90), b * math.sin(t * math.pi / 90)) for t in range(180)]
    d.sketch.line("ellipse", points, "curve", closed=True)
    d.sketch.point("A", (a, 0), dot=True)
    d.sketch.point("B", (0, b), dot=True)
    d.setting("an ellipse with its centre in the origin and vertices A and B", "中心在原点的椭圆，顶点为A、B")
    square = a**2 - b**2
    half = sympy.sqrt(square)
    d.read(f"The semi-axes are a = {a}, b = {b}.", f"半轴长为 a = {a}，b = {b}。")
    d.steps.append(f"c = √({a}² − {b}²) = {show_root(square)}")

    def axes(r: Reading) -> tuple[float, float]:
        xs, ys = zip(*PlaneReading(r, _PLANE).path("ellipse"), strict=True)
        return (max(xs) - min(xs)) / 2, (max(ys) - min(ys)) / 2

    if d.rng.random() < 0.5:
        d.ask("the distance between the foci", "椭圆的焦距")
        d.steps.append(f"2c = {show(2 * half)}")
        return d.exercise(
            11,
            2 * half,
            wrong=[half, 2 * sympy.sqrt(a**2 + b**2), 2 * a, 2 * (a - b)],
            measure=lambda r: 2 * math.sqrt(axes(r)[0] ** 2 - axes(r)[1] ** 2),
        )
    d.ask("the eccentricity of the ellipse", "椭圆的离心率")
    d.steps.append(f"e = c/a = {show(half / a)}")
    return d.exercise(
        11,
        half / a,
        wrong=[sympy.Rational(b, a), half / b, sympy.sqrt(a**2 + b**2) / a],
        measure=lambda r: math.sqrt(1 - (axes(r)[1] / axes(r)[0]) ** 2),
    )


def line_crossing(d: Draft) -> Exercise:
    """Where two lines cross, as a system of equations."""
    render_plane(d.sketch, _PLANE)
    x0, y0 = d.rng.choice([x for x in range(-3, 4) if x]), d.rng.choice([y for y in range(-2, 4) if y])
    first, second = d.rng.sample([-2, -1, 1, 2], 2)
    starts = y0 - first * x0, y0 - second * x0
    for name, gradient, start in (("g", first, starts[0]), ("h", second, starts[1])):
        ends = [(x, float(start + gradient * x)) for x in _clip(Fraction(gradient), start)]
        d.sketch.line(name, ends, "curve")
        tip = ends[1] if d.rng.random() < 0.5 else ends[0]
        d.sketch.labels.append(Label(name, tip, away=(0, 0)))
    d.setting("the lines g and h in a coordinate plane", "坐标平面内的直线g与h")
    answer = _text((x0, y0))
    d.ask("the point where the two lines meet", "两直线交点的坐标")
    d.read(f"The lines cross at the grid point {answer}.", f"两直线相交于格点 {answer}。")
    others = [_text(p) for p in ((y0, x0), (-x0, y0), (x0, -y0), (x0 + 1, y0), (x0, y0 + 1), (-x0, -y0))]
    wrong = [other for other in dict.fromkeys(others) if other != answer]

    def confirmed(r: Reading) -> bool:
        reading = PlaneReading(r, _PLANE)
        (a, b), (c, e) = reading.path("g")
        (p, q), (s, t) = reading.path("h")
        solution = sympy.Matrix([[b - e, c - a], [q - t, s - p]]).LUsolve(sympy.Matrix([c * b - a * e, s * q - p * t]))
        return math.dist((float(solution[0]), float(solution[1])), (x0, y0)) < 0.05

    return d.exercise(8, answer, wrong=wrong, choices=(answer, *wrong), confirm=confirmed)


COORDINATES: dict[str, Callable[[Draft], Exercise]] = {
    "distance": distance,
    "midpoint": midpoint,
    "slope": slope,
    "grid_area": polygon_area,
    "circle_equation": circle_equation,
    "moved_point": reflection,
    "vectors": vectors,
    "ellipse": ellipse,
    "line_crossing": line_crossing,
}
