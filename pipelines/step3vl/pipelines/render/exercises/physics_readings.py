"""Graphs and instruments of mechanics: motion in graphs, springs beside a scale, round gauges."""

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from step3vl.pipelines.render.exercises.axes import Plane, PlaneReading, render_plane
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import show
from step3vl.pipelines.render.exercises.functions_curves import value_at
from step3vl.pipelines.render.exercises.sketch import XY, on_circle
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def motion_graph(d: Draft) -> Exercise:
    """Distance, acceleration or speed from a velocity-time or a distance-time graph."""
    velocity = d.rng.random() < 0.6
    xs = [0, *sorted(d.rng.sample(range(1, 9), 2)), 10]
    if min(b - a for a, b in itertools.pairwise(xs)) < 2:
        raise Unsuited
    scale = d.rng.choice((1, 2, 5))
    ys = [scale * d.rng.randint(0, 6) for _ in xs]
    if not velocity:
        ys = sorted(ys)
    if len(set(ys)) < 3:
        raise Unsuited
    plane = Plane((0, 10), (0, 6 * scale), (1, scale))
    d.sketch.equal = False
    d.sketch.aspect = d.rng.uniform(1.2, 1.7)
    render_plane(d.sketch, plane, ("t/s", "v/(m/s)" if velocity else "s/m"))
    d.sketch.line("curve", list(zip(xs, ys, strict=True)), "curve")
    if velocity:
        d.setting("the velocity-time graph of a body that moves along a line", "做直线运动的物体的速度—时间图象")
    else:
        d.setting("the distance-time graph of a cyclist", "骑车人的路程—时间图象")
    i = d.rng.randrange(3)
    x1, x2, y1, y2 = xs[i], xs[i + 1], ys[i], ys[i + 1]

    def area(r: Reading) -> float:
        points = PlaneReading(r, plane).path("curve")
        return sum(value_at(points, 0.005 + k / 100) / 100 for k in range(1000))

    def slope(r: Reading) -> float:
        points = PlaneReading(r, plane).path("curve")
        return (value_at(points, x2 - 0.1) - value_at(points, x1 + 0.1)) / (x2 - x1 - 0.2)

    if velocity and d.rng.random() < 0.5:
        answer = sum(Fraction((ys[k] + ys[k + 1]) * (xs[k + 1] - xs[k]), 2) for k in range(3))
        d.ask("the distance covered in the 10 s", "10 s内物体的路程")
        d.step("The distance is the area under the graph.", "路程等于图线与时间轴围成的面积。")
        d.steps.append(
            " + ".join(f"({ys[k]} + {ys[k + 1]}) × {xs[k + 1] - xs[k]} ÷ 2" for k in range(3)) + f" = {show(answer)}"
        )
        return d.exercise(
            10,
            answer,
            "m",
            wrong=[ys[-1] * 10, Fraction(sum(ys) * 10, 4), answer / 2, max(ys) * 10],
            measure=area,
            tolerance=0.01,
        )
    rate = Fraction(y2 - y1, x2 - x1)
    if rate == 0 and not velocity:
        raise Unsuited
    sign = f"({y2} − {y1}) ÷ ({x2} − {x1}) = {show(rate)}"
    if velocity:
        d.ask(f"the acceleration between t = {x1} s and t = {x2} s", f"t = {x1} s 到 t = {x2} s 间的加速度")
        d.step("The acceleration is the slope of the graph.", "加速度等于图线的斜率。")
        unit, grade = "m/s²", 10
    else:
        d.ask(f"the speed between t = {x1} s and t = {x2} s", f"t = {x1} s 到 t = {x2} s 间的速度")
        d.step("The speed is the slope of the graph.", "速度等于图线的斜率。")
        unit, grade = "m/s", 8
    d.steps.append(sign)
    return d.exercise(
        grade,
        rate,
        unit,
        wrong=[Fraction(y2, x2), Fraction(y1 + y2, 2), y2 - y1, -rate if velocity else rate + 1],
        measure=slope,
        tolerance=0.02,
    )


def spring(d: Draft) -> Exercise:
    """The constant of a spring, or a force, from its extension on a scale."""
    constant = d.rng.choice((5, 10, 20, 25, 40, 50))
    rest, extension = d.rng.randint(2, 4), d.rng.randint(1, 6)
    force = Fraction(constant * extension, 1)
    high = 12
    d.sketch.line("ceiling", [(-3.5, 0.2), (3, 0.2)], "line")
    d.sketch.line("ruler", [(-3.2, 0), (-3.2, -high)], "axis")
    for i in range(high + 1):
        d.sketch.line(f"tick-{i}", [(-3.2, -i), (-2.8 if i % 2 else -2.6, -i)], "axis")
        if i % 2 == 0:
            d.sketch.text(str(i), (-3.2, -i), (-0.3, 0), size=0.7, align="right", over=True)
    ends = rest, rest + extension
    for k, (x, end) in enumerate(((-1.2, ends[0]), (1.2, ends[1]))):
        turns = 8
        points = [(x, 0.2), (x, -0.2)]
        points += [(x + (0.35 if j % 2 else -0.35), -0.2 - (end - 0.5) * (j + 0.5) / turns) for j in range(turns)]
        points += [(x, -end + 0.3), (x, -end)]
        d.sketch.line(f"spring-{k}", points, "line")
        d.sketch.line(f"level-{k}", [(-2.5, -end), (x + 0.5, -end)], "aid", dashed=True)
    d.sketch.line(
        "load",
        [(0.7, -ends[1] - 1.1), (1.7, -ends[1] - 1.1), (1.7, -ends[1]), (0.7, -ends[1])],
        "body",
        closed=True,
        fill=2,
    )
    d.setting(
        "a spring without and with a load, beside a scale in cm", "弹簧未挂与挂上重物时的情形，旁有以cm为单位的刻度"
    )
    d.read(
        f"The spring grows from {rest} cm to {ends[1]} cm: {ends[1]} − {rest} = {extension} cm",
        f"弹簧由{rest} cm伸长到{ends[1]} cm：{ends[1]} − {rest} = {extension} cm",
    )

    def read(r: Reading) -> float:
        pitch = float(r.path("tick-1")[0][1] - r.path("tick-0")[0][1])
        return float(r.path("spring-1")[-1][1] - r.path("spring-0")[-1][1]) / pitch

    if d.rng.random() < 0.5:
        d.facts.append(d.say(f"the load weighs {show(force)} N", f"重物重{show(force)} N"))
        d.ask("the spring constant in N/cm", "弹簧的劲度系数（N/cm）")
        d.steps.append(f"{show(force)} ÷ {extension} = {constant}")
        return d.exercise(
            10,
            constant,
            "N/cm",
            wrong=[force / ends[1], force / rest, force * extension],
            measure=lambda r: float(force) / read(r),
            tolerance=0.01,
        )
    d.facts.append(d.say(f"the spring constant is {constant} N/cm", f"劲度系数为{constant} N/cm"))
    d.ask("the weight of the load", "重物的重力")
    d.steps.append(f"{constant} × {extension} = {show(force)}")
    return d.exercise(
        10,
        force,
        "N",
        wrong=[constant * ends[1], constant * rest, Fraction(constant, extension)],
        measure=lambda r: constant * read(r),
        tolerance=0.01,
    )


def instrument(d: Draft) -> Exercise:
    """Reading a round gauge: its scale has numbered and unnumbered marks."""
    name_en, name_zh, unit = d.rng.choice((
        ("an ammeter", "电流表", "A"), ("a voltmeter", "电压表", "V"), ("a pressure gauge", "压力表", "kPa"),
        ("a speedometer", "速度表", "km/h"),
        ("a spring scale", "弹簧秤", "N"),
    ))  # fmt: skip
    major = d.rng.choice((Fraction(1, 5), Fraction(1, 2), Fraction(1), Fraction(5), Fraction(10), Fraction(20)))
    parts, count = d.rng.choice((4, 5, 10)), d.rng.randint(4, 6)
    if parts == 10 and major < 1:
        parts = 5
    minor = major / parts
    if (minor * 1000).denominator != 1:
        raise Unsuited
    reading = d.rng.randint(1, count * parts - 1)
    answer = minor * reading
    start, span = 210.0, 240.0
    d.sketch.arc("rim", (0, 0), 1.0, start - span, start, "line")
    for i in range(count * parts + 1):
        direction = start - span * i / (count * parts)
        whole = i % parts == 0
        inner = 0.86 if whole else 0.93
        d.sketch.line(
            f"mark-{i}",
            [on_circle((0, 0), inner, direction), on_circle((0, 0), 1.0, direction)],
            "line" if whole else "mark",
        )
        if whole:
            d.sketch.text(show(major * (i // parts)), on_circle((0, 0), 0.7, direction), size=0.85, over=True)
    tip = on_circle((0, 0), 0.9, start - span * reading / (count * parts))
    d.sketch.points.update({"C": (0.0, 0.0), "T": tip})
    d.sketch.segment("C", "T", colour=0)
    d.sketch.dot((0, 0))
    d.sketch.text(unit, (0, -0.32), over=True)
    d.setting(name_en, name_zh)
    d.ask("the reading", "读数")
    d.steps.append(d.say("One small division is ", "每小格为 ") + f"{show(major)} ÷ {parts} = {show(minor)}")
    d.steps.append(
        d.say(f"The pointer is at mark {reading}: ", f"指针指在第{reading}小格：")
        + f"{reading} × {show(minor)} = {show(answer)}"
    )

    def measured(r: Reading) -> float:
        centre, tip = r.point("C"), r.point("T")
        directions = [_degrees(centre, tuple(r.path(f"mark-{i}")[1])) for i in (0, count * parts)]
        turn = (directions[0] - _degrees(centre, tip)) % 360
        return float(major * count) * turn / ((directions[0] - directions[1]) % 360)

    near = [answer + minor, answer - minor, major * (reading // parts) + Fraction(reading % parts, 10), answer + major]
    return d.exercise(7, answer, unit, wrong=near, measure=measured, tolerance=min(0.004, float(minor) / 5))


def _degrees(centre: XY, at: Sequence[float]) -> float:
    return math.degrees(math.atan2(centre[1] - at[1], at[0] - centre[0]))


READINGS: dict[str, Callable[[Draft], Exercise]] = {
    "motion_graph": motion_graph,
    "spring": spring,
    "gauge": instrument,
}
