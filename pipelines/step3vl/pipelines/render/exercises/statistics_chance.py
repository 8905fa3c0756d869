"""Correlation and probability: scatter plots, trees, Venn diagrams and spinners."""

import math
import statistics
from collections.abc import Callable
from fractions import Fraction

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import show
from step3vl.pipelines.render.exercises.sketch import XY, on_circle
from step3vl.pipelines.render.exercises.sketch_svg import Reading


def scatter(d: Draft) -> Exercise:
    """The direction of a correlation, or its strength, from a scatter plot."""
    kind = d.rng.choice(("positive", "negative", "none"))
    words = {
        "positive": d.say("positive correlation", "正相关"),
        "negative": d.say("negative correlation", "负相关"),
        "none": d.say("no correlation", "不相关"),
    }
    d.sketch.aspect = d.rng.uniform(1.0, 1.5)
    d.sketch.equal = False
    number = d.rng.randint(14, 26)
    points: list[XY] = []
    for i in range(number):
        x = 1 + 9 * (i + d.rng.random()) / number
        noise = d.rng.gauss(0, 0.9)
        y = {"positive": 0.8 * x + 1, "negative": 9.5 - 0.8 * x, "none": 5.0}[kind] + (
            noise if kind != "none" else d.rng.uniform(-3.5, 4)
        )
        points.append((x, min(max(y, 0.3), 10.7)))
    for i in range(0, 12, 2):
        d.sketch.line(f"tick-x{i}", [(i, 0), (i, -0.15)], "axis")
        d.sketch.line(f"tick-y{i}", [(0, i), (-0.15, i)], "axis")
        d.sketch.text(str(i), (i, -0.15), (0, 0.8), size=0.75, over=True)
        d.sketch.text(str(i), (-0.15, i), (-0.35, 0), size=0.75, align="right", over=True)
    d.sketch.line("x-axis", [(0, 0), (11, 0)], "axis")
    d.sketch.line("y-axis", [(0, 0), (0, 11)], "axis")
    for i, (x, y) in enumerate(points):
        d.sketch.line(f"cross-{i}", [(x - 0.001, y), (x + 0.001, y)], "grid")
        d.sketch.dot((x, y), colour=0)
    d.setting("a scatter plot of two quantities", "两个变量的散点图")

    def correlation(r: Reading) -> float:
        at = [r.centre(name) for name in r.names("cross-")]
        return statistics.correlation([x for x, _ in at], [-y for _, y in at])

    strength = statistics.correlation([x for x, _ in points], [y for _, y in points])
    if (kind == "none" and abs(strength) > 0.25) or (kind != "none" and abs(strength) < 0.75):
        raise Unsuited
    d.ask_sentence(
        (
            "Which kind of correlation does the plot show?",
            "Describe the correlation.",
            "Is the correlation positive, negative or absent?",
            "What kind of correlation do the points suggest?",
        ),
        (
            "散点图表示哪种相关关系？",
            "判断两变量的相关性。",
            "两个变量是正相关、负相关还是不相关？",
            "这些点说明了怎样的相关关系？",
        ),
    )
    tendency = {"positive": ("rise", "上升"), "negative": ("fall", "下降"), "none": ("show no trend", "没有明显趋势")}[
        kind
    ]
    d.step(f"From left to right the points {tendency[0]}.", f"从左到右，这些点{tendency[1]}。")
    answer = words[kind]
    return d.exercise(
        8,
        answer,
        wrong=[w for w in words.values() if w != answer],
        choices=tuple(words.values()),
        confirm=lambda r: (correlation(r) > 0.6, correlation(r) < -0.6, abs(correlation(r)) < 0.3)[
            ("positive", "negative", "none").index(kind)
        ],
    )


def probability_tree(d: Draft) -> Exercise:
    """A probability by a tree of two picks, with or without replacement."""
    reds, blues = d.rng.randint(2, 6), d.rng.randint(2, 6)
    total = reds + blues
    replaced = d.rng.random() < 0.5
    left = total if replaced else total - 1
    first = {"R": (reds, total), "B": (blues, total)}  # balls that count, out of how many
    second = {
        "RR": (reds - (not replaced), left), "RB": (blues, left),
        "BR": (reds, left), "BB": (blues - (not replaced), left),
    }  # fmt: skip
    chances = {name: Fraction(*share) for name, share in (first | second).items()}
    labels = {name: f"{count}/{whole}" for name, (count, whole) in (first | second).items()}
    at = {
        "": (0.0, 0.0),
        "R": (2.0, 1.2),
        "B": (2.0, -1.2),
        "RR": (4.2, 1.8),
        "RB": (4.2, 0.6),
        "BR": (4.2, -0.6),
        "BB": (4.2, -1.8),
    }
    hidden = d.rng.choice(list(second))
    for name, xy in at.items():
        if not name:
            continue
        start = at[name[:-1]]
        a = (start[0] + (0.35 if name[:-1] else 0), start[1])
        b = (xy[0] - 0.2, xy[1])
        d.sketch.points[f"s{name}"], d.sketch.points[f"e{name}"] = a, b
        d.sketch.line(f"branch-{name}", [a, b], "line")
        d.sketch.text(name[-1], xy, (0, 0), over=True, upright=True)
        if name != hidden:
            d.sketch.side_label(
                f"s{name}", f"e{name}", labels[name], away=(start[0], xy[1] - (1 if xy[1] > start[1] else -1))
            )
    d.setting(
        "a probability tree for two balls taken from a bag with red (R) and blue (B) balls",
        "从装有红球（R）和蓝球（B）的袋中依次摸两球的树状图",
    )
    d.sentence(
        f"The bag holds {reds} red and {blues} blue balls; the first is {'put back' if replaced else 'not put back'}.",
        f"袋中有{reds}个红球、{blues}个蓝球，第一个球摸出后{'放回' if replaced else '不放回'}。",
    )
    ways = {name: chances[name[0]] * chances[name] for name in second}
    cases: list[tuple[str, str, list[str]]] = [
        ("both balls are red", "两球都是红球", ["RR"]),
        ("both balls are blue", "两球都是蓝球", ["BB"]),
        ("the balls have different colours", "两球颜色不同", ["RB", "BR"]),
        ("the balls have the same colour", "两球颜色相同", ["RR", "BB"]),
        ("at least one ball is red", "至少有一个红球", ["RR", "RB", "BR"]),
    ]
    en, zh, paths = d.rng.choice(cases)
    answer = sum((ways[p] for p in paths), Fraction(0))
    d.ask(f"the probability that {en}", f"{zh}的概率")
    d.step("Multiply along each path, and add the paths.", "沿每条路径相乘，再将各路径相加。")
    d.steps.append(" + ".join(f"({labels[p[0]]}) × ({labels[p]})" for p in paths) + f" = {show(answer)}")
    # Independent of the tree: all pairs of balls, counted.
    balls = ["R"] * reds + ["B"] * blues
    pairs = [(a, b) for a in range(total) for b in range(total) if replaced or a != b]
    outcomes = set(paths)
    counted = Fraction(sum(balls[a] + balls[b] in outcomes for a, b in pairs), len(pairs))
    return d.exercise(
        9,
        answer,
        wrong=[1 - answer, ways[paths[0]] / 2, chances["R"] ** 2, chances["B"] + chances["BB"]],
        measure=lambda r: float(counted),
        confirm=lambda r: len(r.names("branch-")) == 6,
    )


def venn(d: Draft) -> Exercise:
    """Counts and probabilities in a Venn diagram of two sets."""
    only_a, both, only_b, neither = (d.rng.randint(2, 20) for _ in range(4))
    total = only_a + both + only_b + neither
    a, b = d.rng.choice((("A", "B"), ("P", "Q"), ("M", "N")))
    d.sketch.line("frame", [(-3.2, -2), (3.2, -2), (3.2, 2), (-3.2, 2)], "line", closed=True)
    for name, x, colour in (("left", -0.85, 0), ("right", 0.85, 1)):
        d.sketch.circle(name, (x, 0), 1.45, "grid", fill=colour)
        d.sketch.circle(f"{name}-rim", (x, 0), 1.45)
    d.sketch.text(a, (-1.9, 1.5), over=True, upright=False)
    d.sketch.text(b, (1.9, 1.5), over=True, upright=False)
    regions: list[tuple[int, XY]] = [(only_a, (-1.4, 0)), (both, (0, 0)), (only_b, (1.4, 0)), (neither, (2.8, -1.7))]
    for value, at in regions:
        d.sketch.text(str(value), at, over=True)
    d.setting(
        f"a Venn diagram with the number of pupils in the sets {a} and {b}", f"集合{a}与{b}的韦恩图，数字表示学生人数"
    )

    # By the circles that each number lies in, as they are shown.
    def counted(r: Reading, accepts: Callable[[bool, bool], bool]) -> int:
        frame = r.path("frame")
        scale = (frame[1][0] - frame[0][0]) / 6.4
        count = 0
        for value, (x, y) in regions:
            pixel = frame[0][0] + (x + 3.2) * scale, frame[0][1] - (y + 2) * scale
            inside = [math.dist(pixel, r.centre(f"{n}-rim")) < r.radius(f"{n}-rim") for n in ("left", "right")]
            count += value if accepts(*inside) else 0
        return count

    cases: list[tuple[str, str, int, Callable[[bool, bool], bool], str]] = [
        (f"the number of pupils in {a}", f"集合{a}中的人数", only_a + both, lambda p, q: p, f"{only_a} + {both}"),
        (
            f"the number of pupils in {a} or {b}",
            f"属于{a}或{b}的人数",
            only_a + both + only_b,
            lambda p, q: p or q,
            f"{only_a} + {both} + {only_b}",
        ),
        (
            f"the number of pupils in exactly one of {a} and {b}",
            f"恰好属于{a}、{b}之一的人数",
            only_a + only_b,
            lambda p, q: p != q,
            f"{only_a} + {only_b}",
        ),
        (
            f"the number of pupils who are not in {b}",
            f"不属于{b}的人数",
            only_a + neither,
            lambda p, q: not q,
            f"{only_a} + {neither}",
        ),
    ]
    en, zh, number, accepts, sum_text = d.rng.choice(cases)
    if d.rng.random() < 0.5:
        d.ask(en, zh)
        d.steps.append(f"{sum_text} = {number}")
        return d.exercise(
            7,
            number,
            wrong=[number - both, number + both, both, total - number, total],
            measure=lambda r: float(counted(r, accepts)),
        )
    answer = Fraction(number, total)
    d.ask(
        en.replace("the number of pupils", "the probability that a pupil chosen at random is").replace(
            " who are not", " not"
        ),
        zh.replace("中的人数", "")
        .replace("的人数", "")
        .join(("随机选一名学生，该生", "的概率"))
        .replace("集合", "属于集合"),
    )
    d.steps.append(f"{only_a} + {both} + {only_b} + {neither} = {total}")
    d.steps.append(f"({sum_text}) ÷ {total} = {show(answer)}")
    return d.exercise(
        9,
        answer,
        wrong=[1 - answer, Fraction(number, total - neither), Fraction(both, total), Fraction(only_b, total)],
        measure=lambda r: counted(r, accepts) / counted(r, lambda p, q: True),
    )


def spinner(d: Draft) -> Exercise:
    """The probability of a number on a spinner of equal sectors."""
    count = d.rng.choice((5, 6, 8, 10, 12))
    faces = [d.rng.randint(1, 4) for _ in range(count)]
    if len(set(faces)) < 3:
        raise Unsuited
    start = d.rng.uniform(0, 360)
    d.sketch.circle("rim", (0, 0), 1)
    for i, face in enumerate(faces):
        direction = start + 360 * i / count
        d.sketch.line(f"ray-{i}", [(0, 0), on_circle((0, 0), 1, direction)], "line")
        wedge = [(0.0, 0.0)] + [on_circle((0, 0), 1, direction + 360 / count * j / 12) for j in range(13)]
        d.sketch.line(f"wedge-{face}-{i}", wedge, "grid", closed=True, fill=face)
        d.sketch.text(str(face), on_circle((0, 0), 0.68, direction + 180 / count), over=True)
    d.setting(f"a spinner with {count} equal sectors", f"被等分为{count}个扇形的转盘")
    target = d.rng.choice(faces)
    even = d.rng.random() < 0.35 and any(f % 2 == 0 for f in faces)
    hits = sum(f % 2 == 0 for f in faces) if even else faces.count(target)
    answer = Fraction(hits, count)
    if even:
        d.ask("the probability of an even number in one spin", "转一次得到偶数的概率")
    else:
        d.ask(f"the probability of a {target} in one spin", f"转一次得到{target}的概率")
    d.step(
        f"{hits} of the {count} sectors count: {hits} ÷ {count} = {show(answer)}",
        f"{count}个扇形中有{hits}个符合：{hits} ÷ {count} = {show(answer)}",
    )
    values = [f for f in range(1, 5) if (f % 2 == 0 if even else f == target)]
    return d.exercise(
        6,
        answer,
        wrong=[1 - answer, Fraction(1, len(set(faces))), Fraction(1, count), Fraction(hits + 1, count)],
        measure=lambda r: sum(r.enclosed(name) for f in values for name in r.names(f"wedge-{f}-")) / r.enclosed("rim"),
        tolerance=0.01,
    )


CHANCE: dict[str, Callable[[Draft], Exercise]] = {
    "scatter": scatter,
    "probability_tree": probability_tree,
    "venn": venn,
    "spinner": spinner,
}
