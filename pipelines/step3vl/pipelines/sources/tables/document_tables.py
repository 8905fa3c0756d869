"""Seeded tables as documents have them: headers of several rows, groups of rows and columns, sums, notes."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lxml import etree

from step3vl.pipelines.sources.markup.markup import build_table
from step3vl.pipelines.sources.markup.markup_space import Element
from step3vl.pipelines.sources.markup.markup_table import Cell, arrange_cells, text_cell
from step3vl.pipelines.sources.tables.tables import Table

Layout = Literal["plain", "measure", "column_groups", "row_groups", "sections", "both"]
LAYOUTS: tuple[Layout, ...] = ("plain", "measure", "column_groups", "row_groups", "sections", "both")

_TOTAL = {"en": ("Total", "Sum", "All", "Overall"), "zh": ("合计", "总计", "总和", "全部")}
_MEAN = {"en": ("Mean", "Average"), "zh": ("均值", "平均")}
_PERIODS = {
    "en": ("First half", "Second half", "Before", "After", "Plan", "Result", "North", "South", "East", "West"),
    "zh": ("上半年", "下半年", "计划", "实际", "甲组", "乙组", "北部", "南部", "东部", "西部"),
}
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_MISSING = ("–", "—", "n/a", "", "-")


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written.

    Attributes:
        decimals: Places after the point, which all numbers have.
        separator: Between thousands.
        missing: What stands for a number that is not there.
        gaps: The share of numbers that are not there.
    """

    decimals: int
    separator: str
    missing: str
    gaps: float

    def text(self, value: float, rng: random.Random) -> str:
        """A number, or a gap."""
        if rng.random() < self.gaps:
            return self.missing
        return f"{value:,.{self.decimals}f}".replace(",", self.separator)


def make_document_table(
    table: Table, language: str, rng: random.Random, covers: Callable[[str], bool] = lambda text: True
) -> tuple[Layout, Element]:
    """A tree with one table, and perhaps a caption or a heading.

    Args:
        table: What it says.
        language: `en` or `zh`, of its texts.
        rng: Random numbers.
        covers: Whether there is a font for a text; other words are not used.
    """
    gaps = rng.choice((0.0, 0.0, 0.0, 0.06))
    style = NumberStyle(table.decimals, rng.choice(("", "", ",", " ")), rng.choice(_MISSING), gaps)
    layout = rng.choice([name for name in LAYOUTS if len(table.series) > 1 or name not in ("measure", "both")])
    across, down = _groups(table, [name for name in _PERIODS[language] if covers(name)], rng)
    across = across if layout in ("column_groups", "both") else [""]
    down = down if layout in ("row_groups", "sections", "both") else [""]
    header = _header(table, across, layout)
    if layout in ("row_groups", "both"):
        first = header[0][0]
        header[0][0] = Cell(first.content, 2, first.rows)
    width = sum(cell.columns for cell in header[0])
    label = rng.choice(("td", "td", "th"))
    summary = "" if gaps or rng.random() < 0.7 else rng.choice(("sum", "mean"))
    if summary and "%" in table.measure:
        summary = "mean"
    names = [name for name in (_MEAN if summary == "mean" else _TOTAL)[language] if covers(name)]
    name = rng.choice(names or [""])
    summary = summary if name else ""
    rows: list[list[Cell]] = []
    for group in down:
        numbers = _numbers(table, len(across), rng if group or len(across) > 1 else None)
        block = [
            [text_cell(label, text), *(text_cell("td", style.text(value, rng)) for value in row)]
            for text, row in zip(table.labels, numbers, strict=True)
        ]
        if summary:
            totals = [
                sum(column) / (len(numbers) if summary == "mean" else 1) for column in zip(*numbers, strict=True)
            ]
            block.append([text_cell(label, name), *(text_cell("td", style.text(total, rng)) for total in totals)])
        if layout == "sections":
            rows.append([text_cell("th", group, columns=width)])
        elif group:
            block[0].insert(0, text_cell("th", group, rows=len(block)))
        rows += block
    if rng.random() < 0.12:
        rows.append([text_cell("td", table.full_title(), columns=width)])
    root = etree.Element("article")
    caption = None
    place = rng.random()
    if place < 0.35:
        caption = etree.Element("caption")
        caption.text = table.title
    elif place < 0.5:
        etree.SubElement(root, rng.choice(("h2", "h3", "p"))).text = table.title
    root.append(build_table(arrange_cells([*header, *rows]), caption))
    return layout, root


def _groups(table: Table, names: Sequence[str], rng: random.Random) -> tuple[list[str], list[str]]:
    """Names of groups of columns and of rows: years, unless the table has its own, and pairs of names."""
    names = [name for name in names if name not in table.series and name not in table.labels]
    pairs = [list(pair) for pair in zip(names[::2], names[1::2], strict=False)] or [["1", "2"]]
    first, second = rng.sample(pairs, 2) if len(pairs) > 1 else (pairs[0], pairs[0])
    if not _YEAR.search(" ".join((table.title, *table.labels, *table.series))):
        year = rng.randint(1990, 2023)
        second = [str(year + step) for step in range(rng.randint(2, 3))]
    return (first, second) if rng.random() < 0.5 else (second, first)


def _header(table: Table, groups: Sequence[str], layout: Layout) -> list[list[Cell]]:
    if groups != [""] and len(table.series) == 1:
        return [[text_cell("th", table.label), *(text_cell("th", name) for name in groups)]]
    series = [text_cell("th", name) for _ in groups for name in table.series]
    if groups != [""]:
        tops = [text_cell("th", name, columns=len(table.series)) for name in groups]
    elif layout == "measure":
        tops = [text_cell("th", table.measure, columns=len(table.series))]
    else:
        return [[text_cell("th", table.label), *series]]
    return [[text_cell("th", table.label, rows=2), *tops], series]


def _numbers(table: Table, groups: int, rng: random.Random | None) -> list[list[float]]:
    """The rows of values, once for each group of columns; without random numbers as they are."""
    largest = 1.0 if "%" in table.measure else 1.3  # no share grows beyond 100
    factors = [rng.uniform(0.7, largest) if rng else 1.0 for _ in range(groups)]
    return [
        [round(value * factor, table.decimals) + 0.0 for factor in factors for value in row] for row in table.values
    ]
