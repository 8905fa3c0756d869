"""Graphs of functions in analysis: limits, integrals, periods, intersections."""

import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.axes import Plane, PlaneReading, render_plane
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import bracket, show
from step3vl.pipelines.render.exercises.functions_curves import (
    PLANE,
    X,
    render_curve,
    roots,
    show_plane,
    some_name,
    value_at,
)
from step3vl.pipelines.render.exercises.sketch import Label
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def one_sided_limit(d: Draft) -> Exercise:
    """The one-sided limits, and the value, at a jump."""
    f = some_name(d)
    show_plane(d, PLANE)
    at = d.rng.choice((-2, -1, 1, 2))
    left, right = d.rng.sample(range(-3, 5), 2)
    start, end = d.rng.randint(-3, 4), d.rng.randint(-3, 4)
    bend = d.rng.choice((0, 0, 0.04, -0.04))
    for name, (x1, y1), (x2, y2) in (("left", (-5, start), (at, left)), ("right", (at, right), (5, end))):
        points = [(x1 + (x2 - x1) * t / 40, y1 + (y2 - y1) * t / 40 + bend * (t * (40 - t)) / 100) for t in range(41)]
        d.sketch.line(name, points, "curve")
    filled_left = d.rng.random() < 0.5
    d.sketch.dot((at, left), filled=filled_left)
    d.sketch.dot((at, right), filled=not filled_left)
    d.setting(f"the graph of the function {f}", f"函数{f}的图象")
    kind = d.rng.choice(("left", "right", "value"))
    place = show(at)
    if kind == "value":
        answer = left if filled_left else right
        d.ask(f"{f}({place})", f"{f}({place})")
        d.step("The filled dot belongs to the graph, the ring does not.", "实心点在图象上，空心点不在图象上。")
    else:
        answer = left if kind == "left" else right
        side_zh = "左" if kind == "left" else "右"
        d.ask(
            f"the limit of {f}(x) as x approaches {place} from the {kind}", f"{f}(x)在 x = {place} 处的{side_zh}极限"
        )
        d.read(
            f"Coming from the {kind}, the graph approaches y = {show(answer)}.",
            f"从{side_zh}侧趋近时，图象趋于 y = {show(answer)}。",
        )
    stroke = "left" if answer == left else "right"

    def measured(r: Reading) -> float:
        points = PlaneReading(r, PLANE).path(stroke)
        return points[-1 if stroke == "left" else 0][1]

    return d.exercise(
        12,
        answer,
        wrong=[right if answer == left else left, at, Fraction(left + right, 2), start],
        measure=measured,
        tolerance=0.05,
    )


def definite_integral(d: Draft) -> Exercise:
    """A definite integral as a signed area between a polyline and the axis."""
    f = some_name(d)
    plane = Plane((-1, 8), (-4, 5))
    show_plane(d, plane)
    xs = [0, 2, 4, 6, 7]
    ys = [d.rng.randint(-3, 4) for _ in xs]
    if len(set(ys)) < 3:
        raise Unsuited("a flat graph")
    d.sketch.line("curve", list(zip(xs, ys, strict=True)), "curve")
    i, j = sorted(d.rng.sample(range(len(xs)), 2))
    if j - i < 2 and j < len(xs) - 1:
        j += 1
    areas = [Fraction((ys[k] + ys[k + 1]) * (xs[k + 1] - xs[k]), 2) for k in range(i, j)]
    total, absolute = sum(areas), sum(map(abs, areas))
    d.setting(f"the graph of the function {f}, which consists of straight pieces", f"由线段组成的函数{f}的图象")
    d.ask(f"the integral of {f}(x) from {xs[i]} to {xs[j]}", f"{f}(x)从{xs[i]}到{xs[j]}的定积分")
    d.step("Add the signed areas of the trapezia between graph and x-axis.", "把图象与x轴之间各梯形的有向面积相加。")
    terms = " + ".join(f"({bracket(ys[k])} + {bracket(ys[k + 1])}) × {xs[k + 1] - xs[k]} ÷ 2" for k in range(i, j))
    d.steps.append(f"{terms} = {show(total)}")

    def measured(r: Reading) -> float:
        points = PlaneReading(r, plane).path("curve")
        width = (xs[j] - xs[i]) / 4000
        return sum(value_at(points, xs[i] + (k + 0.5) * width) * width for k in range(4000))

    return d.exercise(12, total, wrong=[absolute, -total, total + 1, 2 * total], measure=measured, tolerance=0.01)


def sine(d: Draft) -> Exercise:
    """Period, amplitude or the equation of a sine."""
    f = some_name(d)
    amplitude, shift = d.rng.choice((1, 2, 3)), d.rng.choice((0, 0, 1, -1))
    period = d.rng.choice((2, 4, 6, 8))
    plane = Plane((0, 12), (-4, 4))
    d.sketch.equal = False
    d.sketch.aspect = 1.6
    render_plane(d.sketch, plane)
    cosine = d.rng.random() < 0.4
    wave = math.cos if cosine else math.sin
    render_curve(d, lambda x: amplitude * wave(2 * math.pi * x / period) + shift, plane)
    d.setting(f"the graph of the periodic function {f}", f"周期函数{f}的图象")

    def peaks(r: Reading) -> tuple[float, float, float]:
        points = PlaneReading(r, plane).path("curve")
        ys = [y for _, y in points]
        tops = [
            points[i][0]
            for i in range(1, len(points) - 1)
            if ys[i] >= ys[i - 1] and ys[i] > ys[i + 1] and ys[i] > max(ys) - 0.02
        ]
        if cosine:
            tops.insert(0, points[0][0])
        return (tops[-1] - tops[0]) / (len(tops) - 1) if len(tops) > 1 else math.nan, max(ys), min(ys)

    kind = d.rng.choice(("period", "amplitude", "mean"))
    if kind == "period":
        d.ask(f"the period of {f}", f"函数{f}的最小正周期")
        d.step(f"From one maximum to the next it is {period} units.", f"相邻两个最大值点相距{period}个单位。")
        return d.exercise(
            11,
            period,
            wrong=[Fraction(period, 2), 2 * period, amplitude, Fraction(period, 4)],
            measure=lambda r: peaks(r)[0],
            tolerance=0.03,
        )
    top, bottom = shift + amplitude, shift - amplitude
    if kind == "amplitude":
        d.ask(f"the amplitude of {f}", f"函数{f}的振幅")
        d.steps.append(f"({bracket(top)} − {bracket(bottom)}) ÷ 2 = {amplitude}")
        return d.exercise(
            11,
            amplitude,
            wrong=[2 * amplitude, top, period, amplitude + 1],
            measure=lambda r: (peaks(r)[1] - peaks(r)[2]) / 2,
            tolerance=0.02,
        )
    d.ask(f"the mean of the greatest and the least value of {f}", f"函数{f}最大值与最小值的平均数")
    d.steps.append(f"({bracket(top)} + {bracket(bottom)}) ÷ 2 = {show(shift)}")
    return d.exercise(
        11,
        shift,
        wrong=[top, bottom, amplitude, shift + 1],
        measure=lambda r: (peaks(r)[1] + peaks(r)[2]) / 2,
        tolerance=0.02,
    )


def crossing_graphs(d: Draft) -> Exercise:
    """Where a line and a parabola meet."""
    first, second = sorted(d.rng.sample(range(-3, 4), 2))
    gradient, start = d.rng.choice((-1, 1)), d.rng.choice((-1, 0, 1))
    line = gradient * X + start
    scale = d.rng.choice((sympy.Rational(1, 2), 1, -1, -sympy.Rational(1, 2)))
    parabola = sympy.expand(line + scale * (X - first) * (X - second))
    values = [line.subs(X, first), line.subs(X, second)]
    if any(not -5 <= v <= 6 for v in values):
        raise Unsuited("outside of the plane")
    show_plane(d, PLANE)
    render_curve(d, sympy.lambdify(X, line), PLANE, "line", 0)
    middle = (first + second) / 2
    top = float(parabola.subs(X, middle))
    if not -5 <= top <= 6:
        raise Unsuited("outside of the plane")
    exact = sympy.lambdify(X, parabola)
    points = [(x, exact(x)) for x in (-5 + i / 40 for i in range(401)) if -5 <= exact(x) <= 6]
    d.sketch.line("parabola", points, "curve", colour=1)
    for text, curve in (("g", [(x, gradient * x + start) for x in (-4.6, 4.6)]), ("f", points)):
        d.sketch.labels.append(Label(text, curve[-1] if -5 <= curve[-1][1] <= 6 else curve[0], away=(0, 0)))
    d.setting("the parabola f and the line g", "抛物线f与直线g")
    greater = d.rng.random() < 0.5
    answer = second if greater else first
    d.ask(
        f"the {'greater' if greater else 'smaller'} solution of f(x) = g(x)",
        f"方程 f(x) = g(x) 的{'较大' if greater else '较小'}解",
    )
    d.read(
        f"The graphs meet at x = {show(first)} and x = {show(second)}.",
        f"两图象相交于 x = {show(first)} 和 x = {show(second)}。",
    )

    def measured(r: Reading) -> float:
        reading = PlaneReading(r, PLANE)
        (x1, y1), (x2, y2) = reading.path("line")[0], reading.path("line")[-1]
        rise = (y2 - y1) / (x2 - x1)
        gaps = [(x, y - (y1 + rise * (x - x1))) for x, y in reading.path("parabola")]
        return (max if greater else min)(roots(gaps))

    return d.exercise(
        10,
        answer,
        wrong=[first + second - answer, values[0], values[1], -answer if answer else 1],
        measure=measured,
        tolerance=0.06,
    )


ANALYSIS: dict[str, Callable[[Draft], Exercise]] = {
    "one_sided_limit": one_sided_limit,
    "definite_integral": definite_integral,
    "sine": sine,
    "crossing_graphs": crossing_graphs,
}
