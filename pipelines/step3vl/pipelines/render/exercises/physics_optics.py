"""Light and waves: mirrors, refraction, lenses with their rays, and waves on a grid."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import sympy

from step3vl.pipelines.render.exercises.axes import Plane, PlaneReading, render_plane
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import show
from step3vl.pipelines.render.exercises.sketch import XY, on_circle, turned
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def mirror(d: Draft) -> Exercise:
    """The law of reflection at a plane mirror."""
    angle = d.rng.randint(18, 70)
    turn = d.rng.choice((0, 0, 180, d.rng.uniform(-40, 40)))
    for name, at in (
        ("M", (-2.2, 0.0)), ("N", (2.2, 0.0)), ("O", (0.0, 0.0)), ("A", on_circle((0, 0), 2.0, 90 + angle)),
        ("B", on_circle((0, 0), 2.0, 90 - angle)), ("L", (0.0, 1.9)),
    ):  # fmt: skip
        d.sketch.point(
            name, turned(at, turn), label=name in "OAB", away=turned((0, 0.4), turn) if name == "O" else None
        )
    for i in range(11):
        x = -2.1 + 0.42 * i
        d.sketch.line(f"hatch-{i}", [turned((x, 0), turn), turned((x - 0.16, -0.2), turn)], "mark")
    d.sketch.segment("M", "O")
    d.sketch.segment("O", "N")
    d.sketch.segment("O", "L", "aid", dashed=True)
    d.sketch.segment("A", "O", arrow=True, colour=0)
    d.sketch.segment("O", "B", arrow=True, colour=0)
    d.setting(
        "a ray of light AO that a plane mirror reflects as OB; the dashed line is the normal",
        "光线AO经平面镜反射为OB，虚线为法线",
    )
    grazing = d.rng.random() < 0.5
    if grazing:
        d.given_angle(
            "A", "O", "M", 90 - angle, noun=d.say("the angle between ray and mirror", "入射光线与镜面的夹角")
        )
    else:
        d.given_angle("A", "O", "L", angle, noun=d.say("the angle of incidence", "入射角"))
    if d.rng.random() < 0.5:
        d.ask("the angle of reflection", "反射角")
        answer = angle
        d.step("The angle of reflection equals the angle of incidence.", "反射角等于入射角。")
        if grazing:
            d.steps.append(f"90° − {90 - angle}° = {angle}°")
        return d.exercise(
            8, answer, "°", wrong=[90 - angle, 2 * angle, 180 - angle], measure=lambda r: r.angle("B", "O", "L")
        )
    answer = 2 * angle
    d.ask("the angle between the incident and the reflected ray", "入射光线与反射光线的夹角")
    if grazing:
        d.steps.append(f"90° − {90 - angle}° = {angle}°")
    d.step(
        f"Both rays make equal angles with the normal: 2 × {angle}° = {answer}°",
        f"两光线与法线夹角相等：2 × {angle}° = {answer}°",
    )
    return d.exercise(
        8, answer, "°", wrong=[angle, 90 - angle, 180 - answer, 180 - angle], measure=lambda r: r.angle("A", "O", "B")
    )


_MEDIA = (
    (("water", "水"), Fraction(133, 100)),
    (("glass", "玻璃"), Fraction(3, 2)),
    (("ice", "冰"), Fraction(131, 100)),
    (("diamond", "金刚石"), Fraction(242, 100)),
)


def refraction(d: Draft) -> Exercise:
    """Snell's law: an angle or the index."""
    (en, zh), index = d.rng.choice(_MEDIA)
    incidence = d.rng.randint(20, 70)
    inner = math.degrees(math.asin(math.sin(math.radians(incidence)) / float(index)))
    for name, at in (
        ("A", on_circle((0, 0), 2.0, 90 + incidence)),
        ("B", on_circle((0, 0), 2.0, 270 + inner)),
        ("L", (0, 1.9)),
        ("K", (0, -1.9)),
        ("M", (-2.3, 0)),
        ("N", (2.3, 0)),
    ):
        d.sketch.point(name, at, label=False)
    d.sketch.points["O"] = (0, 0)
    d.sketch.line("medium", [(-2.3, 0), (2.3, 0), (2.3, -2.0), (-2.3, -2.0)], "grid", closed=True, fill=1)
    for start, end in (("M", "O"), ("O", "N")):
        d.sketch.segment(start, end)
    for start, end in (("L", "O"), ("O", "K")):
        d.sketch.segment(start, end, "aid", dashed=True)
    d.sketch.segment("A", "O", arrow=True, colour=0)
    d.sketch.segment("O", "B", arrow=True, colour=0)
    d.sketch.text(d.word("air", "空气"), (1.8, 0.4), over=True, size=0.85)
    d.sketch.text(d.word(en, zh), (1.6, -0.4), over=True, size=0.85)
    d.setting(f"a ray of light that passes from air into {en}", f"光线由空气射入{zh}")
    rounded_angle = Fraction(round(inner * 10), 10)
    if abs((inner * 10) % 1 - 0.5) < 0.02:
        raise Unsuited
    d.given_angle("A", "O", "L", incidence, noun=d.say("the angle of incidence", "入射角"))
    d.facts.append(d.say(f"the refractive index of {en} is {show(index)}", f"{zh}的折射率为{show(index)}"))
    d.ask("the angle of refraction", "折射角")
    d.step("By Snell's law, sin β = sin α ÷ n.", "由折射定律，sin β = sin α ÷ n。")
    d.steps.append(
        f"sin β = sin {incidence}° ÷ {show(index)} ≈ {math.sin(math.radians(incidence)) / float(index):.3f}"
    )
    d.steps.append(f"β ≈ {show(rounded_angle)}°")

    def refracted(r: Reading) -> bool:
        """Snell's law by the sines, as parts of the rays' lengths, without any angle."""
        a, b, o = r.point("A"), r.point("B"), r.point("O")
        return (
            abs(abs(a[0] - o[0]) / math.dist(a, o) / (abs(b[0] - o[0]) / math.dist(b, o)) / float(index) - 1) < 0.005
        )

    exact = sympy.Float(inner)
    return d.exercise(
        10,
        exact,
        "°",
        digits=1,
        wrong=[
            sympy.Integer(incidence),
            sympy.Float(incidence / float(index)),
            sympy.Float(90 - inner),
            sympy.Float(incidence - inner),
        ],
        measure=lambda r: r.angle("B", "O", "K"),
        confirm=refracted,
    )


def lens(d: Draft) -> Exercise:
    """The image of an arrow through a thin converging lens, with its rays."""
    focal = d.rng.choice((2, 3, 4))
    distance = d.rng.randint(focal + 1, 9)
    image = Fraction(focal * distance, distance - focal)
    if image > 9 or (image * 10).denominator != 1:
        raise Unsuited
    height = d.rng.choice((2, 2, 3))
    magnification = image / distance
    size = magnification * height
    if not 0.8 <= size <= 5:
        raise Unsuited
    unit = d.rng.choice((1, 2, 5, 10))
    right, left = float(image) + 1.2, -distance - 1.2
    low, high = -float(size) - 0.8, height + 1.2
    for x in range(math.ceil(left), math.floor(right) + 1):
        d.sketch.line(f"grid-{x}", [(x, low), (x, high)], "grid")
    d.sketch.line("axis", [(left, 0), (right, 0)], "axis")
    reach = max(height, float(size)) + 0.5
    rim = [(0.22 * math.cos(t * math.pi / 30), reach * math.sin(t * math.pi / 30)) for t in range(60)]
    d.sketch.line("lens", rim, "body", closed=True, fill=3)
    d.sketch.points.update(
        {"P": (-distance, 0), "Q": (-distance, height), "R": (float(image), 0), "S": (float(image), -float(size))}
    )
    d.sketch.segment("P", "Q", arrow=True, colour=0)
    hidden = d.rng.random() < 0.4  # only the object is shown; the image has to be found
    for x in (focal, -focal):
        d.sketch.dot((x, 0))
        d.sketch.text("F", (x, 0), (0, 1.1), upright=False)
    rays: list[tuple[str, list[XY]]] = [
        ("ray-parallel", [(-distance, height), (0, height), (float(image), -float(size))]),
        ("ray-centre", [(-distance, height), (float(image), -float(size))]),
    ]
    if not hidden:
        d.sketch.segment("R", "S", arrow=True, colour=1)
        for name, points in rays:
            d.sketch.line(name, points, "aid")
    d.setting(
        "an arrow in front of a thin converging lens" + ("" if hidden else ", and its image"),
        "凸透镜前的箭头" + ("" if hidden else "及其所成的像"),
    )
    d.sentence(f"One square of the grid is {unit} cm wide.", f"图中每格宽{unit} cm。")
    d.note("The points F are the focal points.", "F为焦点。")
    kind = d.rng.choice(("image", "magnification")) if hidden else d.rng.choice(("focal", "magnification"))
    f, g, b = focal * unit, distance * unit, image * unit

    def pitch(r: Reading) -> float:
        names = r.names("grid-")
        return float(r.path(names[1])[0][0] - r.path(names[0])[0][0])

    def traced(r: Reading) -> tuple[float, float, float, float]:
        """Focal length by the shown object alone: rays are traced from its tip, and cross in the image."""
        (px, py), (_, qy) = r.point("P"), r.point("Q")
        centre, scale = r.centre("lens")[0], pitch(r)
        g, h = (centre - px) / scale, (py - qy) / scale
        # y = h - h/f·x behind the lens, and y = -h/g·x through its centre.
        x = 1 / (1 / focal - 1 / g)
        return g, h, x, h * x / g

    d.read(f"The object is {g} cm from the lens; the focal length is {f} cm.", f"物距为{g} cm，焦距为{f} cm。")
    if kind == "focal":
        d.steps = [
            d.say(
                f"Object and image are {g} cm and {show(b)} cm from the lens.", f"物距为{g} cm，像距为{show(b)} cm。"
            )
        ]
        d.sketch.labels = [label for label in d.sketch.labels if label.text != "F"]
        d.sketch.dots = []
        d.caption = [c for c in d.caption if "F" not in c]
        d.ask("the focal length of the lens", "透镜的焦距")
        d.steps.append(f"f = {show(b)} × {g} ÷ ({show(b)} + {g}) = {f}")

        def crossing(r: Reading) -> float:
            """Where the ray that came in parallel crosses the axis."""
            (_, _), (x2, y2), (x3, y3) = r.path("ray-parallel")
            axis = float(r.path("axis")[0][1])
            return float(x2 + (x3 - x2) * (axis - y2) / (y3 - y2) - x2) / pitch(r) * unit

        return d.exercise(
            11,
            f,
            "cm",
            wrong=[b - g if b > g else g - b, Fraction(b + g, 2), Fraction(g, 2), b],
            measure=crossing,
            tolerance=0.01,
        )
    if kind == "image":
        d.ask("the distance of the image from the lens", "像距")
        d.steps.append(f"1/b = 1/{f} − 1/{g}")
        d.steps.append(f"b = {f} × {g} ÷ ({g} − {f}) = {show(b)}")
        return d.exercise(
            11,
            b,
            "cm",
            wrong=[Fraction(f * g, f + g), g - f, 2 * f, g],
            measure=lambda r: traced(r)[2] * unit,
            tolerance=0.01,
        )
    d.ask("the magnification (image height divided by object height)", "放大率（像高与物高之比）")
    if hidden:
        d.steps.append(f"b = {f} × {g} ÷ ({g} − {f}) = {show(b)}")
    else:
        d.steps = [
            d.say(
                f"Object and image are {g} cm and {show(b)} cm from the lens.", f"物距为{g} cm，像距为{show(b)} cm。"
            )
        ]
    d.steps.append(f"{show(b)} ÷ {g} = {show(magnification)}")
    return d.exercise(
        11,
        magnification,
        "",
        wrong=[1 / magnification, Fraction(focal, distance), magnification + 1, Fraction(height, 1) * magnification],
        measure=(lambda r: traced(r)[3] / traced(r)[1])
        if hidden
        else (lambda r: r.distance("R", "S") / r.distance("P", "Q")),
        tolerance=0.01,
    )


def wave(d: Draft) -> Exercise:
    """Wavelength, amplitude, frequency or speed of a wave."""
    length = d.rng.choice((2, 4, 6, 8))
    amplitude = d.rng.choice((1, 2, 3))
    time = d.rng.random() < 0.5
    plane = Plane((0, 12), (-4, 4))
    d.sketch.equal = False
    d.sketch.aspect = 1.7
    render_plane(d.sketch, plane, ("t/s" if time else "x/m", "y/cm"))
    phase = d.rng.choice((0, 0.25, 0.5, 0.75))
    d.sketch.line(
        "curve", [(i / 40, amplitude * math.sin(2 * math.pi * (i / 40 / length + phase))) for i in range(481)], "curve"
    )
    if time:
        d.setting("the displacement of a point of a wave over time", "波上一质点的振动图象")
    else:
        d.setting("a snapshot of a wave on a rope", "绳上某时刻的波形图")

    def period(r: Reading) -> float:
        points = PlaneReading(r, plane).path("curve")
        up, down = (
            [
                x1 - y1 * (x2 - x1) / (y2 - y1)
                for (x1, y1), (x2, y2) in itertools.pairwise(points)
                if sign * y1 < -1e-3 <= sign * y2
            ]
            for sign in (1, -1)
        )
        for crossings in (up, down):
            if len(crossings) > 1:
                return (crossings[-1] - crossings[0]) / (len(crossings) - 1)
        return 2 * abs(up[0] - down[0])

    d.read(
        f"One whole wave takes {length} {'s' if time else 'm'}.",
        f"一个完整的波{'历时' if time else '长'}{length} {'s' if time else 'm'}。",
    )
    kind = d.rng.choice(("length", "amplitude", "rate"))
    if kind == "amplitude":
        d.steps = [d.say(f"The greatest displacement is {amplitude} cm.", f"最大位移为{amplitude} cm。")]
        d.ask("the amplitude", "振幅")
        return d.exercise(
            9,
            amplitude,
            "cm",
            wrong=[2 * amplitude, length, amplitude + 1],
            measure=lambda r: max(y for _, y in PlaneReading(r, plane).path("curve")),
            tolerance=0.02,
        )
    if kind == "length":
        d.ask("the period" if time else "the wavelength", "周期" if time else "波长")
        return d.exercise(
            9,
            length,
            "s" if time else "m",
            wrong=[Fraction(length, 2), 2 * length, amplitude, 12],
            measure=period,
            tolerance=0.03,
        )
    if time:
        answer = Fraction(1, length)
        d.ask("the frequency", "频率")
        d.steps.append(f"1 ÷ {length} = {show(answer)}")
        return d.exercise(
            9,
            answer,
            "Hz",
            wrong=[length, Fraction(2, length), Fraction(1, 2 * length)],
            measure=lambda r: 1 / period(r),
            tolerance=0.02,
        )
    frequency = d.rng.choice((2, 3, 5, 10, 50))
    d.facts.append(d.say(f"the frequency is {frequency} Hz", f"频率为{frequency} Hz"))
    d.ask("the speed of the wave", "波速")
    d.steps.append(f"{length} × {frequency} = {length * frequency}")
    return d.exercise(
        9,
        length * frequency,
        "m/s",
        wrong=[
            Fraction(length, frequency),
            Fraction(frequency, length),
            amplitude * frequency,
            2 * length * frequency,
        ],
        measure=lambda r: period(r) * frequency,
        tolerance=0.03,
    )


OPTICS: dict[str, Callable[[Draft], Exercise]] = {
    "mirror": mirror,
    "refraction": refraction,
    "lens": lens,
    "wave": wave,
}
