"""Curves of chemistry: titrations, energy profiles and heating curves."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

from step3vl.pipelines.render.exercises.axes import Plane, PlaneReading, render_plane
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import show
from step3vl.pipelines.render.exercises.sketch import XY
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def _titration(x: float, volume: float, acid: float, base: float, pka: float | None) -> float:
    """The pH after x mL of base, by the balance of charges, solved by halving."""
    low, high = 0.0, 14.0
    whole = volume + x
    anion, sodium = acid * volume / whole, base * x / whole
    for _ in range(60):
        ph = (low + high) / 2
        proton = 10.0**-ph
        bound = 1.0 if pka is None else 10.0**-pka / (10.0**-pka + proton)
        charge = proton + sodium - 1e-14 / proton - anion * bound
        low, high = (ph, high) if charge > 0 else (low, ph)
    return (low + high) / 2


def titration(d: Draft) -> Exercise:
    """A titration curve: the equivalence point, a concentration, or the pKa."""
    volume = d.rng.choice((10, 20, 25, 50))
    equivalence = d.rng.choice((10, 15, 20, 25, 30, 35))
    base = d.rng.choice((Fraction(1, 10), Fraction(1, 5), Fraction(1, 2), Fraction(1)))
    acid = base * equivalence / volume
    if (acid * 1000).denominator != 1:
        raise Unsuited
    weak = d.rng.random() < 0.5
    pka = d.rng.choice((Fraction(4), Fraction(9, 2), Fraction(5))) if weak else None
    plane = Plane((0, 50), (0, 14), (5, 1), (2, 2))
    d.sketch.equal = False
    d.sketch.aspect = d.rng.uniform(1.1, 1.5)
    render_plane(d.sketch, plane, ("V/mL", "pH"))
    points = [
        (x / 4, _titration(x / 4, volume, float(acid), float(base), None if pka is None else float(pka)))
        for x in range(201)
    ]
    d.sketch.line("curve", points, "curve")
    name_en, name_zh = ("a weak monoprotic acid", "一元弱酸") if weak else ("hydrochloric acid", "盐酸")
    d.setting(
        f"the titration curve of {volume} mL of {name_en} with sodium hydroxide solution",
        f"用氢氧化钠溶液滴定{volume} mL{name_zh}的滴定曲线",
    )

    def jump(r: Reading) -> float:
        """The middle of the steepest piece."""
        at = PlaneReading(r, plane).path("curve")
        pairs = list(itertools.pairwise(at))
        top = max(b[1] - a[1] for a, b in pairs)
        steep = [(a[0] + b[0]) / 2 for a, b in pairs if b[1] - a[1] > 0.6 * top]
        return sum(steep) / len(steep)

    kind = d.rng.choice(("volume", "concentration", "pka")) if weak else d.rng.choice(("volume", "concentration"))
    d.read(
        f"The curve is steepest at {equivalence} mL: the equivalence point.",
        f"曲线在{equivalence} mL处最陡，即等当点。",
    )
    if kind == "volume":
        d.ask("the volume of base at the equivalence point", "等当点时消耗碱液的体积")
        return d.exercise(
            12,
            equivalence,
            "mL",
            wrong=[
                Fraction(equivalence, 2),
                volume if volume != equivalence else 40,
                equivalence + 5,
                equivalence - 5,
            ],
            measure=jump,
            tolerance=0.02,
        )
    if kind == "concentration":
        d.facts.append(d.say(f"the base has a concentration of {show(base)} mol/L", f"碱液浓度为{show(base)} mol/L"))
        d.ask("the concentration of the acid", "酸的浓度")
        d.steps.append(f"{show(base)} × {equivalence} ÷ {volume} = {show(acid)} mol/L")
        return d.exercise(
            12,
            acid,
            "mol/L",
            wrong=[base * volume / equivalence, base, acid / 2, acid * 2],
            measure=lambda r: float(base) * jump(r) / volume,
            tolerance=0.01,
        )
    assert pka is not None

    def half(r: Reading) -> float:
        at = PlaneReading(r, plane).path("curve")
        middle = jump(r) / 2
        return min(at, key=lambda p: abs(p[0] - middle))[1]

    d.ask("the pKa of the acid to the nearest 0.5", "该酸的pKa（精确到0.5）")
    d.step(
        f"At half of it, {equivalence} ÷ 2 = {show(Fraction(equivalence, 2))} mL, the pH equals the pKa: {show(pka)}.",
        f"在半等当点 {equivalence} ÷ 2 = {show(Fraction(equivalence, 2))} mL 处，pH等于pKa：{show(pka)}。",
    )
    return d.exercise(13, pka, wrong=[pka + 1, pka - 1, Fraction(7), pka + 2], measure=half, tolerance=0.06)


def energy_profile(d: Draft) -> Exercise:
    """Activation energy and reaction enthalpy from an energy profile."""
    step = d.rng.choice((10, 20, 50))
    start, peak, end = step * d.rng.randint(2, 5), step * d.rng.randint(7, 10), step * d.rng.randint(1, 6)
    if start == end:
        raise Unsuited
    d.sketch.equal = False
    d.sketch.aspect = d.rng.uniform(1.2, 1.6)
    for i in range(11):
        y = i * step
        d.sketch.line(f"tick-y{i}", [(0, y), (-0.12, y)], "axis")
        d.sketch.text(str(y), (-0.12, y), (-0.3, 0), size=0.72, align="right", over=True)
        d.sketch.line(f"grid-{i}", [(0, y), (10, y)], "grid")
    d.sketch.line("y-axis", [(0, 0), (0, 11 * step)], "axis", arrow=True)
    d.sketch.line("x-axis", [(0, 0), (10.5, 0)], "axis", arrow=True)
    d.sketch.text("E/(kJ/mol)", (0, 11 * step), (0, -0.8), size=0.85, over=True)
    points: list[XY] = [(x / 20, float(start)) for x in range(10, 41)]
    for x in range(41, 161):
        t = (x - 40) / 120
        if t < 0.5:
            points.append((x / 20, start + (peak - start) * (1 - math.cos(2 * math.pi * t)) / 2))
        else:
            points.append((x / 20, end + (peak - end) * (1 - math.cos(2 * math.pi * t)) / 2))
    points += [(x / 20, float(end)) for x in range(161, 191)]
    d.sketch.line("curve", points, "curve")
    d.setting(
        "the energy profile of a reaction; reactants on the left, products on the right",
        "某反应的能量变化图，左为反应物，右为生成物",
    )
    d.read(
        f"Reactants {start}, peak {peak}, products {end} kJ/mol.",
        f"反应物{start}，峰值{peak}，生成物{end}（kJ/mol）。",
    )

    def levels(r: Reading) -> tuple[float, float, float]:
        first, last = float(r.path("tick-y0")[0][1]), float(r.path("tick-y10")[0][1])
        ys = [(float(y) - first) / (last - first) * 10 * step for _, y in r.path("curve")]
        return ys[0], max(ys), ys[-1]

    kind = d.rng.choice(("activation", "reverse", "enthalpy", "kind"))
    if kind in ("activation", "reverse"):
        (en, zh), low, other, index = (
            (("forward", "正"), start, end, 0) if kind == "activation" else (("reverse", "逆"), end, start, 2)
        )
        d.ask(f"the activation energy of the {en} reaction", f"{zh}反应的活化能")
        d.steps.append(f"{peak} − {low} = {peak - low}")
        return d.exercise(
            11,
            peak - low,
            "kJ/mol",
            wrong=[peak - other, peak, abs(end - start), peak + low],
            measure=lambda r: levels(r)[1] - levels(r)[index],
            tolerance=0.01,
        )
    if kind == "enthalpy":
        d.ask("the reaction enthalpy ΔH of the forward reaction", "正反应的焓变ΔH")
        d.steps.append(f"ΔH = {end} − {start} = {show(end - start)}")
        return d.exercise(
            11,
            end - start,
            "kJ/mol",
            wrong=[start - end, peak - start, end - peak, end],
            measure=lambda r: levels(r)[2] - levels(r)[0],
            tolerance=0.01,
        )
    words = (d.say("exothermic", "放热反应"), d.say("endothermic", "吸热反应"))
    answer = words[0] if end < start else words[1]
    d.ask_sentence(
        (
            "Is the forward reaction exothermic or endothermic?",
            "Is this reaction exothermic or endothermic?",
            "Decide whether the reaction is exothermic or endothermic.",
        ),
        ("正反应是放热反应还是吸热反应？", "该反应属于放热反应还是吸热反应？", "判断该反应是放热反应还是吸热反应。"),
    )
    d.step("Compare the levels of products and reactants.", "比较生成物与反应物的能量高低。")
    return d.exercise(
        10,
        answer,
        wrong=[w for w in words if w != answer],
        choices=words,
        confirm=lambda r: (levels(r)[2] < levels(r)[0]) == (end < start),
    )


def heating_curve(d: Draft) -> Exercise:
    """Melting and boiling points, and the time of melting, from a heating curve."""
    start, melting, boiling = -20 + 10 * d.rng.randint(0, 1), 10 * d.rng.randint(0, 4), 10 * d.rng.randint(7, 10)
    if melting - start < 10:
        raise Unsuited
    times = [0]
    for _ in range(4):
        times.append(times[-1] + d.rng.randint(2, 6))
    plane = Plane((0, times[-1] + 2), (-20, 120), (1, 10), (2, 2))
    d.sketch.equal = False
    d.sketch.aspect = d.rng.uniform(1.2, 1.6)
    render_plane(d.sketch, plane, ("t/min", "T/°C"))
    d.sketch.line("curve", list(zip(times, (start, melting, melting, boiling, boiling), strict=True)), "curve")
    d.setting("the heating curve of a pure substance that is solid at first", "某固态纯净物的加热曲线")
    kind = d.rng.choice(("melting", "boiling", "time", "state"))

    def corners(r: Reading) -> list[XY]:
        return PlaneReading(r, plane).path("curve")

    if kind in ("melting", "boiling"):
        answer = melting if kind == "melting" else boiling
        d.ask(f"the {kind} point", "熔点" if kind == "melting" else "沸点")
        d.read(
            f"The {'first' if kind == 'melting' else 'second'} flat part lies at {show(answer)} °C.",
            f"{'第一' if kind == 'melting' else '第二'}段平台对应 {show(answer)} °C。",
        )
        index = 1 if kind == "melting" else 3
        return d.exercise(
            8,
            answer,
            "°C",
            wrong=[boiling if kind == "melting" else melting, start, answer + 10, answer - 10],
            measure=lambda r: (corners(r)[index][1] + corners(r)[index + 1][1]) / 2,
            tolerance=0.02,
        )
    if kind == "time":
        answer = times[2] - times[1]
        d.ask("how long the substance takes to melt", "该物质熔化所用的时间")
        d.steps.append(f"{times[2]} − {times[1]} = {answer}")
        return d.exercise(
            8,
            answer,
            "min",
            wrong=[times[2], times[1], times[4] - times[3], times[3] - times[2]],
            measure=lambda r: corners(r)[2][0] - corners(r)[1][0],
            tolerance=0.02,
        )
    words = (
        d.say("solid", "固态"),
        d.say("liquid", "液态"),
        d.say("solid and liquid", "固液共存"),
        d.say("liquid and gas", "气液共存"),
    )
    k = d.rng.randrange(4)
    moment = Fraction(times[k] + times[k + 1], 2)
    answer_word = (words[0], words[2], words[1], words[3])[k]
    d.ask_sentence(
        (
            f"In which state is the substance after {show(moment)} min?",
            f"What is the state of the substance at t = {show(moment)} min?",
            f"Name the state of matter at t = {show(moment)} min.",
        ),
        (
            f"第{show(moment)} min时该物质处于什么状态？",
            f"t = {show(moment)} min时物质的状态是什么？",
            f"判断第{show(moment)} min时物质的状态。",
        ),
    )
    d.step(f"That is in part {k + 1} of the curve.", f"该时刻位于曲线的第{k + 1}段。")
    return d.exercise(
        8,
        answer_word,
        wrong=[w for w in words if w != answer_word],
        choices=words,
        confirm=lambda r: (
            corners(r)[k][0] < moment < corners(r)[k + 1][0]
            and (abs(corners(r)[k][1] - corners(r)[k + 1][1]) < 1) == (k in (1, 3))
        ),
    )


CURVES: dict[str, Callable[[Draft], Exercise]] = {
    "titration": titration,
    "energy_profile": energy_profile,
    "heating_curve": heating_curve,
}
