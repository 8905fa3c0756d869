"""Figures to the code that renders them, to their data, and to where their texts are.

Charts, infographics, diagrams, circuits, formulas, tables, chemical structures and music.

After the image-to-code data of the STEP3-VL-10B report, section 2.2. Figures are made of seeded and of real tables,
one style space serves all tools, and no label is trusted: the image is what the label renders to, marks are read back
through the ticks, texts are whole and apart, and a PDF reader or Graphviz itself confirms what formulas, tables and
graphs say.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Box, BoxTruth, Image, Sample, Source, TranscriptTruth, Truth, format_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, IntRange
from step3vl.pipelines.core.samples import compose, encode_rendering
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.image_to_code_check import CheckFigures
from step3vl.pipelines.domains.image_to_code_questions import ask
from step3vl.pipelines.render.figures.figures import (
    FigureMaker,
    FigureOptions,
    Language,
    MadeFigure,
    Notation,
    Supply,
    Tool,
)
from step3vl.pipelines.render.figures.makers import MAKERS
from step3vl.pipelines.render.fonts import load_families
from step3vl.pipelines.render.web.browser import find_chromium
from step3vl.pipelines.render.web.latex import find_pdflatex
from step3vl.pipelines.sources.tables.tables import read_csv

Task = Literal["code", "data", "place"]

_SECONDS = 60.0  # for a figure; the first takes seconds, until fonts and programs are loaded
_ELONGATED = {"graphviz": 4.0, "formula": 16.0}  # times as long as wide; other tools keep within theirs


class FigureEntry(GeneratedEntry):
    """Figures, for every domain that asks about some."""

    tools: dict[Tool, float] = Field(
        default={
            "vega_lite": 3.0,
            "matplotlib": 3.0,
            "graphviz": 2.0,
            "formula": 2.0,
            "table": 1.0,
            "infographic": 2.0,
            "molecule": 1.0,
            "circuit": 1.0,
            "music": 1.0,
        },
        min_length=1,
    )
    """Relative weights of the tools: charts by `vega_lite` and `matplotlib`, diagrams by `graphviz`, formulas and
    tables in LaTeX and Typst, infographics, chemical structures by RDKit, circuits by schemdraw, scores by Verovio,
    diagrams by Mermaid. No defaults are `plotly`, charts for which every worker needs Chromium, and `tikz`, for which
    it needs pdflatex."""
    families: tuple[str, ...] = ()
    """Only these families, such as `vega_lite.bar`; all of them when empty."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of figures and of questions, chosen independently and with equal probability. Figures are in Chinese as far as
    the fonts have the characters."""
    plot_width: IntRange = (240, 520)
    """Of charts, in pixels, without their axes."""
    plot_height: IntRange = (180, 360)
    """Of charts, in pixels, without their axes."""
    max_side: int = Field(default=1456, gt=0)
    """Larger images are dropped, in pixels."""
    jpeg: float = Field(default=0.25, ge=0, le=1)
    """The fraction of images encoded as JPEG, at qualities of 60 to 95; the others are PNG."""
    real_tables: float = Field(default=0.3, ge=0, le=1)
    """The fraction of charts and tables that show real numbers, where there are some that suit."""
    table_files: tuple[str, ...] = ()
    """Patterns of further real tables: CSV files of a column of labels and columns of numbers."""
    table_licence: str = "CC0-1.0"
    """Of the numbers in `table_files`."""
    font_files: tuple[str, ...] = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
    """Patterns of fonts; a figure is set in one that has all its characters."""
    icon_files: tuple[str, ...] = ("assets:icons/*.svg",)
    """Patterns of the icons of infographics, SVG files named by what they show."""

    def assets(self) -> tuple[str, ...]:
        return (*self.font_files, *self.table_files, *self.icon_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        if self.tools.get("tikz"):
            find_pdflatex()
        if self.tools.get("plotly"):
            find_chromium()


class ImageToCodeEntry(FigureEntry):
    """Figures and the code, data or boxes that they are asked for."""

    domain: Literal["ocr.image_to_code"]
    tasks: dict[Task, float] = Field(default={"code": 3.0, "data": 2.0, "place": 1.0}, min_length=1)
    """Relative weights of what is asked for: the code, the data, the box of a text. A figure that has no data to be
    read off is asked for its code."""


class FigureElement(Config):
    """Something that an image shows."""

    role: str
    """`title`, `axis_title`, `tick_label`, `legend_label`, `value_label`, `mark`, `node`, `cell`, ..."""
    text: str
    """What it says; for a mark what it stands for."""
    box: tuple[int, int, int, int]
    """x1, y1, x2, y2 in 0..1000."""


class RenderedFigure(Config):
    """A proven image with its code, its data and its elements. Other domains may ask about it, too."""

    image: Image
    tool: Tool
    family: str
    """Of the tool, as `families` names it."""
    notation: Notation
    code: str
    data: str
    """As CSV; empty where the image does not say it."""
    markdown: str
    """The same in Markdown."""
    step: str
    """Values are multiples of it; empty where they stand in the image."""
    elements: tuple[FigureElement, ...]
    read_back: float | None
    """The largest distance of a mark from its value, in steps of the values."""
    resolution: float | None
    """Pixels of a step of the values."""
    uri: str
    licence: str
    traits: dict[str, str]
    """What was chosen, by kind."""


class RenderFigures:
    """Worker: a number becomes a proven figure."""

    def __init__(self, entry: FigureEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry, assets = self._entry, self._context.assets
        families = load_families(assets(entry.font_files))
        tables = [read_csv(path, entry.table_licence) for path in assets(entry.table_files)]
        options = FigureOptions(
            entry.languages, entry.plot_width, entry.plot_height, entry.real_tables, entry.families
        )
        self._supply = Supply(families, options, tables, assets(entry.icon_files))
        self._makers: dict[Tool, FigureMaker] = {}

    def _maker(self, tool: Tool) -> FigureMaker:
        if tool not in self._makers:
            self._makers[tool] = MAKERS[tool](self._supply)
        return self._makers[tool]

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Record[RenderedFigure]]:
        entry = self._entry
        tools = [tool for tool in entry.tools if not entry.families or _names_tool(entry.families, tool)]
        (tool,) = rng.choices(tools, [entry.tools[name] for name in tools])
        maker = self._maker(tool)
        families = [name for name in maker.families() if not entry.families or f"{tool}.{name}" in entry.families]
        made = maker.make(rng.choice(families), rng)
        width, height = made.figure.size
        if max(width, height) > entry.max_side:
            raise Dropped("too_large")
        if max(width, height) > _ELONGATED.get(tool, 8.0) * min(width, height):
            raise Dropped("too_elongated")
        yield Record(record.key, _rendered(tool, made, encode_rendering(made.figure.png, entry.jpeg, rng)))


def _names_tool(families: tuple[str, ...], tool: str) -> bool:
    return any(name.startswith(f"{tool}.") for name in families)


def _rendered(tool: Tool, made: MadeFigure, image: Image) -> RenderedFigure:
    figure = made.figure
    elements = []
    for element in figure.elements:
        x1, y1, x2, y2 = element.box
        x1, x2 = (min(max(x, 0), figure.size[0]) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), figure.size[1]) for y in (y1, y2))
        box = Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), "pixels", figure.size)
        elements.append(FigureElement(role=element.role, text=element.text, box=box.milli()))
    return RenderedFigure(
        image=image,
        tool=tool,
        family=made.family,
        notation=made.notation,
        code=made.code,
        data=made.data,
        markdown=made.markdown,
        step=made.step,
        elements=tuple(elements),
        read_back=figure.read_back,
        resolution=None if figure.resolution is None else round(figure.resolution, 2),
        uri=made.uri,
        licence=made.licence,
        traits=dict(made.traits),
    )


class LabelFigures:
    """Worker: a figure becomes a sample that asks for its code, its data or the place of a text."""

    def __init__(self, entry: ImageToCodeEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[RenderedFigure], rng: random.Random) -> Iterator[Sample]:
        entry, figure = self._entry, record.value
        language = rng.choice(entry.languages)
        texts = _single_texts(figure)
        possible: dict[Task, bool] = {"code": True, "data": bool(figure.data), "place": bool(texts)}
        tasks = [task for task in entry.tasks if possible[task]]
        if not tasks:
            raise Dropped("nothing_to_ask")
        (task,) = rng.choices(tasks, [entry.tasks[name] for name in tasks])
        truth: Truth
        if task == "code":
            answer = figure.code.rstrip("\n")
            question = ask(_ASKED.get(figure.tool, "code"), language, figure.tool, rng, notation=figure.notation)
            truth = TranscriptTruth(text=answer)
        elif task == "data":
            in_markdown = bool(figure.markdown) and rng.random() < 0.5
            answer = figure.markdown if in_markdown else figure.data
            kind = "parts" if figure.tool == "circuit" else "edges" if answer.startswith(_EDGES) else "data"
            question = ask(
                kind, language, figure.tool, rng, format="Markdown" if in_markdown else "CSV", step=figure.step
            )
            truth = TranscriptTruth(text=answer)
        else:
            element = rng.choice(texts)
            box = Box(*element.box, "milli", (figure.image.width, figure.image.height))
            answer = format_boxes([box])
            question = ask("place", language, figure.tool, rng, text=element.text)
            truth = BoxTruth(boxes=(element.box,))
        scores = {"read_back_error": figure.read_back, "pixels_per_step": figure.resolution}
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task=f"ocr.image_to_code.{_subject(figure.tool)}_{task}",
            question=question,
            answer=answer,
            truth=truth,
            images=[figure.image],
            source=Source(
                uri=record.key if figure.uri == "generated" else f"{figure.uri}#{record.key}",
                licence=figure.licence,
                collected_by=f"step3vl/{entry.name}/{figure.family}",
                traits={"family": figure.family, **figure.traits},
            ),
            scores={name: score for name, score in scores.items() if score is not None},
        )


_ASKED = {"molecule": "smiles", "infographic": "transcribe"}  # the kind of question for the code of a tool
_EDGES = ("From,To", "Node,Node")  # the header of data that are a graph's edges


def _subject(tool: Tool) -> str:
    charts = {"vega_lite": "chart", "matplotlib": "chart", "plotly": "chart"}
    others = {"graphviz": "diagram", "mermaid": "diagram", "tikz": "drawing"}  # words: the name of a task
    return charts.get(tool) or others.get(tool, tool)


_PLACED = (
    *("title", "axis_title", "legend_label", "edge_label", "node_label", "tick_label", "group_title", "cell"),
    *("component_label", "heading", "label", "value_label", "footer"),
)
_SMALLEST = 6  # thousandths of the image's side; a smaller box cannot be given


def _single_texts(figure: RenderedFigure) -> list[FigureElement]:
    """Texts that occur in one place only, large enough to be boxed."""
    texts = [element for element in figure.elements if element.text and element.role != "mark"]
    counts = Counter(element.text for element in texts if element.role != "node")
    return [
        element
        for element in texts
        if element.role in _PLACED
        and counts[element.text] == 1
        and len(element.text) > 1
        and not set(element.text) & set('"“”')
        and min(element.box[2] - element.box[0], element.box[3] - element.box[1]) >= _SMALLEST
    ]


DOMAIN = Domain(
    ImageToCodeEntry,
    steps=(
        BeamStep("render", version=4, worker=RenderFigures, output=RenderedFigure, time_limit=_SECONDS),
        BeamStep("build", version=2, worker=LabelFigures, output=Sample),
    ),
    example={"count": 20, "tools": {"vega_lite": 1, "graphviz": 1, "molecule": 1, "mermaid": 1}, "languages": ["en"]},
    label_check=CheckFigures,
)
