"""The blocks of infographics: each says its text as Markdown and renders itself as SVG at a width."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from xml.sax.saxutils import escape

from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.colours import contrast, mix
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.sources.tables.tables import Table, format_number


class Bar(NamedTuple):
    """A bar that shows a value: where its axis begins, its middle, and its length, in units of the image."""

    x: float
    y: float
    length: float
    colour: str
    value: float


@dataclass
class Canvas:
    """SVG under construction, and what of it is proven afterwards.

    Attributes:
        style: Of the image.
        parts: SVG elements.
        texts: Role and text of each line, in the order of the elements.
        bars: Of each group, which shares a scale.
    """

    style: ChartStyle
    parts: list[str] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    bars: list[list[Bar]] = field(default_factory=list)

    def text(
        self, role: str, line: str, x: float, y: float, size: float, *, anchor: str = "start", bold: bool = False,
        colour: str = "",
    ) -> None:  # fmt: skip
        """A line of text; `y` is its baseline."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-family="{self.style.font.name}" font-size="{size:.1f}"{weight} '
            f'text-anchor="{anchor}" fill="{colour or self.style.ink}">{escape(line)}</text>'
        )
        self.texts.append((role, line))

    def box(self, x: float, y: float, width: float, height: float, colour: str, radius: float = 0) -> None:
        """A filled rectangle."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" rx="{radius}" fill="{colour}"/>'
        )

    def icon(self, svg: str, x: float, y: float, side: float, colour: str) -> None:
        """An icon: the content of an SVG file with a square view box."""
        head, _, rest = svg[svg.index("<svg") :].partition(">")
        view = head.partition('viewBox="')[2].partition('"')[0]
        body = rest.rpartition("</svg>")[0]
        self.parts.append(
            f'<svg x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" viewBox="{view}" '
            f'fill="{colour}" color="{colour}">{body}</svg>'
        )

    def svg(self, width: int, height: int) -> str:
        """The image."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">{"".join(self.parts)}</svg>'
        )


class InfographicBlock(Protocol):
    """A block of an infographic."""

    def markdown(self) -> list[str]:
        """Its lines of Markdown."""

    def render(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        """Render it with its upper left corner there; returns its height."""


def fitted(font: FontFamily, text: str, width: float, size: float, least: float = 9, bold: bool = False) -> float:
    """The largest font size up to `size` at which a text fits a width, or the least."""
    needed = font.width(text, size, bold)
    return max(least, min(size, size * width / needed)) if needed else size


def wrapped(font: FontFamily, text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """The lines of a text; Chinese may be broken between any two characters."""
    lines: list[str] = []
    words = text.split(" ") if " " in text else list(text)
    glue = " " if " " in text else ""
    for word in words:
        if lines and font.width(lines[-1] + glue + word, size, bold) <= width:
            lines[-1] += glue + word
        else:
            lines.append(word)
    return lines


def readable(colour: str, paper: str, ink: str) -> str:
    """The colour where it can be read on the paper, or the ink."""
    return colour if contrast(colour, paper) > 3 else ink


def value_text(value: float, unit: str) -> str:
    """A value with its unit, as large numbers are written."""
    number = format_number(value)
    whole, _, decimals = number.partition(".")
    grouped = f"{int(whole):,}" if whole.lstrip("-").isdigit() and abs(int(whole)) >= 10_000 else whole
    number = f"{grouped}.{decimals}" if decimals else grouped
    return f"{number}%" if unit == "%" else f"{number} {unit}" if unit else number


@dataclass
class Stats:
    """A few large numbers, each with its label and an icon."""

    title: str
    rows: Sequence[tuple[str, str]]
    icons: Sequence[str]
    boxed: bool
    accents: Sequence[str]

    def markdown(self) -> list[str]:
        return [f"## {self.title}", "", *(f"- **{value}** {label}" for label, value in self.rows)]

    def render(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        style = canvas.style
        top = _heading(canvas, self.title, x, y, width)
        columns = min(len(self.rows), 3 if width > 420 else 2)
        cell, height = width / columns, 46 + style.label_size * 1.4 + (30 if self.icons else 0)
        for number, (label, value) in enumerate(self.rows):
            left, upper = x + number % columns * cell, top + number // columns * (height + 8)
            accent = self.accents[number % len(self.accents)]
            paper = mix(accent, style.background, 0.14) if self.boxed else style.background
            if self.boxed:
                canvas.box(left + 3, upper, cell - 6, height, paper, 6)
            middle, base = left + cell / 2, upper + 8
            if self.icons:
                canvas.icon(self.icons[number % len(self.icons)], middle - 13, base, 26, accent)
                base += 30
            size = fitted(style.font, value, cell - 20, 28, bold=True)
            canvas.text("value_label", value, middle, base + 26, size, anchor="middle", bold=True,
                        colour=readable(accent, paper, style.ink))  # fmt: skip
            size = fitted(style.font, label, cell - 16, style.label_size)
            canvas.text("label", label, middle, base + 26 + style.label_size * 1.5, size, anchor="middle")
        return top - y + -(-len(self.rows) // columns) * (height + 8)


@dataclass
class Bars:
    """Horizontal bars with labels and values."""

    title: str
    table: Table
    unit: str
    accents: Sequence[str]
    tracks: bool

    def markdown(self) -> list[str]:
        return [f"## {self.title}", "", self.table.markdown()]

    def render(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        style = canvas.style
        top = _heading(canvas, self.title, x, y, width)
        values = [row[0] for row in self.table.values]
        texts = [value_text(value, self.unit) for value in values]
        size = style.label_size
        label = min(0.4 * width, max(style.font.width(text, size) for text in self.table.labels) + 8)
        room = max(style.font.width(text, size) for text in texts) + 10
        length, step = width - label - room, size * 1.9
        bars = []
        for number, (name, value, text) in enumerate(zip(self.table.labels, values, texts, strict=True)):
            middle = top + (number + 0.5) * step
            colour = self.accents[number % len(self.accents)]
            if self.tracks:
                canvas.box(x + label, middle - size * 0.5, length, size, mix(style.ink, style.background, 0.12))
            bar_length = length * value / max(values)
            canvas.box(x + label, middle - size * 0.5, bar_length, size, colour)
            fit = fitted(style.font, name, label - 8, size)
            canvas.text("label", name, x + label - 6, middle + size * 0.35, fit, anchor="end")
            end = length if self.tracks else bar_length
            canvas.text("value_label", text, x + label + end + 6, middle + size * 0.35, size)
            bars.append(Bar(x + label, middle, bar_length, colour, value))
        canvas.bars.append(bars)
        return top - y + len(values) * step + 6


@dataclass
class Pictograph:
    """Shares as filled icons out of ten."""

    title: str
    rows: Sequence[tuple[str, int]]
    icon: str
    accent: str

    def markdown(self) -> list[str]:
        return [f"## {self.title}", "", *(f"- {label}: {filled} out of 10" for label, filled in self.rows)]

    def render(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        style = canvas.style
        top = _heading(canvas, self.title, x, y, width)
        side = min(24.0, (width - 8) / 10 - 3)
        for label, filled in self.rows:
            text = f"{filled} out of 10"
            room = width - style.font.width(text, style.label_size, bold=True) - 12
            canvas.text("label", label, x, top + style.label_size, fitted(style.font, label, room, style.label_size))
            base, right = top + style.label_size, x + width
            canvas.text("value_label", text, right, base, style.label_size, anchor="end", bold=True)
            top += style.label_size * 1.5
            for number in range(10):
                colour = self.accent if number < filled else mix(style.ink, style.background, 0.18)
                canvas.icon(self.icon, x + number * (side + 3), top, side, colour)
            top += side + 8
        return top - y + 2


@dataclass
class Timeline:
    """Years with what was reached in each, along a line."""

    title: str
    rows: Sequence[tuple[str, str]]
    accent: str

    def markdown(self) -> list[str]:
        return [f"## {self.title}", "", *(f"{n}. **{when}**: {what}" for n, (when, what) in enumerate(self.rows, 1))]

    def render(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        style = canvas.style
        top = _heading(canvas, self.title, x, y, width)
        step = style.label_size * 2.3
        canvas.box(x + 7, top + step / 2, 2, step * (len(self.rows) - 1), self.accent)
        room = max(style.font.width(when, style.label_size, bold=True) for when, _ in self.rows) + 14
        for number, (when, what) in enumerate(self.rows):
            middle = top + (number + 0.5) * step
            canvas.parts.append(f'<circle cx="{x + 8}" cy="{middle:.1f}" r="6" fill="{self.accent}"/>')
            base = middle + style.label_size * 0.35
            canvas.text("label", when, x + 22, base, style.label_size, bold=True)
            size = fitted(style.font, what, width - room - 24, style.label_size)
            canvas.text("value_label", what, x + 22 + room, base, size)
        return top - y + len(self.rows) * step + 4


@dataclass
class Ranking:
    """A numbered list, the best first."""

    title: str
    rows: Sequence[tuple[str, str]]
    accent: str

    def markdown(self) -> list[str]:
        return [f"## {self.title}", "", *(f"{n}. {name} ({value})" for n, (name, value) in enumerate(self.rows, 1))]

    def render(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        style = canvas.style
        top = _heading(canvas, self.title, x, y, width)
        step = style.label_size * 2.2
        for number, (name, value) in enumerate(self.rows):
            middle = top + (number + 0.5) * step
            base = middle + style.label_size * 0.35
            canvas.parts.append(
                f'<circle cx="{x + 11}" cy="{middle:.1f}" r="{style.label_size * 0.85:.1f}" fill="{self.accent}"/>'
            )
            white = "#ffffff" if contrast(self.accent, "#ffffff") > contrast(self.accent, "#000000") else "#000000"
            canvas.text("rank", str(number + 1), x + 11, base, style.label_size, anchor="middle", colour=white)
            room = width - 34 - style.font.width(value, style.label_size, bold=True) - 10
            canvas.text("label", name, x + 30, base, fitted(style.font, name, room, style.label_size))
            canvas.text("value_label", value, x + width, base, style.label_size, anchor="end", bold=True)
        return top - y + len(self.rows) * step + 4


def _heading(canvas: Canvas, title: str, x: float, y: float, width: float) -> float:
    """The title of a block; returns where its content begins."""
    style = canvas.style
    size = style.label_size + 3
    top = y
    for line in wrapped(style.font, title, width, size, bold=True):
        top += size * 1.25
        canvas.text("heading", line, x, top, fitted(style.font, line, width, size, bold=True), bold=True)
    return top + 8


def accents_of(style: ChartStyle, rng: random.Random) -> list[str]:
    """Colours of a style that stand out from its background: a single one or several."""
    usable = [colour for colour in style.palette if contrast(colour, style.background) > 1.8] or [style.ink]
    return [rng.choice(usable)] if rng.random() < 0.4 else usable
