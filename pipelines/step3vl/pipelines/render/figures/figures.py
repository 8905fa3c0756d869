"""From random numbers to a proven figure: each tool chooses data, a family and a style, renders and checks."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_family import ChartFamily, ChartT, PointsFamily
from step3vl.pipelines.render.charts.chart_style import ChartStyle, pick_style
from step3vl.pipelines.render.charts.plot import PlotRenderer
from step3vl.pipelines.render.charts.plot_charts import PLOT_CHARTS, PLOT_POINTS
from step3vl.pipelines.render.charts.plot_parts import Plot
from step3vl.pipelines.render.charts.plotly import PlotlyRenderer
from step3vl.pipelines.render.charts.plotly_charts import PLOTLY_CHARTS
from step3vl.pipelines.render.charts.plotly_parts import PlotlyChart
from step3vl.pipelines.render.charts.plotly_ranges import PLOTLY_POINTS, PLOTLY_RANGES
from step3vl.pipelines.render.charts.vega import VegaRenderer, format_spec
from step3vl.pipelines.render.charts.vega_charts import TABLE_CHARTS
from step3vl.pipelines.render.charts.vega_parts import Chart
from step3vl.pipelines.render.charts.vega_ranges import POINT_CHARTS, RANGE_CHARTS
from step3vl.pipelines.render.figures.diagram import DiagramRenderer
from step3vl.pipelines.render.figures.diagram_kinds import DIAGRAMS
from step3vl.pipelines.render.figures.diagram_parts import pick_diagram_style
from step3vl.pipelines.render.figures.figure import Figure
from step3vl.pipelines.render.figures.formula_kinds import FORMULAS
from step3vl.pipelines.render.figures.table_kinds import page_setup, parse_latex, write_table
from step3vl.pipelines.render.figures.typeset import TypesetRenderer
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.render.web.browser import find_chromium
from step3vl.pipelines.sources.tables.real_tables import RealTables
from step3vl.pipelines.sources.tables.tables import Points, Table, TableKind, format_number, make_points, make_table
from step3vl.pipelines.sources.tables.topics import TOPICS, Topic
from step3vl.pipelines.sources.tables.topics_zh import ZH_TOPICS

Tool = Literal[
    "vega_lite",
    "matplotlib",
    "graphviz",
    "formula",
    "table",
    "molecule",
    "circuit",
    "infographic",
    "music",
    "mermaid",
    "tikz",
    "plotly",
]
Notation = Literal[
    "vega-lite",
    "python",
    "plotly",
    "dot",
    "latex",
    "typst",
    "smiles",
    "schemdraw",
    "markdown",
    "abc",
    "mermaid",
    "tikz",
]

_VEGA: dict[str, ChartFamily[Chart] | PointsFamily[Chart]] = {**TABLE_CHARTS, **RANGE_CHARTS, **POINT_CHARTS}
_PLOT: dict[str, ChartFamily[Plot] | PointsFamily[Plot]] = {**PLOT_CHARTS, **PLOT_POINTS}
_PLOTLY: dict[str, ChartFamily[PlotlyChart] | PointsFamily[PlotlyChart]] = {
    **PLOTLY_CHARTS, **PLOTLY_RANGES, **PLOTLY_POINTS
}  # fmt: skip
_LEAST_PIXELS = 2.0  # of a step of the values on an axis: less cannot be read off
_PAPERS = (
    ("#ffffff", "#000000"),
    ("#ffffff", "#222222"),
    ("#fffdf4", "#33271a"),
    ("#f4f6fa", "#1d2b3a"),
    ("#1f2430", "#e8eaf0"),
)
_TABLE_KINDS: tuple[TableKind, ...] = ("groups", "time", "parts", "ranges", "prices")
_TEXT_FONTS = ("Libertinus Serif", "New Computer Modern")  # Typst's own


@dataclass(frozen=True)
class MadeFigure:
    """A figure with its labels.

    Attributes:
        family: `{tool}.{name}`.
        notation: Of the code.
        code: What renders the image.
        data: What the image says as CSV; empty where that cannot be read off.
        markdown: The same as a table in Markdown, or empty.
        figure: The image and what it shows.
        uri: Of the data, `generated` or where they are from.
        licence: Of the data.
        step: Values are multiples of it; empty where they stand in the image.
        traits: What was chosen, by kind: the font, the language of the texts, ...
    """

    family: str
    notation: Notation
    code: str
    data: str
    markdown: str
    figure: Figure
    uri: str
    licence: str
    step: str = ""
    traits: Mapping[str, str] = field(default_factory=dict)


class FigureOptions(NamedTuple):
    """What the entry of a corpus says about figures."""

    languages: tuple[Language, ...]
    width: tuple[int, int]
    height: tuple[int, int]
    real_tables: float
    families: tuple[str, ...]


class FigureMaker(Protocol):
    """Makes figures of a tool."""

    def families(self) -> list[str]:
        """The names of its families, without the tool."""

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        """A random figure.

        Raises:
            Dropped: It did not pass a check.
        """


class Supply:
    """What figures are made of: fonts, tables, texts.

    Args:
        families: Fonts.
        options: Of the entry.
        tables: The entry's own tables.
        icons: Files of icons, as SVG.
    """

    def __init__(
        self,
        families: Sequence[FontFamily],
        options: FigureOptions,
        tables: Sequence[Table],
        icons: Sequence[Path] = (),
    ) -> None:
        self.families = list(families)
        self.icons = list(icons)
        self.options = options
        self._tables = list(tables)

    @cached_property
    def _real(self) -> RealTables:
        return RealTables()

    def topics(self, rng: random.Random) -> Sequence[Topic]:
        """Topics of a random language of the entry, of which a font has the characters."""
        language = rng.choice(self.options.languages)
        return TOPICS if language == "en" else self._zh_topics

    @cached_property
    def _zh_topics(self) -> list[Topic]:
        covered = []
        for topic in ZH_TOPICS:
            if any(family.covers(topic.characters()) for family in self.families):
                covered.append(topic)
        return covered or list(TOPICS)

    def table(self, kind: TableKind, series: int, rng: random.Random) -> Table:
        """A table of a kind: one of the entry's, a real one, or a seeded one."""
        topics = self.topics(rng)
        if rng.random() < self.options.real_tables and topics is TOPICS:
            tables = [table for table in self._tables if table.kind == kind and len(table.series) >= series]
            table = _part(rng.choice(tables), series, rng) if tables else self._real.table(kind, series, rng)
            if table is not None:
                return table
        return make_table(kind, series, rng, topics)

    def points(self, rng: random.Random, groups: int, number: int) -> Points:
        """Observations, real or seeded."""
        if rng.random() < self.options.real_tables:
            return self._real.points(rng, groups, number)
        return make_points(rng, groups, number, self.topics(rng))

    def style(self, texts: str, rng: random.Random, families: Sequence[FontFamily] | None = None) -> ChartStyle:
        """A random style whose font, one of the families, has all characters of the texts."""
        families = [family for family in (self.families if families is None else families) if family.covers(texts)]
        if not families:
            raise Dropped("no_font_has_all_characters")
        return pick_style(families, self.options.width, self.options.height, rng)


def _part(table: Table, series: int, rng: random.Random) -> Table:
    """Some series and at most twelve consecutive rows of a table."""
    columns = sorted(rng.sample(range(len(table.series)), series))
    start = rng.randrange(max(1, len(table.labels) - 11))
    names = tuple(table.series[i] for i in columns)
    return replace(
        table,
        labels=table.labels[start : start + 12],
        measure=names[0] if series == 1 else table.measure,
        series=names,
        values=tuple(tuple(row[i] for i in columns) for row in table.values[start : start + 12]),
    )


def has_chinese(text: str) -> bool:
    """Whether a text has a Chinese character."""
    return any("一" <= character <= "鿿" for character in text)


def style_traits(style: ChartStyle, texts: str) -> dict[str, str]:
    """What a style chose, and the language of the texts."""
    language = "zh" if has_chinese(texts) else "en"
    return {"font": style.font.name, "background": style.background, "language of the figure": language}


def _made_chart(
    family: str,
    notation: Notation,
    code: str,
    chart: Chart | Plot | PlotlyChart,
    step: float,
    data: Table | Points,
    figure: Figure,
    style: ChartStyle,
) -> MadeFigure:
    """A chart with its labels.

    Raises:
        Dropped: Its values cannot be read off.
    """
    if figure.resolution is not None and figure.resolution < _LEAST_PIXELS:
        raise Dropped("values_not_readable")
    text, markdown = (chart.table.csv(), chart.table.markdown()) if chart.table else ("", "")
    said_step = "" if chart.labelled else format_number(step)
    traits = style_traits(style, code)
    return MadeFigure(family, notation, code, text, markdown, figure, data.uri, data.licence, said_step, traits)


def _build_chart(
    family: ChartFamily[ChartT] | PointsFamily[ChartT], supply: Supply, rng: random.Random
) -> tuple[ChartT, Table | Points, ChartStyle]:
    """A chart of a family, of data that suit it."""
    data: Table | Points
    if isinstance(family, ChartFamily):
        data = table = supply.table(family.kind, rng.randint(*family.series), rng)
        style = supply.style(data.texts(), rng)
        return family.build(table, style, rng), data, style
    data = points = supply.points(rng, rng.randint(*family.groups), rng.randint(*family.number))
    style = supply.style(data.texts(), rng)
    return family.build(points, style, rng), data, style


class VegaMaker:
    """Charts as Vega-Lite."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._renderer = VegaRenderer(supply.families)

    def families(self) -> list[str]:
        return list(_VEGA)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        chart, data, style = _build_chart(_VEGA[family], self._supply, rng)
        code = format_spec(chart.spec)
        figure = self._renderer.figure(chart, code, style.scale)
        step = max(chart.steps.values())
        return _made_chart(f"vega_lite.{family}", "vega-lite", code, chart, step, data, figure, style)


class PlotMaker:
    """Charts as Python code for matplotlib."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._renderer = PlotRenderer(supply.families)

    def families(self) -> list[str]:
        return list(_PLOT)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        plot, data, style = _build_chart(_PLOT[family], self._supply, rng)
        figure = self._renderer.figure(plot)
        step = max(reading.step for reading in plot.readings)
        return _made_chart(f"matplotlib.{family}", "python", plot.code, plot, step, data, figure, style)


class PlotlyMaker:
    """Charts as Python code for Plotly, which Chromium shows."""

    def __init__(self, supply: Supply) -> None:
        find_chromium()
        self._supply = supply
        self._renderer = PlotlyRenderer(supply.families)

    def families(self) -> list[str]:
        return list(_PLOTLY)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        chart, data, style = _build_chart(_PLOTLY[family], self._supply, rng)
        figure = self._renderer.figure(chart, style.scale)
        step = max(reading.step for reading in chart.readings)
        made = _made_chart(f"plotly.{family}", "plotly", chart.code, chart, step, data, figure, style)
        if chart.template:
            made = replace(made, traits={**made.traits, "background": chart.template})
        return made


class DiagramMaker:
    """Diagrams as Graphviz sources."""

    def __init__(self, supply: Supply) -> None:
        self._renderer = DiagramRenderer()

    def families(self) -> list[str]:
        return list(DIAGRAMS)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        style = pick_diagram_style(rng)
        diagram = DIAGRAMS[family](style, rng)
        figure = self._renderer.figure(diagram)
        traits = {"font": style.font, "background": style.background, "layout": diagram.engine}
        return MadeFigure(
            f"graphviz.{family}", "dot", diagram.code, diagram.table(), "", figure, "generated", "CC0-1.0",
            traits=traits,
        )  # fmt: skip


class FormulaMaker:
    """Formulas as LaTeX or Typst, typeset by Typst or by matplotlib."""

    def __init__(self, supply: Supply) -> None:
        self._renderer = TypesetRenderer(supply.families)

    def families(self) -> list[str]:
        return list(FORMULAS)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        formula = FORMULAS[family](rng)
        fill, ink = rng.choice(_PAPERS)
        size, margin, resolution = rng.randint(13, 22), rng.randint(4, 20), rng.choice((96, 110, 130))
        traits = {"font": rng.choice(_TEXT_FONTS), "background": fill}
        source = f"{page_setup(traits['font'], size, fill, ink, margin)}$ {formula.typst} $\n"
        in_latex = formula.latex is not None and rng.random() < 0.65
        figure = self._renderer.formula(source, formula.glyphs, formula.latex if in_latex else None, resolution)
        if in_latex and formula.latex is not None:
            if rng.random() < 0.5:
                face = rng.choice(("cm", "stix", "stixsans", "dejavusans", "dejavuserif"))
                figure = self._renderer.latex_figure(formula.latex, face, size, resolution, (fill, ink), margin)
                traits["font"] = face
            notation: Notation = "latex"
            code = formula.latex
        else:
            notation, code = "typst", f"$ {formula.typst} $"
        return MadeFigure(f"formula.{family}", notation, code, "", "", figure, "generated", "CC0-1.0", traits=traits)


class TableMaker:
    """Tables as LaTeX or Typst."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._renderer = TypesetRenderer(supply.families)

    def families(self) -> list[str]:
        return list(_TABLE_KINDS)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        kind = next(kind for kind in _TABLE_KINDS if kind == family)
        table = self._supply.table(kind, rng.randint(1, 5) if family in ("groups", "time") else 1, rng)
        style = self._supply.style(table.texts(), rng, self._renderer.families)
        fill, ink = rng.choice(_PAPERS[:4])
        setup = page_setup(style.font.name, rng.randint(9, 14), fill, ink, rng.randint(4, 18))
        source = write_table(table, setup, rng)
        figure = self._renderer.table(source.typst, source.cells, rng.choice((84, 96, 110)))
        in_latex = rng.random() < 0.5 and "stripes" not in source.family
        if in_latex and parse_latex(source.latex) != [[cell for cell in row if cell] for row in source.cells]:
            raise Dropped("cells_differ")
        notation: Notation = "latex" if in_latex else "typst"
        code = source.latex if in_latex else source.typst.removeprefix(setup)
        return MadeFigure(
            f"table.{family}_{source.family}", notation, code, table.csv(), table.markdown(), figure,
            table.uri, table.licence, traits=style_traits(style, table.texts()),
        )  # fmt: skip
