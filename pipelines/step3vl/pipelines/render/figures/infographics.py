"""Infographics: pages of large numbers, small charts, icons and lists, and the proof that an image shows its Markdown.

Real and seeded tables fill the blocks. Every text is found in the pixels, whole, apart from the others and clear of
shapes; the length of every bar is measured in the pixels and must be in proportion to its value.
"""

import random
from dataclasses import replace

from PIL import Image as PILImage

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.colours import contrast, rgb
from step3vl.pipelines.render.figures.figure import Element, Figure, check_texts, encode_png, is_inside, scaled
from step3vl.pipelines.render.figures.figures import MadeFigure, Supply, has_chinese, style_traits
from step3vl.pipelines.render.figures.infographic_parts import (
    Bar,
    Bars,
    Canvas,
    InfographicBlock,
    Pictograph,
    Ranking,
    Stats,
    Timeline,
    accents_of,
    fitted,
    value_text,
    wrapped,
)
from step3vl.pipelines.render.svg import SvgRenderer
from step3vl.pipelines.sources.tables.tables import Table

_WIDTHS = (420, 520, 640, 760, 900)
_MARGIN = 26
_BAR_ERROR = 2.1  # pixels that a bar may be longer or shorter, of which two are blends with the paper
_SOURCES = (
    "Source: official statistics, {year}",
    "Figures of {year}. Rounded values.",
    "Data: annual survey, {year}",
    "Based on a sample of {n} answers",
    "Published {year}",
)
_ZH_SOURCES = ("数据来源：{year} 年统计", "数据截至 {year} 年", "根据 {n} 份问卷", "{year} 年发布")
_SHARES = {  # what an icon may count, by its name
    "airplane": "Residents who flew last year",
    "apple": "Pupils who eat fruit every day",
    "bicycle": "People who cycle to work",
    "bird": "Gardens with a bird feeder",
    "boat": "Islanders who own a boat",
    "book": "Adults who read every week",
    "camera": "Visitors who took photographs",
    "car": "Households with a car",
    "cat": "Homes with a cat",
    "cloud": "Days with clouds",
    "dog": "Homes with a dog",
    "fish": "Families who eat fish every week",
    "flower": "Balconies with flowers",
    "heart": "Guests who would come again",
    "house": "Families who own their home",
    "leaf": "Farms without pesticides",
    "phone": "Children with a phone of their own",
    "snowflake": "Winters with snow",
    "star": "Customers who gave five stars",
    "sun": "Days with sunshine",
    "train": "Commuters who take the train",
    "tree": "Streets with trees",
    "umbrella": "Days with rain",
}
_WHERE = ("City", "Country", "Region", "Age group", "Team")  # labels that a share may be of
_FAMILIES = {"poster": 1, "columns": 2, "strip": 1}  # columns of blocks


class InfographicMaker:
    """Infographics as Markdown."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._renderer = SvgRenderer(supply.families)
        self._icons = {path.stem: path.read_text() for path in supply.icons}

    def families(self) -> list[str]:
        return list(_FAMILIES)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        supply = self._supply
        tables = [supply.table(rng.choice(("groups", "time", "parts")), 1, rng)]
        tables += [self._matching(tables[0], rng) for _ in range(rng.randint(1, 3) if family != "strip" else 1)]
        texts = "".join(table.texts() for table in tables) + "./,()%" + "".join(_SHARES.values())
        style = supply.style(texts, rng)
        accents = accents_of(style, rng)
        blocks = [self._block(table, accents, rng) for table in tables]
        title = tables[0].title
        footer = rng.choice(_ZH_SOURCES if _is_chinese(tables[0]) else _SOURCES)
        footer = footer.format(year=rng.randint(2001, 2024), n=100 * rng.randint(2, 90))
        footer = footer if rng.random() < 0.5 and style.font.covers(footer) else ""
        canvas, size = _page(style, title, blocks, footer, _FAMILIES[family], rng)
        markdown = _markdown(title, blocks, footer)
        zoom = rng.choice((1.0, 1.25))
        figure = self._figure(canvas, canvas.svg(*size), zoom, style)
        licence = next((table.licence for table in tables if table.uri != "generated"), "CC0-1.0")
        uri = next((table.uri for table in tables if table.uri != "generated"), "generated")
        traits = style_traits(style, markdown) | {"blocks": "+".join(sorted(type(b).__name__.lower() for b in blocks))}
        return MadeFigure(f"infographic.{family}", "markdown", markdown, "", "", figure, uri, licence, traits=traits)

    def _matching(self, first: Table, rng: random.Random) -> Table:
        """Another table in the language of the first."""
        for _ in range(8):
            table = self._supply.table(rng.choice(("groups", "time", "parts")), 1, rng)
            if _is_chinese(table) == _is_chinese(first):
                return table
        raise Dropped("no_second_table")

    def _block(self, table: Table, accents: list[str], rng: random.Random) -> InfographicBlock:
        """A block that shows the first rows of a table."""
        rows = rng.randint(3, min(6, len(table.labels))) if len(table.labels) > 3 else len(table.labels)
        table = replace(table, labels=table.labels[:rows], values=table.values[:rows])
        unit = table.measure.partition(" (")[2].removesuffix(")")
        unit = unit if len(unit) <= 8 else ""
        values = [row[0] for row in table.values]
        items = [(label, value_text(value, unit)) for label, value in zip(table.labels, values, strict=True)]
        title = table.full_title()
        kinds = ["stats", "ranking"]
        if min(values) >= 0 and max(values) > 0:
            kinds += ["bars", "bars"]
        icon = rng.choice(sorted(_SHARES))
        if icon in self._icons and table.label in _WHERE:
            kinds += ["pictograph"]
        if table.kind == "time":
            kinds += ["timeline", "timeline"]
        kind = rng.choice(kinds)
        names = rng.sample(sorted(self._icons), min(len(self._icons), 3)) if rng.random() < 0.7 else []
        if kind == "stats":
            return Stats(title, items[:6], [self._icons[name] for name in names], rng.random() < 0.6, accents)
        if kind == "bars":
            return Bars(title, table, unit, accents, rng.random() < 0.4)
        if kind == "timeline":
            return Timeline(title, items, rng.choice(accents))
        if kind == "pictograph":
            shares = [(label, rng.randint(1, 9)) for label in table.labels[:4]]
            return Pictograph(_SHARES[icon], shares, self._icons[icon], rng.choice(accents))
        order = sorted(zip(values, items, strict=True), key=lambda item: -item[0])
        return Ranking(title, [row for _, row in order], rng.choice(accents))

    def _figure(self, canvas: Canvas, svg: str, zoom: float, style: ChartStyle) -> Figure:
        pixels = self._renderer.pixels(svg, zoom, style.background)
        placed = self._renderer.texts(svg, zoom)
        if [text.text for text in placed] != [" ".join(text.split()) for _, text in canvas.texts]:
            raise Dropped("texts_differ")
        elements = [Element(role, text.text, text.box) for (role, _), text in zip(canvas.texts, placed, strict=True)]
        check_texts(elements, pixels.size)
        margin = 4 * zoom
        if any(e.box[0] < margin or e.box[2] > pixels.width - margin for e in elements):
            raise Dropped("text_clipped")
        self._renderer.check_clear(svg, zoom, placed, style.background)
        error = 0.0
        for bars in canvas.bars:
            for bar in bars:
                error = max(error, abs(_measured(pixels, bar, zoom) - bar.length * zoom))
                box = (bar.x, bar.y - 4, bar.x + bar.length, bar.y + 4)
                elements.append(Element("mark", value_text(bar.value, ""), scaled(box, zoom)))
        if error > _BAR_ERROR:
            raise Dropped("bar_differs_from_value")
        if not all(is_inside(element.box, pixels.size) for element in elements):
            raise Dropped("mark_clipped")
        return Figure(encode_png(pixels), pixels.size, tuple(elements), None)


def _measured(pixels: PILImage.Image, bar: Bar, zoom: float) -> float:
    """The length of a bar in pixels: how far its colour reaches along its middle."""
    y, x = round(bar.y * zoom), round(bar.x * zoom)
    colour = rgb(bar.colour)

    def matches(column: int) -> bool:
        pixel = pixels.getpixel((column, y))
        assert isinstance(pixel, tuple)
        return sum(abs(a - b) for a, b in zip(pixel, colour, strict=True)) <= 24

    # The first pixel may be a blend of the bar and the paper.
    start = next((column for column in (x - 1, x, x + 1) if matches(column)), x)
    end = start
    while end < pixels.width and matches(end):
        end += 1
    return float(end - start)


def _is_chinese(table: Table) -> bool:
    return has_chinese(table.title + "".join(table.labels))


def _markdown(title: str, blocks: list[InfographicBlock], footer: str) -> str:
    lines = [f"# {title}"]
    for block in blocks:
        lines += ["", *block.markdown()]
    if footer:
        lines += ["", f"*{footer}*"]
    return "\n".join(lines)


def _page(
    style: ChartStyle, title: str, blocks: list[InfographicBlock], footer: str, columns: int, rng: random.Random
) -> tuple[Canvas, tuple[int, int]]:
    """Lay the blocks out; they are read from top to bottom, column by column."""
    width = rng.choice(_WIDTHS[2:] if columns == 2 else _WIDTHS[:3])
    canvas = Canvas(style)
    banner = rng.random() < 0.5
    size = style.title_size + 8
    lines = wrapped(style.font, title, width - 2 * _MARGIN, size, bold=True)
    height = 18 + len(lines) * size * 1.25
    canvas.box(0, 0, width, 20_000, style.background)
    ink = style.ink
    if banner:
        colour = rng.choice(accents_of(style, rng))
        canvas.box(0, 0, width, height + 8, colour)
        ink = "#ffffff" if contrast(colour, "#ffffff") > contrast(colour, "#000000") else "#000000"
    centred = rng.random() < 0.5
    for number, line in enumerate(lines):
        fit = fitted(style.font, line, width - 2 * _MARGIN, size, bold=True)
        x, anchor = (width / 2, "middle") if centred else (_MARGIN, "start")
        canvas.text("title", line, x, 8 + (number + 1) * size * 1.2, fit, anchor=anchor, bold=True, colour=ink)
    top = height + 24
    cell = (width - 2 * _MARGIN - (columns - 1) * _MARGIN) / columns
    per_column = -(-len(blocks) // columns)
    bottom = top
    for column in range(columns):
        y = top
        for block in blocks[column * per_column : (column + 1) * per_column]:
            y += block.render(canvas, _MARGIN + column * (cell + _MARGIN), y, cell) + 20
        bottom = max(bottom, y)
    if footer:
        canvas.text("footer", footer, _MARGIN, bottom + 4, fitted(style.font, footer, width - 2 * _MARGIN, 11))
        bottom += 14
    return canvas, (width, round(bottom + 4))
