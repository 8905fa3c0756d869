"""Elements: parts of the periodic table, and electron shells."""

import math
from collections.abc import Callable

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.sketch import on_circle
from step3vl.pipelines.render.exercises.sketch_svg import Reading

# Symbol, English and Chinese name and relative atomic mass of the first 36 elements (IUPAC, abridged).
_ELEMENTS = [
    row.split()
    for row in """H hydrogen 氢 1.008
He helium 氦 4.003
Li lithium 锂 6.94
Be beryllium 铍 9.012
B boron 硼 10.81
C carbon 碳 12.01
N nitrogen 氮 14.01
O oxygen 氧 16.00
F fluorine 氟 19.00
Ne neon 氖 20.18
Na sodium 钠 22.99
Mg magnesium 镁 24.31
Al aluminium 铝 26.98
Si silicon 硅 28.09
P phosphorus 磷 30.97
S sulfur 硫 32.06
Cl chlorine 氯 35.45
Ar argon 氩 39.95
K potassium 钾 39.10
Ca calcium 钙 40.08
Sc scandium 钪 44.96
Ti titanium 钛 47.87
V vanadium 钒 50.94
Cr chromium 铬 52.00
Mn manganese 锰 54.94
Fe iron 铁 55.85
Co cobalt 钴 58.93
Ni nickel 镍 58.69
Cu copper 铜 63.55
Zn zinc 锌 65.38
Ga gallium 镓 69.72
Ge germanium 锗 72.63
As arsenic 砷 74.92
Se selenium 硒 78.97
Br bromine 溴 79.90
Kr krypton 氪 83.80""".splitlines()
]


_MAIN = {1: 1, 2: 2, 13: 3, 14: 4, 15: 5, 16: 6, 17: 7, 18: 8}  # group to valence electrons


def _place(number: int) -> tuple[int, int]:
    """Period and group of one of the first 36 elements."""
    if number <= 2:
        return 1, 1 if number == 1 else 18
    if number <= 18:
        period, offset = (2, number - 2) if number <= 10 else (3, number - 10)
        return period, offset if offset <= 2 else offset + 10
    return 4, number - 18


def _shells(number: int) -> list[int]:
    """Electrons in the shells of one of the first 20 elements."""
    shells = []
    for size in (2, 8, 8, 2):
        shells.append(min(size, number))
        number -= shells[-1]
        if not number:
            break
    return shells


def _named(d: Draft, number: int) -> tuple[str, list[str], tuple[str, ...]]:
    """The name of one of the first 20 elements, those of its neighbours in the table, and all 20."""
    names = tuple((zh if d.language == "zh" else en) for _, en, zh, _ in _ELEMENTS[:20])
    near = [names[n - 1] for n in (number - 1, number + 1, number + 8, number - 8) if 1 <= n <= 20]
    return names[number - 1], near, names


def periodic_crop(d: Draft) -> Exercise:
    """A cut-out of the periodic table with an unknown: numbers, valence electrons, ions."""
    rows = d.rng.choice(((2, 3), (2, 3, 4), (3, 4)))
    columns = d.rng.choice(((13, 14, 15), (14, 15, 16), (15, 16, 17), (16, 17, 18), (1, 2), (13, 14, 15, 16, 17)))
    cells = [n for n in range(1, 37) if _place(n)[0] in rows and _place(n)[1] in columns]
    target = d.rng.choice([n for n in cells if n <= 20])
    period, group = _place(target)
    kind = d.rng.choice(("valence", "protons", "electrons", "neutrons", "element"))
    hidden = kind in ("protons", "element")
    d.sketch.share = 0.8
    with_mass = d.rng.random() < 0.5 or kind == "neutrons"
    width = 1.25
    for n in cells:
        p, g = _place(n)
        x, y = columns.index(g) * width, -rows.index(p) * 1.4
        corners = [(x, y), (x + width, y), (x + width, y - 1.4), (x, y - 1.4)]
        d.sketch.line(f"cell-{n}", corners, "body", closed=True, fill=None)
        if n == target:
            d.sketch.line("marked", corners, "grid", closed=True, fill=1)
        middle = x + width / 2
        if n == target and kind == "element":
            d.sketch.text("?", (middle, y - 0.75), size=1.2, over=True)
        else:
            d.sketch.text(_ELEMENTS[n - 1][0], (middle, y - 0.75), size=1.2, over=True)
        if not (n == target and hidden):
            d.sketch.text(str(n), (x, y - 0.22), (0.3, 0), size=0.7, align="left", over=True)
        if with_mass and not (n == target and kind == "element"):
            d.sketch.text(_ELEMENTS[n - 1][3], (middle, y - 1.2), size=0.6, over=True)
    symbol, _, _, mass = _ELEMENTS[target - 1]
    d.setting("a part of the periodic table", "元素周期表的一部分")
    where_en, where_zh = ("the shaded element", "阴影所示元素")

    def position(r: Reading) -> tuple[int, int]:
        """Row and column of the shaded cell among those that are shown."""
        marked = r.centre("marked")
        centres = [(r.centre(f"cell-{n}"), n) for n in cells]
        xs = sorted({round(x) for (x, _), _ in centres})
        ys = sorted({round(y) for (_, y), _ in centres})
        return (
            rows[min(range(len(ys)), key=lambda i: abs(ys[i] - marked[1]))],
            columns[min(range(len(xs)), key=lambda i: abs(xs[i] - marked[0]))],
        )

    def by_position(r: Reading) -> int:
        return next(n for n in range(1, 37) if _place(n) == position(r))

    if kind == "element":
        answer, near, names = _named(d, target)
        d.ask_sentence(
            (
                f"Which element is {where_en}?",
                "Name the shaded element.",
                "Which element belongs in the shaded cell?",
                "What element is missing?",
            ),
            ("阴影所示是哪种元素？", "写出阴影处元素的名称。", "阴影格中应填哪种元素？", "缺少的是哪种元素？"),
        )
        d.step(
            f"It stands in period {period}, group {group}: {symbol}.", f"它位于第{period}周期第{group}族：{symbol}。"
        )
        return d.exercise(9, answer, wrong=near, choices=names, confirm=lambda r: by_position(r) == target)
    if kind == "protons":
        d.ask(f"the atomic number of {where_en}", f"{where_zh}的原子序数")
        d.step(
            f"{symbol} follows element number {target - 1}: {target - 1} + 1 = {target}",
            f"{symbol}排在{target - 1}号元素之后：{target - 1} + 1 = {target}",
        )
        return d.exercise(
            9,
            target,
            wrong=[target + 1, target - 1, target + 8, round(float(mass))],
            measure=lambda r: float(by_position(r)),
        )
    if kind == "neutrons":
        number = round(float(mass))
        if abs(float(mass) - number) > 0.1:
            raise Unsuited
        d.ask(
            f"the number of neutrons in the most common atom of {where_en}, by its rounded atomic mass",
            f"{where_zh}原子的中子数（质量数按相对原子质量取整）",
        )
        d.step(
            f"Mass number minus atomic number: {number} − {target} = {number - target}",
            f"质量数减去质子数：{number} − {target} = {number - target}",
        )
        return d.exercise(
            9,
            number - target,
            wrong=[target, number, number + target, number - target + 1],
            measure=lambda r: float(number - by_position(r)),
        )
    if group not in _MAIN or target == 2:
        raise Unsuited
    valence = _MAIN[group]
    if kind == "valence":
        d.ask(f"the number of valence electrons of {where_en}", f"{where_zh}的最外层电子数")
        d.step(f"{symbol} is in group {group}.", f"{symbol}位于第{group}族。")
        return d.exercise(
            9,
            valence,
            wrong=[period, target, group if group < 3 else 8 - valence, valence + 1],
            measure=lambda r: float(_shells(by_position(r))[-1]),
        )
    charge = valence if valence <= 3 else valence - 8
    if not charge or valence == 4 or target in (1, 5):
        raise Unsuited
    text = symbol + ("" if abs(charge) == 1 else "²³"[abs(charge) - 2]) + ("⁺" if charge > 0 else "⁻")
    d.ask(f"the number of electrons in the ion {text} of {where_en}", f"{where_zh}形成的离子{text}的电子总数")
    sign = "−" if charge > 0 else "+"
    d.step(
        f"The neutral atom has {target} electrons: {target} {sign} {abs(charge)} = {target - charge}",
        f"中性原子有{target}个电子：{target} {sign} {abs(charge)} = {target - charge}",
    )
    return d.exercise(
        9,
        target - charge,
        wrong=[target, target + charge, target - charge + 1, abs(charge)],
        measure=lambda r: float(by_position(r) - charge),
    )


def electron_shells(d: Draft) -> Exercise:
    """A shell model of an atom or an ion."""
    number = d.rng.randint(3, 20)
    shells = _shells(number)
    d.sketch.circle("nucleus", (0, 0), 0.5, "body", fill=1)
    kind = d.rng.choice(("element", "number", "valence", "group"))
    if kind in ("valence", "group"):
        d.sketch.text(f"+{number}", (0, 0), size=0.9, over=True)
    turn = d.rng.uniform(0, 90)
    for k, count in enumerate(shells):
        radius = 1.0 + 0.6 * k
        d.sketch.circle(f"shell-{k}", (0, 0), radius, "aid")
        for i in range(count):
            at = on_circle((0, 0), radius, turn + 360 * i / count)
            d.sketch.circle(f"electron-{k}-{i}", at, 0.11, "body", fill=0)
    d.sketch.share = 0.75
    _, en, zh, _ = _ELEMENTS[number - 1]
    d.setting("the shell model of a neutral atom", "某中性原子的电子层结构示意图")
    listed = ", ".join(map(str, shells))
    d.note(f"Its shells hold {listed} electrons.", f"各电子层的电子数为{listed.replace(', ', '、')}。")

    def counted(r: Reading) -> list[int]:
        centre = r.centre("nucleus")
        radii = [r.radius(name) for name in r.names("shell-")]
        counts = [0] * len(radii)
        for name in r.names("electron-"):
            away = math.dist(r.centre(name), centre)
            counts[min(range(len(radii)), key=lambda k: abs(radii[k] - away))] += 1
        return counts

    total = " + ".join(map(str, shells))
    if kind == "element":
        answer, near, names = _named(d, number)
        d.ask_sentence(
            (
                "Which element is it?",
                "Name the element.",
                "To which element does the atom belong?",
                "What element does the model show?",
            ),
            ("这是哪种元素？", "写出该元素的名称。", "该原子属于哪种元素？", "示意图表示的是什么元素？"),
        )
        d.steps.append(f"{total} = {number}")
        d.step(f"The element with {number} electrons is {en}.", f"核外有{number}个电子的元素是{zh}。")
        return d.exercise(8, answer, wrong=near, choices=names, confirm=lambda r: sum(counted(r)) == number)
    if kind == "number":
        d.ask("the atomic number", "原子序数")
        d.steps.append(f"{total} = {number}")
        return d.exercise(
            8,
            number,
            wrong=[number - 2, number + 1, shells[-1], len(shells)],
            measure=lambda r: float(sum(counted(r))),
        )
    if kind == "valence":
        d.ask("the number of electrons in the outermost shell", "最外层电子数")
        d.step(
            f"The outermost of the {len(shells)} shells holds {shells[-1]} electrons.",
            f"共{len(shells)}个电子层，最外层有{shells[-1]}个电子。",
        )
        return d.exercise(
            8,
            shells[-1],
            wrong=[number, len(shells), 8 - shells[-1] or 3, shells[0] + 1],
            measure=lambda r: float(counted(r)[-1]),
        )
    d.ask("the period of the periodic table in which the element stands", "该元素所在的周期数")
    d.step(f"The number of shells is the period: {len(shells)}.", f"电子层数即周期数：{len(shells)}。")
    return d.exercise(
        8,
        len(shells),
        wrong=[shells[-1], len(shells) + 1, len(shells) - 1, number],
        measure=lambda r: float(len(counted(r))),
    )


ELEMENTS: dict[str, Callable[[Draft], Exercise]] = {
    "periodic_table": periodic_crop,
    "electron_shells": electron_shells,
}
