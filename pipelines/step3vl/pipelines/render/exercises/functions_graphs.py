"""Graphs of functions: values, parabolas, zeros, extrema, the sign of the derivative."""

import itertools
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.axes import PlaneReading
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import Value, show
from step3vl.pipelines.render.exercises.functions_curves import (
    PLANE,
    X,
    render_curve,
    roots,
    show_plane,
    smooth,
    some_name,
    value_at,
)
from step3vl.pipelines.render.exercises.sketch import XY
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def _polynomial_text(expr: sympy.Expr) -> str:
    """A polynomial in x as people write it."""
    terms = sympy.Poly(expr, X).terms()
    text = ""
    for (power,), coefficient in terms:
        size = abs(Fraction(int(coefficient.p), int(coefficient.q)))
        variable = {0: "", 1: "x"}.get(power, "x" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(c)] for c in str(power)))
        number = show(size) if size != 1 or not variable else ""
        if "/" in number:
            number = f"({number})"
        sign = "−" if coefficient < 0 else "+"
        text += f" {sign} {number}{variable}" if text else ("−" if coefficient < 0 else "") + number + variable
    return text


def read_value(d: Draft) -> Exercise:
    """The value of a function at a place, or the place of a value, by reading off."""
    f = some_name(d)
    xs = [-4, -2, -1, 1, 3, 4]
    knots = list(zip(xs, (d.rng.randint(-4, 5) for _ in xs), strict=True))
    show_plane(d, PLANE)
    if d.rng.random() < 0.5:
        points = [(float(x), float(y)) for x, y in knots]
    else:
        points = smooth(knots)
    d.sketch.line("curve", points, "curve")
    x, y = d.rng.choice(knots[1:-1])
    d.setting(f"the graph of the function {f}", f"函数{f}的图象")
    d.ask(f"{f}({show(x)})", f"{f}({show(x)})")
    d.read(
        f"Go to x = {show(x)} and read the height of the graph: {f}({show(x)}) = {show(y)}.",
        f"在 x = {show(x)} 处读出图象的高度：{f}({show(x)}) = {show(y)}。",
    )
    others = [*(b for _, b in knots if b != y), -y, y + 1, y - 1]
    return d.exercise(
        8, y, wrong=others, measure=lambda r: value_at(PlaneReading(r, PLANE).path("curve"), x), tolerance=0.05
    )


def parabola_features(d: Draft) -> Exercise:
    """A parabola: its zeros, vertex, or equation."""
    f = some_name(d)
    sign = d.rng.choice((1, -1))
    scale = sign * d.rng.choice((Fraction(1, 2), Fraction(1), Fraction(1)))
    first = d.rng.randint(-4, 1)
    second = first + d.rng.choice((2, 4))
    expr = sympy.expand(sympy.Rational(scale.numerator, scale.denominator) * (X - first) * (X - second))
    vertex = Fraction(first + second, 2), -scale * Fraction((second - first) ** 2, 4)
    if not -5 < vertex[1] < 6 or second > 4:  # both zeros are crossings inside of the plane
        raise Unsuited("the vertex is outside of the plane")
    show_plane(d, PLANE)
    render_curve(d, sympy.lambdify(X, expr), PLANE)
    d.setting(f"the graph of the quadratic function {f}", f"二次函数{f}的图象")

    def vertex_of(r: Reading) -> XY:
        points = PlaneReading(r, PLANE).path("curve")
        return max(points, key=lambda p: -sign * p[1])

    kind = d.rng.choice(("zero", "vertex", "equation", "sign"))
    if kind == "zero":
        greater = d.rng.random() < 0.5
        zero = second if greater else first
        d.ask(
            f"the {'greater' if greater else 'smaller'} zero of {f}", f"函数{f}的{'较大' if greater else '较小'}零点"
        )
        d.read(
            f"The graph meets the x-axis at x = {show(first)} and x = {show(second)}.",
            f"图象与x轴相交于 x = {show(first)} 和 x = {show(second)}。",
        )
        return d.exercise(
            9,
            zero,
            wrong=[first + second - zero, -zero if zero else 2, vertex[1], expr.subs(X, 0)],
            measure=lambda r: (max if greater else min)(roots(PlaneReading(r, PLANE).path("curve"))),
            tolerance=0.05,
        )
    if kind == "vertex":
        if sign > 0:
            d.ask(f"the minimum value of {f}", f"函数{f}的最小值")
        else:
            d.ask(f"the maximum value of {f}", f"函数{f}的最大值")
        d.read(
            f"The vertex lies at ({show(vertex[0])}, {show(vertex[1])}), so the value is {show(vertex[1])}.",
            f"顶点为 ({show(vertex[0])}, {show(vertex[1])})，故所求为 {show(vertex[1])}。",
        )
        return d.exercise(
            9,
            vertex[1],
            wrong=[vertex[0], -vertex[1], first, second],
            measure=lambda r: vertex_of(r)[1],
            tolerance=0.05,
        )
    if kind == "sign":
        inside = sign < 0
        d.ask_sentence(
            (
                f"For which x is {f}(x) > 0?",
                f"Where is {f} positive?",
                f"On which set does {f} take positive values?",
                f"Solve {f}(x) > 0 with the graph.",
            ),
            (
                f"x取何值时，{f}(x) > 0？",
                f"求不等式 {f}(x) > 0 的解集。",
                f"函数{f}在何处取正值？",
                f"根据图象解 {f}(x) > 0。",
            ),
        )
        low, high = show(first), show(second)
        within, outside = f"{low} < x < {high}", d.say(f"x < {low} or x > {high}", f"x < {low} 或 x > {high}")
        answer = within if inside else outside
        wrong: list[Value] = [outside if inside else within, f"x > {high}", f"x < {low}", f"x > {low}"]
        d.step("The graph lies above the x-axis there.", "在该范围内图象位于x轴上方。")

        def above(r: Reading) -> bool:
            points = PlaneReading(r, PLANE).path("curve")
            return all(
                (y > 0) == ((first < x < second) == inside)
                for x, y in points
                if min(abs(x - first), abs(x - second)) > 0.1
            )

        return d.exercise(9, answer, wrong=wrong, choices=(str(answer), *map(str, wrong)), confirm=above)
    forms = [
        expr,
        sympy.expand(-expr),
        sympy.expand(expr.subs(X, -X)),
        expr + 2 * sign,
        sympy.expand(-expr.subs(X, -X)),
        expr - sign,
    ]
    texts = list(dict.fromkeys(f"{f}(x) = {_polynomial_text(form)}" for form in forms))
    answer = texts[0]
    d.ask_sentence(
        (
            "Which equation belongs to the graph?",
            "What is the equation of the graph?",
            "Find the equation of the function.",
            "Give the function's equation in expanded form.",
        ),
        ("图象对应的函数表达式是哪个？", "求该函数的解析式。", "写出该函数的表达式。", "该图象的函数解析式是什么？"),
    )
    d.read(
        f"The zeros are {show(first)} and {show(second)}; the vertex is ({show(vertex[0])}, {show(vertex[1])}).",
        f"零点为 {show(first)} 和 {show(second)}，顶点为 ({show(vertex[0])}, {show(vertex[1])})。",
    )
    d.step(f"This gives {answer}.", f"由此得 {answer}。")
    exact = sympy.lambdify(X, expr)
    return d.exercise(
        9,
        answer,
        wrong=texts[1:],
        choices=tuple(texts),
        confirm=lambda r: all(abs(exact(x) - y) < 0.05 for x, y in PlaneReading(r, PLANE).path("curve")),
    )


def count_features(d: Draft) -> Exercise:
    """How many zeros or local extrema a graph has."""
    f = some_name(d)
    show_plane(d, PLANE)
    xs = [-5, -3, -1, 1, 3, 5]
    while True:
        ys = [d.rng.choice((-4, -3, -2, 2, 3, 4, 5)) for _ in xs]
        if all(a != b for a, b in itertools.pairwise(ys)):
            break
    points = smooth(list(zip(xs, ys, strict=True)))
    d.sketch.line("curve", points, "curve")
    d.setting(f"the graph of the function {f} on [−5, 5]", f"函数{f}在区间[−5, 5]上的图象")
    zeros = sum(a * b < 0 for a, b in itertools.pairwise(ys))
    turns = [(b - a) * (c - b) < 0 for a, b, c in zip(ys, ys[1:], ys[2:], strict=False)]
    kind = d.rng.choice(("zeros", "maxima", "extrema", "line"))

    def crossings(level: float) -> Callable[[Reading], float]:
        return lambda r: float(len(roots([(x, y - level) for x, y in PlaneReading(r, PLANE).path("curve")])))

    if kind == "zeros":
        d.ask(f"the number of zeros of {f} in this interval", f"函数{f}在该区间内零点的个数")
        d.step("Each crossing of the x-axis is a zero.", "图象每与x轴相交一次就有一个零点。")
        return d.exercise(9, zeros, wrong=[zeros + 1, abs(zeros - 1), zeros + 2], measure=crossings(0))
    if kind == "line":
        level = d.rng.choice((-1, 1))
        count = sum((a - level) * (b - level) < 0 for a, b in itertools.pairwise(ys))
        d.ask(
            f"the number of solutions of {f}(x) = {show(level)} in this interval",
            f"方程 {f}(x) = {show(level)} 在该区间内解的个数",
        )
        d.step(
            f"The line y = {show(level)} meets the graph {count} times.",
            f"直线 y = {show(level)} 与图象有{count}个交点。",
        )
        return d.exercise(10, count, wrong=[count + 1, abs(count - 1), count + 2], measure=crossings(level))
    peaks = sum(turn and b > a for turn, a, b in zip(turns, ys, ys[1:], strict=False))
    count = peaks if kind == "maxima" else sum(turns)
    if kind == "maxima":
        d.ask(f"the number of local maxima of {f} inside of the interval", f"函数{f}在区间内部极大值点的个数")
        d.step(f"The graph turns from rising to falling {count} times.", f"图象由升转降共{count}次。")
    else:
        d.ask(f"the number of local extrema of {f} inside of the interval", f"函数{f}在区间内部极值点的个数")
        d.step(f"The graph changes between rising and falling {count} times.", f"图象的升降变化共{count}次。")

    def extrema(r: Reading) -> float:
        ys = [y for _, y in PlaneReading(r, PLANE).path("curve")]
        moves = [b - a for a, b in itertools.pairwise(ys) if abs(b - a) > 1e-4]
        return float(sum(a > 0 > b or (kind == "extrema" and a < 0 < b) for a, b in itertools.pairwise(moves)))

    return d.exercise(11, count, wrong=[count + 1, abs(count - 1), count + 2], measure=extrema)


def derivative_sign(d: Draft) -> Exercise:
    """Where a function grows, the sign of its derivative, or the slope of a tangent."""
    f = some_name(d)
    show_plane(d, PLANE)
    low, high = sorted(d.rng.sample((-4, -3, -2, 1, 2, 3), 2))
    if high - low < 3:
        low, high = -2, 2
    ends = d.rng.choice((1, -1))
    top, bottom = d.rng.choice((3, 4)), d.rng.choice((-3, -2))
    ys = (bottom + 1, top, bottom, top - 1) if ends > 0 else (top - 1, bottom, top, bottom + 1)
    knots = list(zip((-5, low, high, 5), ys, strict=True))
    d.sketch.line("curve", smooth(knots), "curve")
    d.setting(f"the graph of the function {f} on [−5, 5]", f"函数{f}在区间[−5, 5]上的图象")

    def growth(r: Reading) -> Callable[[float], bool]:
        points = PlaneReading(r, PLANE).path("curve")
        return lambda x: value_at(points, x + 0.05) > value_at(points, x - 0.05)

    if d.rng.random() < 0.5:
        x = d.rng.choice([v for v in (-4.5, -1, 0, 0.5, 4.5) if abs(v - low) > 0.4 and abs(v - high) > 0.4])
        rises = (x < low or x > high) == (ends > 0)
        words = (d.say("positive", "正"), d.say("negative", "负"), d.say("zero", "零"))
        answer = words[0] if rises else words[1]
        place = show(Fraction(x).limit_denominator(10))
        d.ask_sentence(
            (
                f"Is the derivative {f}'({place}) positive, negative or zero?",
                f"What is the sign of {f}'({place}): positive, negative or zero?",
                f"Decide whether {f}'({place}) is positive, negative or zero.",
            ),
            (
                f"导数 {f}'({place}) 是正、负还是零？",
                f"判断 {f}'({place}) 的符号（正、负或零）。",
                f"{f}'({place}) 的符号是正、负还是零？",
            ),
        )
        d.read(
            f"At x = {place} the graph {'rises' if rises else 'falls'}.",
            f"在 x = {place} 处图象{'上升' if rises else '下降'}。",
        )
        return d.exercise(
            11, answer, wrong=[w for w in words if w != answer], choices=words, confirm=lambda r: growth(r)(x) == rises
        )
    names = [f"−5 < x < {show(low)}", f"{show(low)} < x < {show(high)}", f"{show(high)} < x < 5"]
    falls = ends > 0
    answer = names[1]
    d.ask_sentence(
        (
            f"On which interval is {f} {'decreasing' if falls else 'increasing'}?",
            f"Where does {f} {'decrease' if falls else 'increase'}?",
            f"Find the interval on which {f}'(x) {'< 0' if falls else '> 0'}.",
            f"State where the function {f} is {'falling' if falls else 'rising'}.",
        ),
        (
            f"函数{f}在哪个区间上单调{'递减' if falls else '递增'}？",
            f"求函数{f}的单调{'递减' if falls else '递增'}区间。",
            f"求使 {f}'(x) {'< 0' if falls else '> 0'} 的x的范围。",
        ),
    )
    d.read(
        f"Between its extrema at x = {show(low)} and x = {show(high)} the graph {'falls' if falls else 'rises'}.",
        f"在极值点 x = {show(low)} 与 x = {show(high)} 之间，图象{'下降' if falls else '上升'}。",
    )
    wrong = [names[0], names[2], f"−5 < x < {show(high)}"]
    return d.exercise(
        11,
        answer,
        wrong=wrong,
        choices=(answer, *wrong),
        confirm=lambda r: (
            all(growth(r)(low + (high - low) * t / 10) != falls for t in range(1, 10))
            and growth(r)((low - 5) / 2) == falls
            and growth(r)((high + 5) / 2) == falls
        ),
    )


GRAPHS: dict[str, Callable[[Draft], Exercise]] = {
    "read_value": read_value,
    "parabola": parabola_features,
    "count_features": count_features,
    "derivative_sign": derivative_sign,
}
