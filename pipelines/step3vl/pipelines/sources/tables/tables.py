"""Tables to chart: seeded ones that read like real statistics, real ones of the package vega-datasets, and CSV files.

A table is small: a label a row, a series a column, every value a number with few decimals. What it is about decides
which charts suit it (`TableKind`).
"""

import csv
import io
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from step3vl.data.errors import UserError
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.tables.topics import PRICE_TOPICS, TOPICS, Topic

TableKind = Literal["groups", "time", "parts", "signed", "ranges", "prices", "quartiles"]
"""`groups`: unordered labels; `time`: ordered ones; `parts`: parts of a total; `signed`: changes, also below zero;
`ranges`: low, middle, high; `prices`: open, high, low, close; `quartiles`: minimum, quartiles, maximum."""


@dataclass(frozen=True)
class Table:
    """Numbers by row label and series.

    Attributes:
        title: What the table is about.
        kind: What charts it suits.
        label: Name of the labels' column.
        labels: One a row, all different.
        measure: Name of the values, with their unit if they have one.
        series: Names of the columns of values, all different.
        values: Rows of values, one for each series.
        decimals: Places after the point that every value has at most.
        uri: Where it is from.
        licence: Of the numbers.
    """

    title: str
    kind: TableKind
    label: str
    labels: tuple[str, ...]
    measure: str
    series: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    decimals: int
    uri: str = "generated"
    licence: str = "CC0-1.0"

    def texts(self) -> str:
        """Every character that a chart of the table may show."""
        minus = "−" if min(map(min, self.values)) < 0 else ""
        names = (self.title, self.label, *self.labels, self.measure, *self.series)
        return "".join(names) + "0123456789.,-%" + minus

    def full_title(self) -> str:
        """The title with the measure and its unit, for charts whose axes do not say them."""
        name, _, unit = self.measure.partition(" (")
        if name.lower() in self.title.lower():
            return f"{self.title} ({unit}" if unit else self.title
        return f"{self.title}: {self.measure}"

    def rounded(self, step: float) -> "Table":
        """The table with its values rounded to multiples of a step, such as 0.5 or 20."""
        decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if step < 1 and not _is_power(step) else 0)
        decimals = min(decimals, 6)
        values = tuple(tuple(round(round(v / step) * step, decimals) + 0.0 for v in row) for row in self.values)
        return replace(self, values=values, decimals=decimals)

    def csv(self) -> str:
        """As CSV with a header."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow((self.label, *self.series))
        for label, row in zip(self.labels, self.values, strict=True):
            writer.writerow((label, *map(format_number, row)))
        return buffer.getvalue().rstrip("\n")

    def markdown(self) -> str:
        """As a table in Markdown."""
        rows = [
            (self.label, *self.series),
            *((n, *map(format_number, r)) for n, r in zip(self.labels, self.values, strict=True)),
        ]
        head, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
        return "\n".join((head, "|" + " --- |" * len(rows[0]), *body))


@dataclass(frozen=True)
class Points:
    """Observations of two quantities, some with a group and a third quantity.

    Attributes:
        title: What they are about.
        x: Name of the first quantity.
        y: Name of the second.
        group: Name of the groups.
        size: Name of the third quantity.
        rows: (x, y, group, size).
        uri: Where they are from.
        licence: Of the numbers.
    """

    title: str
    x: str
    y: str
    group: str
    size: str
    rows: tuple[tuple[float, float, str, float], ...]
    uri: str = "generated"
    licence: str = "CC0-1.0"

    def texts(self) -> str:
        """Every character that a chart of the points may show."""
        groups = sorted({row[2] for row in self.rows})
        return "".join((self.title, self.x, self.y, self.group, self.size, *groups)) + "0123456789.,-%"


def format_number(value: float) -> str:
    """A value without needless zeros: 12, 0.5, -3.25."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _is_power(step: float) -> bool:
    exponent = math.log10(step)
    return abs(exponent - round(exponent)) < 1e-9


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _time_labels(rng: random.Random, topic: Topic) -> tuple[str, tuple[str, ...]]:
    """A name and consecutive labels of time."""
    kind = rng.choice(
        ("year", "month", "quarter", "week", "hour") if topic.daily else ("year", "month", "quarter", "decade")
    )
    if topic.language == "zh":
        return _zh_time_labels(rng, kind)
    if kind == "year":
        start = rng.randint(1960, 2015)
        return "Year", tuple(str(year) for year in range(start, start + rng.randint(5, 12)))
    if kind == "month":
        number, start = rng.randint(6, 12), rng.randint(0, 11)
        return "Month", tuple(MONTHS[(start + i) % 12] for i in range(number))
    if kind == "quarter":
        year = rng.randint(2015, 2024)
        return "Quarter", tuple(f"Q{i % 4 + 1} {year + i // 4}" for i in range(rng.randint(4, 8)))
    if kind == "week":
        return "Day", _WEEK
    if kind == "hour":
        step = rng.choice((2, 3))
        return "Hour", tuple(f"{hour:02d}:00" for hour in range(rng.choice((0, 6)), 24, step))
    start = rng.randrange(1900, 1960, 10)
    return "Decade", tuple(f"{year}s" for year in range(start, start + 10 * rng.randint(5, 8), 10))


def _zh_time_labels(rng: random.Random, kind: str) -> tuple[str, tuple[str, ...]]:
    if kind == "month":
        number, start = rng.randint(6, 12), rng.randint(0, 11)
        return "月份", tuple(f"{(start + i) % 12 + 1}月" for i in range(number))
    if kind == "quarter":
        year = rng.randint(2015, 2024)
        return "季度", tuple(f"{year + i // 4}Q{i % 4 + 1}" for i in range(rng.randint(4, 8)))
    if kind == "week":
        return "星期", tuple(f"周{day}" for day in "一二三四五六日")
    if kind == "hour":
        step = rng.choice((2, 3))
        return "时间", tuple(f"{hour:02d}:00" for hour in range(rng.choice((0, 6)), 24, step))
    start = rng.randint(1990, 2014)
    return "年份", tuple(str(year) for year in range(start, start + rng.randint(5, 10)))


def _walk(rng: random.Random, number: int, low: float, high: float, positive: bool = True) -> list[float]:
    """A trend, a season and noise, within about `low` and `high`."""
    span = high - low
    start, slope = low + span * rng.uniform(0.15, 0.7), span * rng.uniform(-0.5, 0.5)
    season, phase, noise = span * rng.choice((0, 0, 0.12, 0.2)), rng.uniform(0, 6.3), span * rng.uniform(0.01, 0.1)
    values = []
    for i in range(number):
        value = start + slope * i / number + season * math.sin(phase + i * 1.3) + rng.gauss(0, noise)
        values.append(max(low * 0.5 if positive else low, value) if positive else value)
    return values


def make_table(kind: TableKind, series: int, rng: random.Random, topics: Sequence[Topic] = TOPICS) -> Table:
    """A seeded table of a kind.

    Args:
        kind: What charts it is for.
        series: How many columns of values `groups`, `time` and `parts` get.
        rng: Random numbers.
        topics: What it may be about.
    """
    fitting = [topic for topic in topics if series <= len(topic.series) and (topic.additive or kind != "parts")]
    if kind == "prices" and topics is TOPICS:
        fitting = list(PRICE_TOPICS)
    if series > 1 and kind in ("groups", "parts"):
        fitting = [topic for topic in fitting if _label_columns(topic)]
    if not fitting:
        raise Dropped("too_few_series")
    topic = rng.choice(fitting)
    low, high = topic.low, topic.low + (topic.high - topic.low) * rng.uniform(0.15, 1)
    place = rng.choice(topic.places)
    years = rng.randint(1995, 2025)
    if kind in ("time", "ranges", "prices"):
        label, labels = _time_labels(rng, topic)
    else:
        candidates = topic.labels if series == 1 else _label_columns(topic)
        label, choices = rng.choice(candidates)
        number = rng.randint(3, 7) if kind == "parts" else rng.randint(3, min(10, len(choices)))
        labels = tuple(rng.sample(choices, min(number, len(choices))))
    names = tuple(rng.sample(topic.series, series)) if series > 1 else (topic.measure,)
    columns: list[list[float]] = []
    if kind == "time":
        columns = [_walk(rng, len(labels), low, high) for _ in names]
    elif kind == "ranges":
        names = topic.range_names
        middle, spread = _walk(rng, len(labels), low, high), (high - low) * 0.12
        lows = [value - spread * rng.uniform(0.4, 1.2) for value in middle]
        highs = [value + spread * rng.uniform(0.4, 1.2) for value in middle]
        columns = [lows, middle, highs]
    elif kind == "prices":
        names = topic.price_names
        columns = _prices(rng, len(labels), low + (high - low) * 0.3, (high - low) * 0.06)
    elif kind == "quartiles":
        names = topic.quartile_names
        columns = _quartiles(rng, len(labels), low, high)
    elif kind == "signed":
        columns = [[rng.gauss(0, (high - low) / 4) for _ in labels] for _ in names]
    else:
        ordered = rng.random() < 0.3
        for _ in names:
            column = [low + (high - low) * rng.betavariate(1.3, 1.8) for _ in labels]
            columns.append(sorted(column, reverse=True) if ordered else column)
    decimals = topic.decimals
    if kind == "parts" and rng.random() < 0.6 and series == 1:
        total = sum(columns[0])
        columns, decimals = [[100 * value / total for value in columns[0]]], 0
        columns[0] = _to_hundred(columns[0])
        names, measure = (topic.share,), topic.share
    else:
        name = topic.change.format(measure=topic.measure.lower()) if kind == "signed" else topic.measure
        measure = _with_unit(name, topic)
    names = (measure,) if len(names) == 1 else names
    values = tuple(tuple(round(value, decimals) + 0.0 for value in row) for row in zip(*columns, strict=True))
    templates = [title for title in topic.titles if kind not in ("time", "ranges", "prices") or "{year}" not in title]
    name = measure.partition(" (")[0] if kind == "signed" else topic.measure
    title = rng.choice(templates or topic.titles).format(place=place, year=years, measure=name, label=label.lower())
    return Table(title[:1].upper() + title[1:], kind, label, labels, measure, names, values, decimals)


def _label_columns(topic: Topic) -> list[tuple[str, tuple[str, ...]]]:
    """Columns of labels that can stand beside several series."""
    return [(name, labels) for name, labels in topic.labels if not set(labels) & set(topic.series)]


def _to_hundred(shares: Sequence[float]) -> list[float]:
    """Whole percentages of at least 1 that add up to 100, by the largest remainder."""
    whole = [max(1, math.floor(share)) for share in shares]
    order = sorted(range(len(shares)), key=lambda i: whole[i] - shares[i])
    for i in range(100 - sum(whole)):
        whole[order[i % len(order)]] += 1
    while sum(whole) > 100:
        whole[max(range(len(whole)), key=lambda i: whole[i])] -= 1
    return [float(value) for value in whole]


def _prices(rng: random.Random, number: int, start: float, step: float) -> list[list[float]]:
    opens, highs, lows, closes = [], [], [], []
    price = start
    for _ in range(number):
        close = price + rng.gauss(0, step) or price + step
        opens.append(price)
        closes.append(close)
        highs.append(max(price, close) + abs(rng.gauss(0, step / 2)))
        lows.append(min(price, close) - abs(rng.gauss(0, step / 2)))
        price = close + rng.gauss(0, step / 8)
    above = max(0.0, step - min(lows))  # a price is positive
    return [[price + above for price in prices] for prices in (opens, highs, lows, closes)]


def _quartiles(rng: random.Random, number: int, low: float, high: float) -> list[list[float]]:
    """The five numbers of some distributions within `low` and `high`."""
    rows = []
    for _ in range(number):
        spread = (high - low) * rng.uniform(0.06, 0.14)
        median = rng.uniform(low + 3 * spread, high - 3 * spread)
        first, third = median - spread * rng.uniform(0.4, 1.2), median + spread * rng.uniform(0.4, 1.2)
        rows.append(
            (first - spread * rng.uniform(0.5, 1.7), first, median, third, third + spread * rng.uniform(0.5, 1.7))
        )
    return [list(column) for column in zip(*rows, strict=True)]


def make_points(rng: random.Random, groups: int, number: int, topics: Sequence[Topic] = TOPICS) -> Points:
    """Seeded observations of two correlated quantities.

    Args:
        rng: Random numbers.
        groups: How many groups they fall into.
        number: How many there are.
        topics: What they may be about.
    """
    topic = rng.choice([topic for topic in topics if len(topic.series) >= groups])
    other = rng.choice([other for other in topics if other is not topic and other.language == topic.language])
    names = rng.sample(topic.series, groups)
    rows = []
    slopes = {name: rng.uniform(-0.8, 0.8) for name in names}
    centres = {name: (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)) for name in names}
    for i in range(number):
        name = names[i % groups]
        u = rng.gauss(centres[name][0], 0.14)
        v = centres[name][1] + slopes[name] * (u - centres[name][0]) + rng.gauss(0, 0.07)
        x = topic.low + (topic.high - topic.low) * max(0.02, u)
        y = other.low + (other.high - other.low) * max(0.02, v)
        rows.append((round(x, topic.decimals), round(y, other.decimals), name, float(rng.randint(5, 100))))
    x_name, y_name = _with_unit(topic.measure, topic), _with_unit(other.measure, other)
    title = f"{other.measure}、{topic.measure}" if topic.language == "zh" else f"{other.measure} and {topic.measure}"
    return Points(title, x_name, y_name, topic.series_name, topic.share, tuple(rows))


def _with_unit(name: str, topic: Topic) -> str:
    return f"{name} ({topic.unit})" if topic.unit else name


def read_csv(path: Path, licence: str) -> Table:
    """A CSV file whose first column has labels and whose other columns have numbers.

    Args:
        path: The file; its name is the title.
        licence: Of the numbers.

    Raises:
        UserError: It has another form.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        (label, *series), *body = rows
        labels = tuple(row[0] for row in body)
        values = tuple(tuple(float(cell) for cell in row[1:]) for row in body)
        if not series or not body or len(set(labels)) < len(labels) or any(len(row) != len(series) for row in values):
            raise ValueError
    except ValueError:
        raise UserError(f"{path} is no table of a column of distinct labels and columns of numbers") from None
    decimals = max(len(cell.partition(".")[2]) for row in body for cell in row[1:])
    title = path.stem.replace("_", " ").replace("-", " ").capitalize()
    ordered = all(name[:4].isdigit() for name in labels)
    kind: TableKind = "time" if ordered else "signed" if min(map(min, values)) < 0 else "groups"
    return Table(title, kind, label, labels, title, tuple(series), values, decimals, uri=path.name, licence=licence)
