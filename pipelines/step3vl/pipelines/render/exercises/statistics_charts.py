"""Charts of data: bar charts, dot plots, box plots and histograms, with their averages and spreads."""

import itertools
import statistics
from collections.abc import Callable, Sequence
from fractions import Fraction

from step3vl.pipelines.render.exercises.axes import number_text
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import show
from step3vl.pipelines.render.exercises.sketch_svg import Reading

# What is counted, and for whom: the noun of the values and the categories, in English and in Chinese.
_TOPICS = (
    ("books read", "读书本数", "Ann Ben Cem Dan Eva Fay Gus", "安 本 陈 丹 伊 方 高"),
    ("cups sold", "售出杯数", "Mon Tue Wed Thu Fri Sat Sun", "一 二 三 四 五 六 日"),
    ("goals scored", "进球数", "A B C D E F G", "A B C D E F G"),
    ("days of rain", "雨天数", "Jan Feb Mar Apr May Jun Jul", "1 2 3 4 5 6 7"),
    ("visitors in hundreds", "访客数（百人）", "P Q R S T U V", "P Q R S T U V"),
    ("trees planted", "植树棵数", "1a 1b 2a 2b 3a 3b 4a", "1班 2班 3班 4班 5班 6班 7班"),
    ("emails sent", "发送邮件数", "Lea Max Noa Oli Pia Rui Sam", "甲 乙 丙 丁 戊 己 庚"),
)


def _scale(d: Draft, top: int, width: float, step: int) -> None:
    """A frame with a vertical scale from 0 and grid lines."""
    high = (top // step + 1) * step
    d.sketch.equal = False
    for i in range(high // step + 1):
        y = i * step
        d.sketch.line(f"tick-y{i}", [(0, y), (-0.06, y)], "axis")
        d.sketch.line(f"grid-{i}", [(0, y), (width, y)], "grid")
        d.sketch.text(number_text(y), (-0.06, y), (-0.3, 0), size=0.8, align="right", over=True)
    d.sketch.line("y-axis", [(0, 0), (0, high)], "axis")
    d.sketch.line("x-axis", [(0, 0), (width, 0)], "axis")


def _level(r: Reading, step: int, pixel: float) -> float:
    """The value at a height in pixels, by the ticks of `_scale`."""
    names = r.names("tick-y")
    first, last = (float(r.path(name)[0][1]) for name in (names[0], names[-1]))
    return (pixel - first) / (last - first) * (len(names) - 1) * step


def _bars(r: Reading, step: int, count: int) -> list[float]:
    """The values of bars, from their heights."""
    return [_level(r, step, float(r.path(f"bar-{i}")[:, 1].min())) for i in range(count)]


def _joined(values: Sequence[int | Fraction], sign: str = " + ") -> str:
    return sign.join(show(value) for value in values)


def bar_chart(d: Draft) -> Exercise:
    """Mean, median, range, total or a share from a bar chart whose values lie on grid lines."""
    en, zh, names_en, names_zh = d.rng.choice(_TOPICS)
    count = d.rng.randint(4, 7)
    step = d.rng.choice((1, 1, 2, 5))
    values = [step * d.rng.randint(1, 9) for _ in range(count)]
    if len(set(values)) < 3:
        raise Unsuited
    zh_names = d.language == "zh" and all(map(d.covers, names_zh.split()))
    names = (names_zh if zh_names else names_en).split()
    d.sketch.aspect = d.rng.uniform(1.2, 1.7)
    _scale(d, max(values), count, step)
    lines = d.rng.random() < 0.25
    if lines:
        d.sketch.line("curve", [(i + 0.5, v) for i, v in enumerate(values)], "curve")
    many = d.rng.random() < 0.4
    for i, value in enumerate(values):
        if lines:
            d.sketch.dot((i + 0.5, value))
            d.sketch.line(f"bar-{i}", [(i + 0.5, value), (i + 0.5, 0)], "grid")
        else:
            corners = [(i + 0.2, 0), (i + 0.8, 0), (i + 0.8, value), (i + 0.2, value)]
            d.sketch.line(f"bar-{i}", corners, "body", closed=True, fill=i if many else 0)
        d.sketch.text(names[i], (i + 0.5, 0), (0, 0.85), size=0.85, over=True)
    kind_en, kind_zh = ("line graph", "折线图") if lines else ("bar chart", "条形图")
    d.setting(f"a {kind_en} of the number of {en}", f"{zh}的{kind_zh}")
    order = sorted(values)
    total = sum(values)
    d.read(f"The values are {_joined(values, ', ')}.", f"数据为{_joined(values, '、')}。")
    kind = d.rng.choice(("mean", "median", "range", "total", "difference", "above"))

    def bars(r: Reading) -> list[float]:
        return _bars(r, step, count)

    if kind == "mean":
        answer = Fraction(total, count)
        if (answer * 100).denominator != 1:
            raise Unsuited
        d.ask("the mean of the values", "这组数据的平均数")
        d.steps.append(f"({_joined(values)}) ÷ {count} = {show(answer)}")
        return d.exercise(
            6,
            answer,
            wrong=[
                Fraction(total, count - 1),
                statistics.median(map(Fraction, values)),
                Fraction(max(values) + min(values), 2),
            ],
            measure=lambda r: statistics.fmean(bars(r)),
            tolerance=0.01,
        )
    if kind == "median":
        answer = Fraction(statistics.median(map(Fraction, values)))
        d.ask("the median of the values", "这组数据的中位数")
        d.step(
            f"In order: {_joined(order, ', ')}; the middle is {show(answer)}.",
            f"从小到大：{_joined(order, '、')}，中位数为{show(answer)}。",
        )
        return d.exercise(
            6,
            answer,
            wrong=[
                Fraction(total, count),
                Fraction(values[count // 2]),
                Fraction(order[count // 2 - 1]),
                Fraction(max(values) - min(values)),
            ],
            measure=lambda r: statistics.median(bars(r)),
            tolerance=0.01,
        )
    if kind == "range":
        answer = Fraction(order[-1] - order[0])
        d.ask("the range of the values", "这组数据的极差")
        d.steps.append(f"{order[-1]} − {order[0]} = {show(answer)}")
        return d.exercise(
            6,
            answer,
            wrong=[Fraction(order[-1]), Fraction(order[-1] + order[0]), answer + step],
            measure=lambda r: max(bars(r)) - min(bars(r)),
            tolerance=0.01,
        )
    if kind == "total":
        answer = Fraction(total)
        d.ask("the sum of all values", "所有数据的总和")
        d.steps.append(f"{_joined(values)} = {total}")
        return d.exercise(
            3,
            answer,
            wrong=[answer + step, answer - step, answer + 2 * step, answer - order[0]],
            measure=lambda r: sum(bars(r)),
            tolerance=0.01,
        )
    if kind == "difference":
        i, j = d.rng.sample(range(count), 2)
        if values[i] <= values[j]:
            raise Unsuited
        answer = Fraction(values[i] - values[j])
        d.ask(
            f"how much greater the value of {names[i]} is than that of {names[j]}", f"{names[i]}比{names[j]}多的数量"
        )
        d.steps.append(f"{values[i]} − {values[j]} = {show(answer)}")
        return d.exercise(
            3,
            answer,
            wrong=[Fraction(values[i] + values[j]), answer + step, Fraction(values[i])],
            measure=lambda r: bars(r)[i] - bars(r)[j],
            tolerance=0.01,
        )
    level = Fraction(2 * step * d.rng.randint(2, 6) + step, 2)
    answer = Fraction(sum(v > level for v in values))
    d.ask(f"the number of values that are greater than {show(level)}", f"大于{show(level)}的数据个数")
    d.step(f"Compare each value with {show(level)}.", f"将每个数据与{show(level)}比较。")
    return d.exercise(
        3,
        answer,
        wrong=[answer + 1, count - answer, answer + 2],
        measure=lambda r: float(sum(v > level for v in bars(r))),
        tolerance=0.01,
    )


def dot_plot(d: Draft) -> Exercise:
    """Mode, median or mean of a dot plot."""
    low = d.rng.randint(0, 6)
    span = d.rng.randint(5, 8)
    counts = [d.rng.randint(0, 5) for _ in range(span)]
    counts[0], counts[-1] = max(1, counts[0]), max(1, counts[-1])
    values = [low + i for i, n in enumerate(counts) for _ in range(n)]
    if len(values) < 6:
        raise Unsuited
    d.sketch.line("axis", [(-0.7, 0), (span - 0.3, 0)], "axis")
    for i, n in enumerate(counts):
        d.sketch.line(f"tick-{i}", [(i, 0), (i, -0.12)], "axis")
        d.sketch.text(str(low + i), (i, 0), (0, 1.0), size=0.85, over=True)
        for j in range(n):
            d.sketch.circle(f"dot-{i}-{j}", (i, 0.5 + 0.72 * j), 0.26, "body", fill=0)
    d.setting("a dot plot in which each dot stands for one pupil's score", "点图，每个点表示一名学生的得分")

    def read(r: Reading) -> list[float]:
        first, last = (float(r.path(name)[0][0]) for name in (r.names("tick-")[0], r.names("tick-")[-1]))
        return [low + (r.centre(name)[0] - first) / (last - first) * (span - 1) for name in r.names("dot-")]

    order = sorted(values)
    d.read(f"The scores are {_joined(order, ', ')}.", f"得分为 {_joined(order, '、')}。")
    kind = d.rng.choice(("mode", "median", "mean", "count"))
    if kind == "mode":
        modes = statistics.multimode(values)
        if len(modes) > 1:
            raise Unsuited
        d.ask("the mode of the scores", "得分的众数")
        d.step(
            f"{modes[0]} occurs {counts[modes[0] - low]} times, more often than any other score.",
            f"{modes[0]}出现{counts[modes[0] - low]}次，次数最多。",
        )
        return d.exercise(
            6,
            modes[0],
            wrong=[counts[modes[0] - low], int(statistics.median_low(values)), max(values)],
            measure=lambda r: float(statistics.mode([round(v) for v in read(r)])),
        )
    if kind == "median":
        answer = Fraction(statistics.median(map(Fraction, values)))
        d.ask("the median score", "得分的中位数")
        d.step(
            f"The middle of the {len(values)} ordered scores is {show(answer)}.",
            f"{len(values)}个得分排序后，中位数为{show(answer)}。",
        )
        return d.exercise(
            6,
            answer,
            wrong=[low + Fraction(span, 2), Fraction(sum(values), len(values)), statistics.mode(values)],
            measure=lambda r: statistics.median(read(r)),
            tolerance=0.01,
        )
    if kind == "mean":
        answer = Fraction(sum(values), len(values))
        if (answer * 100).denominator != 1:
            raise Unsuited
        d.ask("the mean score", "平均分")
        d.steps.append(f"({_joined(order)}) ÷ {len(values)} = {show(answer)}")
        return d.exercise(
            6,
            answer,
            wrong=[
                Fraction(sum(range(low, low + span)), span),
                Fraction(statistics.median(map(Fraction, values))),
                Fraction(len(values), span),
            ],
            measure=lambda r: statistics.fmean(read(r)),
            tolerance=0.01,
        )
    level = low + d.rng.randint(1, span - 2)
    count = sum(v >= level for v in values)
    d.ask(f"the number of pupils who scored at least {level}", f"得分不低于{level}的学生人数")
    d.step("Count the dots from there on.", "数出该分数及以上的点。")
    return d.exercise(
        4,
        count,
        wrong=[sum(v > level for v in values), len(values) - count, count + 1],
        measure=lambda r: float(sum(round(v) >= level for v in read(r))),
    )


def box_plot(d: Draft) -> Exercise:
    """Quartiles, median and spread of a box plot."""
    unit = d.rng.choice((1, 2, 5, 10))
    five = sorted(d.rng.sample(range(1, 19), 5))
    if min(b - a for a, b in itertools.pairwise(five)) < 2:
        raise Unsuited
    low, first, middle, third, high = (v * unit for v in five)
    d.sketch.equal = True
    at, half = 2.2, 0.8
    for i in range(21):
        d.sketch.line(f"tick-{i}", [(i, 0), (i, -0.3 if i % 2 == 0 else -0.18)], "axis")
        if i % 2 == 0:
            d.sketch.text(str(i * unit), (i, -0.3), (0, 0.9), size=0.75, over=True)
        d.sketch.line(f"guide-{i}", [(i, 0), (i, 3.6)], "grid")
    d.sketch.line("axis", [(0, 0), (20, 0)], "axis")
    a, q1, m, q3, b = five
    d.sketch.line(
        "box", [(q1, at - half), (q3, at - half), (q3, at + half), (q1, at + half)], "body", closed=True, fill=0
    )
    d.sketch.line("median", [(m, at - half), (m, at + half)], "line")
    for name, x1, x2 in (("low", a, q1), ("high", b, q3)):
        d.sketch.line(name, [(x1, at), (x2, at)], "line")
        d.sketch.line(f"{name}-cap", [(x1, at - half / 2), (x1, at + half / 2)], "line")
    d.setting("the box plot of a data set", "一组数据的箱线图")

    def read(r: Reading) -> list[float]:
        left, right = float(r.path("tick-0")[0][0]), float(r.path("tick-20")[0][0])
        box = r.path("box")[:, 0]
        xs = [r.path("low-cap")[0][0], box.min(), r.path("median")[0][0], box.max(), r.path("high-cap")[0][0]]
        return [20 * unit * (float(x) - left) / (right - left) for x in xs]

    d.read(
        f"Minimum {low}, lower quartile {first}, median {middle}, upper quartile {third}, maximum {high}.",
        f"图中最小值{low}，下四分位数{first}，中位数{middle}，上四分位数{third}，最大值{high}。",
    )
    kind = d.rng.choice(("iqr", "range", "median", "q1", "q3"))
    if kind == "iqr":
        d.ask("the interquartile range", "四分位距")
        d.steps.append(f"{third} − {first} = {third - first}")
        return d.exercise(
            8,
            third - first,
            wrong=[high - low, middle - first, third - middle, third + first],
            measure=lambda r: read(r)[3] - read(r)[1],
            tolerance=0.01,
        )
    if kind == "range":
        d.ask("the range of the data", "数据的极差")
        d.steps.append(f"{high} − {low} = {high - low}")
        return d.exercise(
            8,
            high - low,
            wrong=[third - first, high, high - middle],
            measure=lambda r: read(r)[4] - read(r)[0],
            tolerance=0.01,
        )
    index = {"median": 2, "q1": 1, "q3": 3}[kind]
    en = {
        "median": "the median of the data",
        "q1": "the lower quartile of the data",
        "q3": "the upper quartile of the data",
    }[kind]
    zh = {"median": "数据的中位数", "q1": "数据的下四分位数", "q3": "数据的上四分位数"}[kind]
    d.ask(en, zh)
    answer = (low, first, middle, third, high)[index]
    return d.exercise(
        8,
        answer,
        wrong=[v for v in (low, first, middle, third, high) if v != answer],
        measure=lambda r: read(r)[index],
        tolerance=0.01,
    )


def histogram(d: Draft) -> Exercise:
    """Counts, shares and the modal class of a histogram."""
    width, start, count = d.rng.choice((5, 10, 20)), d.rng.choice((0, 10, 50, 100)), d.rng.randint(4, 6)
    step = d.rng.choice((1, 2))
    values = [step * d.rng.randint(1, 9) for _ in range(count)]
    total = sum(values)
    d.sketch.aspect = d.rng.uniform(1.2, 1.6)
    _scale(d, max(values), count, step)
    for i, value in enumerate(values):
        d.sketch.line(f"bar-{i}", [(i, 0), (i + 1, 0), (i + 1, value), (i, value)], "body", closed=True, fill=0)
    for i in range(count + 1):
        d.sketch.text(str(start + i * width), (i, 0), (0, 0.85), size=0.8, over=True)
    d.setting("a histogram of measured times in seconds", "所测时间（秒）的频数直方图")
    d.read(f"The classes hold {_joined(values, ', ')}.", f"各组频数为 {_joined(values, '、')}。")
    kind = d.rng.choice(("total", "share", "modal", "below"))
    cut = d.rng.randint(1, count - 1)
    edge = start + cut * width
    if kind == "total":
        d.ask("the number of measurements", "测量的总次数")
        d.steps.append(f"{_joined(values)} = {total}")
        return d.exercise(
            7,
            total,
            wrong=[total + step, total - step, count, max(values)],
            measure=lambda r: sum(_bars(r, step, count)),
            tolerance=0.01,
        )
    if kind == "below":
        answer = sum(values[:cut])
        d.ask(f"the number of measurements below {edge} seconds", f"小于{edge}秒的次数")
        d.steps.append(f"{_joined(values[:cut])} = {answer}")
        return d.exercise(
            7,
            answer,
            wrong=[total - answer, values[cut - 1], answer + values[cut], total],
            measure=lambda r: sum(_bars(r, step, count)[:cut]),
            tolerance=0.01,
        )
    if kind == "share":
        answer_share = Fraction(sum(values[cut:]), total)
        d.ask(
            f"the fraction of measurements of {edge} seconds or more",
            f"不少于{edge}秒的次数所占的比例（用分数或小数表示）",
        )
        d.steps.append(f"({_joined(values[cut:])}) ÷ {total} = {show(answer_share)}")
        return d.exercise(
            8,
            answer_share,
            wrong=[1 - answer_share, Fraction(count - cut, count), Fraction(values[cut], total)],
            measure=lambda r: sum(_bars(r, step, count)[cut:]) / sum(_bars(r, step, count)),
            tolerance=0.002,
        )
    best = max(values)
    if values.count(best) > 1:
        raise Unsuited
    names = tuple(f"{start + i * width}–{start + (i + 1) * width}" for i in range(count))
    answer_name = names[values.index(best)]
    d.ask("the modal class", "频数最大的一组（众数组）")
    d.step(f"The highest bar stands over {answer_name}.", f"最高的长方形对应 {answer_name}。")
    return d.exercise(
        7,
        answer_name,
        wrong=[n for n in names if n != answer_name],
        choices=names,
        confirm=lambda r: max(range(count), key=lambda i: _bars(r, step, count)[i]) == names.index(answer_name),
    )


CHARTS: dict[str, Callable[[Draft], Exercise]] = {
    "bar_chart": bar_chart,
    "dot_plot": dot_plot,
    "box_plot": box_plot,
    "histogram": histogram,
}
