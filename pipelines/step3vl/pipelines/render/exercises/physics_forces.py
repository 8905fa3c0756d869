"""Forces: inclined planes, resultants, levers and pulleys."""

import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import decimal, show, show_root
from step3vl.pipelines.render.exercises.sketch import XY, Label, on_circle
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def _arrow(d: Draft, name: str, start: XY, direction: float, length: float, label: str) -> None:
    """A force as an arrow between points that can be read back."""
    d.sketch.points[f"{name}0"], d.sketch.points[f"{name}1"] = start, on_circle(start, length, direction)
    d.sketch.segment(f"{name}0", f"{name}1", arrow=True, colour=0)
    d.sketch.labels.append(Label(label, d.sketch.points[f"{name}1"], away=start, upright=len(label) > 1))


def inclined_plane(d: Draft) -> Exercise:
    """The component of weight along an inclined plane, the normal force, or the acceleration."""
    degrees = d.rng.choice((30, 30, 45, 60, d.rng.randint(15, 50)))
    weight = d.rng.choice((10, 20, 40, 50, 60, 80, 100, 120))
    radians = math.radians(degrees)
    reach = 4.0
    top = (reach * math.cos(radians), reach * math.sin(radians))
    for name, at in (("A", (0.0, 0.0)), ("B", (top[0], 0.0)), ("C", top)):
        d.sketch.point(name, at, label=False)
    for start, end in (("A", "B"), ("B", "C"), ("A", "C")):
        d.sketch.segment(start, end)
    middle = on_circle((0, 0), 2.1, degrees)
    normal = degrees + 90
    corners = []
    for along, out in ((-0.55, 0), (0.55, 0), (0.55, 0.75), (-0.55, 0.75)):
        x, y = on_circle(middle, along, degrees)
        corners.append(on_circle((x, y), out, normal))
    d.sketch.line("block", corners, "body", closed=True, fill=2)
    centre = (sum(x for x, _ in corners) / 4, sum(y for _, y in corners) / 4)
    kind = d.rng.choice(("along", "normal", "acceleration"))
    _arrow(d, "W", centre, -90, 1.5, d.rng.choice(("G", "W", "mg")))
    d.setting("a block that lies on a smooth inclined plane", "置于光滑斜面上的物块")
    d.given_angle("B", "A", "C", degrees, noun=d.say("the inclination", "斜面倾角"))
    exact = degrees in (30, 45, 60)
    angle = sympy.pi * degrees / 180
    if exact:
        sine, cosine = sympy.sin(angle), sympy.cos(angle)
    else:
        sine, cosine = decimal(math.sin(radians)), decimal(math.cos(radians))
    digits = None if exact else 1
    sign = "=" if exact else "≈"
    if kind == "acceleration":
        answer = 10 * sine
        d.sentence("There is no friction and g = 10 m/s².", "不计摩擦，g取10 m/s²。")
        d.ask("the acceleration of the block down the plane", "物块沿斜面下滑的加速度")
        d.steps.append(f"a = g · sin {degrees}°")
        d.steps.append(f"10 × sin {degrees}° {sign} {show(answer, 'm/s²', digits)}")
        return d.exercise(
            10,
            answer,
            "m/s²",
            wrong=[10 * cosine, 10 * sine / cosine, 10],
            digits=digits,
            measure=lambda r: 10 * _gradient(r)[0],
            tolerance=0.01,
        )
    d.facts.append(d.say(f"the block weighs {weight} N", f"物块重{weight} N"))
    if kind == "along":
        answer = weight * sine
        d.ask("the component of the weight along the plane", "重力沿斜面方向的分力")
        d.step("Resolve the weight along the plane.", "把重力沿斜面方向分解。")
        d.steps.append(f"{weight} × sin {degrees}° {sign} {show(answer, 'N', digits)}")
        wrong, part = [weight * cosine, weight * sine / cosine, weight], 0
    else:
        answer = weight * cosine
        d.ask("the normal force of the plane on the block", "斜面对物块的支持力")
        d.step(
            "The normal force balances the component of the weight across the plane.",
            "支持力与重力垂直于斜面的分力平衡。",
        )
        d.steps.append(f"{weight} × cos {degrees}° {sign} {show(answer, 'N', digits)}")
        wrong, part = [weight * sine, weight / cosine, weight], 1
    return d.exercise(
        10, answer, "N", wrong=wrong, digits=digits, measure=lambda r: weight * _gradient(r)[part], tolerance=0.01
    )


def _gradient(r: Reading) -> tuple[float, float]:
    """Rise and run of a plane over its length, as shown; no angle is used."""
    (ax, ay), (cx, cy) = r.point("A"), r.point("C")
    length = math.dist((ax, ay), (cx, cy))
    return (ay - cy) / length, (cx - ax) / length


def net_force(d: Draft) -> Exercise:
    """The resultant of forces on a box."""
    d.sketch.line("ground", [(-4.6, -0.8), (4.6, -0.8)], "line")
    d.sketch.line("box", [(-0.9, -0.8), (0.9, -0.8), (0.9, 0.8), (-0.9, 0.8)], "body", closed=True, fill=1)
    right, left = d.rng.randint(4, 40), d.rng.randint(2, 36)
    more = d.rng.random() < 0.4
    third = d.rng.randint(2, 15) if more else 0
    total = right + third - left
    if abs(total) < 2:
        raise Unsuited
    largest = max(right, left, third)
    for name, value, y, sign in (("R", right, 0.35 if more else 0.0, 1), ("L", left, 0.0, -1), ("T", third, -0.35, 1)):
        if value:
            length = 0.6 + 2.6 * value / largest
            _arrow(d, name, (sign * 0.9, y), 0 if sign > 0 else 180, length, f"{value} N")
    d.setting("a box on smooth ground with the horizontal forces that act on it", "光滑水平面上受水平力作用的木箱")
    d.note(
        f"Forces to the right: {right} N{f' and {third} N' if third else ''}; to the left: {left} N.",
        f"向右的力：{right} N{f'、{third} N' if third else ''}；向左的力：{left} N。",
    )

    def resultant(r: Reading) -> float:
        forces = 0.0
        for name, value in (("R", right), ("L", left), ("T", third)):
            if value:
                (x0, _), (x1, _) = r.point(f"{name}0"), r.point(f"{name}1")
                forces += math.copysign(value, x1 - x0)
        return forces

    text = f"{right} + {third} − {left}" if third else f"{right} − {left}"
    d.steps.append(f"{text} = {show(total)}" if total > 0 else f"|{text}| = {abs(total)}")
    if d.rng.random() < 0.45:
        mass = d.rng.choice((2, 4, 5, 10))
        acceleration = Fraction(abs(total), mass)
        d.facts.append(d.say(f"the box has a mass of {mass} kg", f"木箱的质量为{mass} kg"))
        d.ask("the magnitude of its acceleration", "木箱加速度的大小")
        d.steps.append(f"{abs(total)} ÷ {mass} = {show(acceleration)}")
        return d.exercise(
            9,
            acceleration,
            "m/s²",
            wrong=[Fraction(right + left + third, mass), abs(total) * mass, Fraction(right, mass)],
            measure=lambda r: abs(resultant(r)) / mass,
        )
    d.ask("the magnitude of the net force", "合力的大小")
    return d.exercise(
        8,
        abs(total),
        "N",
        wrong=[right + left + third, right, left, abs(right - left - third)],
        measure=lambda r: abs(resultant(r)),
    )


def perpendicular_forces(d: Draft) -> Exercise:
    """The resultant of two perpendicular forces on a grid."""
    x, y = d.rng.choice(((3, 4), (4, 3), (6, 8), (8, 6), (5, 5), (2, 6), (7, 3), (4, 8), (6, 2)))
    unit = d.rng.choice((1, 2, 5, 10))
    for i in range(-1, 10):
        d.sketch.line(f"h{i}", [(-1, i), (9, i)], "grid")
        d.sketch.line(f"v{i}", [(i, -1), (i, 9)], "grid")
    _arrow(d, "H", (0, 0), 0, x, "F₁")
    _arrow(d, "V", (0, 0), 90, y, "F₂")
    d.sketch.point("O", (0, 0), away=(1, 1), dot=True)
    d.setting("two forces F₁ and F₂ on a body at O", "作用于点O处物体的两个力F₁与F₂")
    d.sentence(f"One square of the grid stands for {unit} N.", f"图中每格表示{unit} N。")
    square = x**2 + y**2
    answer = unit * sympy.sqrt(square)
    d.ask("the magnitude of the resultant force", "合力的大小")
    d.read(
        f"The forces are {x * unit} N and {y * unit} N, at right angles.",
        f"两力分别为{x * unit} N和{y * unit} N，互相垂直。",
    )
    d.steps.append(f"√({x * unit}² + {y * unit}²) = {show_root(square * unit**2)}")

    def measured(r: Reading) -> float:
        pitch = float(r.path("v1")[0][0] - r.path("v0")[0][0])
        (x1, y1), (x2, y2), o = r.point("H1"), r.point("V1"), r.point("H0")
        return math.hypot(x1 + x2 - 2 * o[0], y1 + y2 - 2 * o[1]) / pitch * unit

    return d.exercise(
        10, answer, "N", wrong=[(x + y) * unit, abs(x - y) * unit or unit, unit * square], measure=measured
    )


def lever(d: Draft) -> Exercise:
    """A force that balances a lever."""
    for _ in range(100):
        left, right = d.rng.randint(1, 6), d.rng.randint(1, 6)
        force = d.rng.randint(2, 30)
        if left != right and (force * left) % right == 0:
            break
    else:
        raise Unsuited
    answer = force * left // right
    unit = d.rng.choice((1, 2, 5, 10))
    d.sketch.points.update({"P": (-left, 0.0), "S": (0.0, 0.0), "Q": (right, 0.0)})
    d.sketch.line("beam", [(-6.3, 0), (6.3, 0)], "line")
    for i in range(-6, 7):
        d.sketch.line(f"mark-{i}", [(i, -0.12), (i, 0.12)], "mark")
    d.sketch.line("support", [(-0.5, -1.0), (0.5, -1.0), (0, -0.06)], "body", closed=True, fill=1)
    _arrow(d, "P", (-left, 0.0), -90, 1.6, f"{force} N")
    symbol = d.rng.choice(("F", "F", "x", "?"))
    _arrow(d, "Q", (right, 0.0), -90, 1.6, symbol)
    d.setting("a lever in balance, supported in the middle", "在中点支撑、处于平衡状态的杠杆")
    d.sentence(f"The marks are {unit} cm apart.", f"相邻刻度间距为{unit} cm。")
    d.note(f"A force of {force} N acts on the left.", f"左侧作用{force} N的力。")
    if symbol == "?":
        d.ask("the force that is marked with a question mark", "问号处力的大小")
    else:
        d.ask(f"the force {symbol}", f"力{symbol}的大小")
    d.step("In balance, force times arm is the same on both sides.", "平衡时，动力 × 动力臂 = 阻力 × 阻力臂。")
    d.steps.append(f"{force} × {left * unit} ÷ {right * unit} = {answer}")

    def measured(r: Reading) -> float:
        pivot = float(r.path("support")[:, 0].mean())
        return force * abs(r.point("P0")[0] - pivot) / abs(r.point("Q0")[0] - pivot)

    return d.exercise(
        8,
        answer,
        "N",
        wrong=[Fraction(force * right, left), force, force * left, force + left - right],
        measure=measured,
    )


def atwood(d: Draft) -> Exercise:
    """Two masses over a pulley: acceleration or tension."""
    first, second = d.rng.sample(range(1, 10), 2)
    kind = d.rng.choice(("acceleration", "tension"))
    heavy, light = max(first, second), min(first, second)
    acceleration = Fraction(10 * (heavy - light), heavy + light)
    tension = Fraction(20 * heavy * light, heavy + light)
    answer = acceleration if kind == "acceleration" else tension
    if (answer * 100).denominator != 1:
        raise Unsuited
    d.sketch.line("ceiling", [(-1.6, 3.4), (1.6, 3.4)], "line")
    d.sketch.line("hook", [(0, 3.4), (0, 2.3)], "line")
    d.sketch.circle("wheel", (0, 2.3), 0.75, "body", fill=3)
    lengths = d.rng.uniform(1.6, 2.4), d.rng.uniform(2.6, 3.6)
    if d.rng.random() < 0.5:
        lengths = lengths[::-1]
    masses = dict(zip((-1, 1), (first, second), strict=True))
    for side, length in zip((-1, 1), lengths, strict=True):
        x, y = 0.75 * side, 2.3 - length
        half = 0.42 + 0.02 * masses[side]
        d.sketch.line(f"rope{side}", [(x, 2.3), (x, y)], "line")
        corners = [(x - half, y), (x + half, y), (x + half, y - 2 * half), (x - half, y - 2 * half)]
        d.sketch.line(f"mass{side}", corners, "body", closed=True, fill=0)
        d.sketch.text(
            f"{masses[side]} kg",
            (x + side * (half + 0.1), y - half),
            (0.3 * side, 0),
            align="left" if side > 0 else "right",
            over=True,
        )
    d.setting("two bodies on a light rope over a frictionless pulley", "跨过光滑定滑轮的轻绳两端悬挂的两个物体")
    d.note(
        f"The masses are {first} kg on the left and {second} kg on the right.",
        f"左侧质量{first} kg，右侧质量{second} kg。",
    )
    d.sentence("Use g = 10 m/s².", "g取10 m/s²。")
    # Newton's law for each body, as two equations for acceleration and tension.
    solution = sympy.Matrix([[heavy, 1], [light, -1]]).LUsolve(sympy.Matrix([10 * heavy, -10 * light]))
    proof = float(solution[0 if kind == "acceleration" else 1])
    if kind == "acceleration":
        d.ask("the acceleration of the bodies", "两物体加速度的大小")
        d.step("The difference of the weights moves both masses.", "两物体的重力之差使二者共同加速。")
        d.steps.append(f"({heavy} − {light}) × 10 ÷ ({heavy} + {light}) = {show(answer)}")
        wrong = [
            Fraction(10 * (heavy - light), heavy),
            Fraction(10),
            Fraction(10 * light, heavy),
            Fraction(heavy - light),
        ]
    else:
        d.ask("the tension in the rope", "绳中的张力")
        d.steps.append(f"a = ({heavy} − {light}) × 10 ÷ ({heavy} + {light})")
        d.step(
            f"The lighter body is pulled up: T = 2 × {heavy} × {light} × 10 ÷ ({heavy} + {light}) = {show(answer)}",
            f"较轻物体被向上拉：T = 2 × {heavy} × {light} × 10 ÷ ({heavy} + {light}) = {show(answer)}",
        )
        wrong = [
            Fraction(10 * light),
            Fraction(10 * heavy),
            Fraction(10 * (heavy - light)),
            Fraction(5 * (heavy + light)),
        ]
    unit = "m/s²" if kind == "acceleration" else "N"
    return d.exercise(11, answer, unit, wrong=wrong, measure=lambda r: proof)


def pulley_block(d: Draft) -> Exercise:
    """The pull at a rope of a simple pulley system, by the strands that carry the load."""
    strands = d.rng.choice((2, 3, 4))
    load = strands * d.rng.randint(5, 60)
    pull = load // strands
    d.sketch.line("ceiling", [(-2.4, 5), (2.6, 5)], "line")
    xs = [-0.9 + 1.8 * i / strands for i in range(strands + 1)]
    # The strands run between an upper and a lower block; the last one is pulled.
    top, low = 4.0, 1.0
    d.sketch.line(
        "upper",
        [(xs[0] - 0.3, top + 0.35), (xs[-1] + 0.3, top + 0.35), (xs[-1] + 0.3, top), (xs[0] - 0.3, top)],
        "body",
        closed=True,
        fill=1,
    )
    d.sketch.line(
        "lower",
        [(xs[0] - 0.3, low), (xs[-2] + 0.3, low), (xs[-2] + 0.3, low - 0.35), (xs[0] - 0.3, low - 0.35)],
        "body",
        closed=True,
        fill=1,
    )
    d.sketch.line("upper-hook", [(0, top + 0.35), (0, 5)], "line")
    for i, x in enumerate(xs[:-1]):
        d.sketch.line(f"strand-{i}", [(x, low), (x, top)], "line")
    d.sketch.line("pulled", [(xs[-1], top), (xs[-1], 0.2)], "line", arrow=True, colour=0)
    d.sketch.text("F", (xs[-1], 0.2), (0.8, 0), over=True, upright=False)
    middle = (xs[0] + xs[-2]) / 2
    d.sketch.line("hook", [(middle, low - 0.35), (middle, -0.2)], "line")
    d.sketch.line(
        "load",
        [(middle - 0.7, -0.2), (middle + 0.7, -0.2), (middle + 0.7, -1.3), (middle - 0.7, -1.3)],
        "body",
        closed=True,
        fill=2,
    )
    d.setting(
        "a block and tackle; the load hangs from the lower block, and the rope is pulled down at F",
        "滑轮组，重物挂在下方的滑轮架上，绳端用力F向下拉",
    )
    d.sentence("Friction and the weight of the blocks are neglected.", "不计摩擦和滑轮自重。")
    d.fact(
        d.say(f"the load weighs {load} N", f"重物重{load} N"),
        lambda: d.sketch.text(f"{load} N", (middle, -1.3), (0, 0.9)),
    )
    d.ask("the force F that holds the load", "维持平衡所需的拉力F")
    d.step(f"{strands} strands carry the load.", f"共有{strands}段绳承担重物。")
    d.steps.append(f"{load} ÷ {strands} = {pull}")

    def measured(r: Reading) -> float:
        bottom = float(r.path("lower")[:, 1].min())
        carrying = [n for n in r.names("strand-") if abs(float(r.path(n)[:, 1].max()) - bottom) < 0.5]
        return load / len(carrying)

    return d.exercise(
        8,
        pull,
        "N",
        wrong=[load, Fraction(load, strands + 1), Fraction(load, max(1, strands - 1)), 2 * pull],
        measure=measured,
    )


FORCES: dict[str, Callable[[Draft], Exercise]] = {
    "inclined_plane": inclined_plane,
    "net_force": net_force,
    "perpendicular_forces": perpendicular_forces,
    "lever": lever,
    "atwood": atwood,
    "block_and_tackle": pulley_block,
}
