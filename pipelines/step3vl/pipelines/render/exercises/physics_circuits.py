"""Circuits of resistors in series and in parallel, solved by nodes as a proof."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import Value, show
from step3vl.pipelines.render.exercises.sketch import XY
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def _resistor(d: Draft, name: str, start: XY, end: XY, label: str, zigzag: bool, below: bool = False) -> None:
    """A resistor in the middle of a wire; the wire's ends are strokes of their own, so the net can be read back."""
    length = math.dist(start, end)
    u = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    v = -u[1], u[0]
    size = min(1.0, 0.5 * length)
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    a = middle[0] - u[0] * size / 2, middle[1] - u[1] * size / 2
    b = middle[0] + u[0] * size / 2, middle[1] + u[1] * size / 2
    d.sketch.line(f"{name}:in", [start, a], "line")
    d.sketch.line(f"{name}:out", [b, end], "line")
    if zigzag:
        points = [a]
        for i in range(6):
            t, side = (i + 0.5) / 6 * size, 0.16 * (1 if i % 2 else -1)
            points.append((a[0] + u[0] * t + v[0] * side, a[1] + u[1] * t + v[1] * side))
        d.sketch.line(f"{name}:body", [*points, b], "line")
    else:
        half = 0.17
        corners = [(p[0] + v[0] * s * half, p[1] + v[1] * s * half) for p, s in ((a, 1), (b, 1), (b, -1), (a, -1))]
        d.sketch.line(f"{name}:body", corners, "body", closed=True)
    if label:
        side = -1 if below else 1
        horizontal = abs(u[0]) > abs(u[1])
        at = (middle[0], middle[1] + side * 0.3) if horizontal else (middle[0] + 0.32, middle[1])
        d.sketch.text(
            label,
            at,
            (0, -0.55 * side) if horizontal else (0.2, 0),
            align="center" if horizontal else "left",
            over=True,
        )


def _battery(d: Draft, at: XY, label: str) -> None:
    """A cell in a vertical wire, its plus above."""
    x, y = at
    d.sketch.line("cell:plus", [(x - 0.42, y + 0.12), (x + 0.42, y + 0.12)], "line")
    d.sketch.line("cell:minus", [(x - 0.2, y - 0.12), (x + 0.2, y - 0.12)], "line")
    if label:
        d.sketch.text(label, (x - 0.55, y), (-0.2, 0), align="right", over=True)


def _network(
    d: Draft, branches: list[list[int]], series: list[int], zigzag: bool, names: bool
) -> list[tuple[str, int]]:
    """A cell on the left, resistors in series on the top wire, then parallel branches of resistors in series."""
    parts: list[tuple[str, int]] = []
    high = 3.2

    def label(value: int) -> str:
        number = len(parts)
        return f"R{'₀₁₂₃₄₅₆₇₈₉'[number]} = {value} Ω" if names else f"{value} Ω"

    def put(value: int, start: XY, end: XY, below: bool = False) -> None:
        parts.append((f"r{len(parts) + 1}", value))
        _resistor(d, parts[-1][0], start, end, label(value), zigzag, below)

    x = 0.0
    d.sketch.line("wire:left-low", [(0, 0), (0, high / 2 - 0.12)], "line")
    d.sketch.line("wire:left-high", [(0, high / 2 + 0.12), (0, high)], "line")
    for value in series:
        put(value, (x, high), (x + 2.2, high))
        x += 2.2
    start = x
    gap = 2.2
    for i, branch in enumerate(branches):
        at = start + gap * (i + (0 if series else 1))
        step = high / len(branch)
        for j, value in enumerate(branch):
            put(value, (at, high - j * step), (at, high - (j + 1) * step))
    right = start + gap * (len(branches) - (1 if series else 0))
    d.sketch.line("wire:top", [(x, high), (right, high)], "line")
    d.sketch.line("wire:bottom", [(0, 0), (right, 0)], "line")
    return parts


def _read_network(r: Reading, parts: list[tuple[str, int]]) -> tuple[float, dict[str, float]]:
    """Resistance between the cell's poles, and the voltage of each part for one volt: the nodes of the figure.

    Wires join where their ends meet or lie on one another; the currents follow from Kirchhoff's laws.
    """
    wires = [r.path(name) for name in r.names("wire:")]
    ends: list[tuple[float, float]] = []
    for name, _ in parts:
        ends += [tuple(r.path(f"{name}:in")[0]), tuple(r.path(f"{name}:out")[-1])]
    poles = [tuple(r.path("wire:left-high")[0]), tuple(r.path("wire:left-low")[-1])]
    points = [*ends, *poles]
    group = list(range(len(points) + len(wires)))

    def find(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    def join(i: int, j: int) -> None:
        group[find(i)] = find(j)

    for i, p in enumerate(points):
        for j in range(i):
            if math.dist(p, points[j]) < 0.6:
                join(i, j)
        for k, wire in enumerate(wires):
            if _on(p, wire):
                join(i, len(points) + k)
    for k, wire in enumerate(wires):
        for m, other in enumerate(wires):
            if k != m and (_on(tuple(wire[0]), other) or _on(tuple(wire[-1]), other)):
                join(len(points) + k, len(points) + m)
    nodes = sorted({find(i) for i in range(len(points))})
    index = {node: i for i, node in enumerate(nodes)}
    count = len(nodes)
    matrix, vector = np.zeros((count, count)), np.zeros(count)
    for k, (_, value) in enumerate(parts):
        a, b = index[find(2 * k)], index[find(2 * k + 1)]
        for here, there in ((a, b), (b, a)):
            matrix[here, here] += 1 / value
            matrix[here, there] -= 1 / value
    plus, minus = index[find(len(ends))], index[find(len(ends) + 1)]
    for node, volts in ((plus, 1.0), (minus, 0.0)):
        matrix[node] = 0
        matrix[node, node] = 1
        vector[node] = volts
    potential = np.linalg.solve(matrix, vector)
    current, voltages = 0.0, {}
    for k, (name, value) in enumerate(parts):
        a, b = index[find(2 * k)], index[find(2 * k + 1)]
        voltages[name] = abs(float(potential[a] - potential[b]))
        if plus in (a, b):
            current += voltages[name] / value
    return 1 / current, voltages


def _on(p: tuple[float, ...], wire: np.ndarray) -> bool:
    (x1, y1), (x2, y2) = wire[0], wire[-1]
    length = math.hypot(x2 - x1, y2 - y1)
    if length < 1e-6:
        return math.dist(p, (x1, y1)) < 0.6
    along = ((p[0] - x1) * (x2 - x1) + (p[1] - y1) * (y2 - y1)) / length
    across = abs((p[0] - x1) * (y2 - y1) - (p[1] - y1) * (x2 - x1)) / length
    return -0.6 <= along <= length + 0.6 and across < 0.6


def circuit(d: Draft) -> Exercise:
    """Equivalent resistance, current or voltage of a circuit of two to five resistors."""
    series = [d.rng.randint(1, 12) for _ in range(d.rng.choice((0, 1, 1, 2)))]
    parallel = d.rng.choice((1, 2, 2, 3)) if series else d.rng.choice((2, 2, 3))
    branches = []
    for _ in range(parallel):
        branches.append([d.rng.choice((2, 3, 4, 6, 8, 10, 12, 15, 20, 30)) for _ in range(d.rng.choice((1, 1, 1, 2)))])
    count = len(series) + sum(map(len, branches))
    if not 2 <= count <= 5:
        raise Unsuited
    conductance = sum((Fraction(1, sum(branch)) for branch in branches), Fraction(0))
    shared = 1 / conductance
    total = shared + sum(series)
    if (total * 10).denominator != 1:
        raise Unsuited
    volts = d.rng.choice((6, 9, 12, 18, 24, 30, 36))
    current = Fraction(volts) / total
    names = d.rng.random() < 0.5
    kind = d.rng.choice(("resistance", "current", "voltage"))
    if kind != "resistance" and (current * 100).denominator != 1:
        raise Unsuited
    zigzag = d.rng.random() < 0.5
    parts = _network(d, branches, series, zigzag, names)
    states_voltage = kind != "resistance"
    in_figure = states_voltage and d.rng.random() < 0.6
    _battery(d, (0, 1.6), f"{volts} V" if in_figure else "")
    d.setting("a circuit of a cell and resistors", "由电源和电阻组成的电路")
    listed = ", ".join(f"{value} Ω" for _, value in parts)
    d.note(f"The resistors have {listed}.", f"各电阻为 {listed.replace(', ', '、')}。")
    if states_voltage:
        d.sentence("The cell has no internal resistance.", "电源内阻不计。")
        if not in_figure:
            d.facts.append(d.say(f"the voltage of the cell is {volts} V", f"电源电压为{volts} V"))
    if parallel > 1:
        for branch in branches:
            if len(branch) > 1:
                d.step(
                    f"In series: {' + '.join(map(str, branch))} = {sum(branch)} Ω",
                    f"串联：{' + '.join(map(str, branch))} = {sum(branch)} Ω",
                )
        inverse = " + ".join(f"1/{sum(branch)}" for branch in branches)
        d.step(f"In parallel: 1 ÷ ({inverse}) = {show(shared)} Ω", f"并联：1 ÷ ({inverse}) = {show(shared)} Ω")
    if series or parallel == 1:
        terms = [
            *map(str, series),
            *(
                map(str, branches[0])
                if parallel == 1
                else [f"({show(shared)})" if "/" in show(shared) else show(shared)]
            ),
        ]
        d.step(f"In series: {' + '.join(terms)} = {show(total)} Ω", f"串联：{' + '.join(terms)} = {show(total)} Ω")
    plain_sum = sum(value for _, value in parts)
    if kind == "resistance":
        d.ask("the total resistance between the poles of the cell", "电路的总电阻")
        return d.exercise(
            9,
            total,
            "Ω",
            wrong=[
                plain_sum,
                1 / sum((Fraction(1, v) for _, v in parts), Fraction(0)),
                conductance + sum(series),
                shared,
            ],
            measure=lambda r: _read_network(r, parts)[0],
        )
    d.steps.append(
        f"I = {volts} ÷ {show(total) if '/' not in show(total) else '(' + show(total) + ')'} = {show(current)} A"
    )
    if kind == "current":
        d.ask("the current through the cell", "通过电源的电流")
        wrong: list[Value] = [
            Fraction(volts, plain_sum),
            volts * total,
            Fraction(volts) / shared,
            Fraction(total, volts),
        ]
        return d.exercise(9, current, "A", wrong=wrong, measure=lambda r: volts / _read_network(r, parts)[0])
    if not series:
        raise Unsuited
    name, value = parts[0]
    answer = current * value
    if (answer * 100).denominator != 1:
        raise Unsuited
    which = "R₁" if names else d.say(f"the {value} Ω resistor at the top left", f"左上方{value} Ω的电阻")
    d.ask(f"the voltage across {which}", f"{which}两端的电压")
    d.steps.append(f"U = {show(current)} × {value} = {show(answer)} V")
    return d.exercise(
        9,
        answer,
        "V",
        wrong=[volts - answer, volts, Fraction(volts * value, plain_sum), Fraction(volts, 2)],
        measure=lambda r: volts * _read_network(r, parts)[1][name],
    )


CIRCUITS: dict[str, Callable[[Draft], Exercise]] = {"circuit": circuit}
