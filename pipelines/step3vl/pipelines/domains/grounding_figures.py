"""Grounding and counting on charts, tables and diagrams: the elements of the renderers' scene graphs as objects.

After the grounding and counting data of the STEP3-VL-10B report, section 2.2. The figures are those of
`ocr.image_to_code`, in which every text is whole and apart from the others.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.sample import Box, Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.grounding_check import CheckObjects
from step3vl.pipelines.domains.grounding_entry import AskAboutObjects, ObjectQuestions
from step3vl.pipelines.domains.ocr_image_to_code import FigureElement, FigureEntry, RenderedFigure, RenderFigures
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject, IgnoredRegion
from step3vl.pipelines.render.figures.figures import Tool

_SECONDS = 60.0  # for a figure, as in `ocr.image_to_code`
_SMALLEST = 3  # thousandths of the image's side; less is not seen
_LABELS = {
    "title": "chart title", "axis_title": "axis title", "tick_label": "tick label", "legend_label": "legend entry",
    "value_label": "value label", "cell": "table entry", "heading": "heading", "label": "item name", "node": "node",
    "group_title": "group title", "footer": "footnote", "edge_label": "edge label",
}  # fmt: skip
"""What elements are called, by their role. Others are not asked about."""
_CHARTS = ("vega_lite", "matplotlib", "plotly")
_IN_CHARTS = ("title", "axis_title", "legend_label", "value_label")  # roles that a chart has, or surely lacks
_BARS = ("bar", "bar_horizontal", "bar_labelled", "bar_horizontal_labelled", "bar_over_time")
"""Families of charts whose marks are bars, each standing alone."""


class FigureObjectsEntry(FigureEntry, ObjectQuestions):
    """Questions about the elements of figures."""

    domain: Literal["grounding.figures"]
    tools: dict[Tool, float] = Field(
        default={"vega_lite": 3.0, "matplotlib": 3.0, "table": 3.0, "infographic": 2.0, "graphviz": 1.0}, min_length=1
    )
    """Relative weights of the tools, as in `ocr.image_to_code`."""


class GroundFigures:
    """Worker: a figure becomes an image with the elements as its objects."""

    def __init__(self, entry: FigureObjectsEntry, context: StepContext) -> None:
        """Nothing of either is needed."""

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[RenderedFigure], rng: random.Random) -> Iterator[Record[GroundedImage]]:
        figure = record.value
        is_chart = figure.tool in _CHARTS
        labels = dict(_LABELS)
        if is_chart and figure.family.partition(".")[2] in _BARS:
            labels["mark"] = "bar"
        named = [(labels[element.role], element) for element in figure.elements if element.role in labels]
        if not named:
            raise Dropped("no_elements")
        size = figure.image.width, figure.image.height
        objects = tuple(_object(label, element, size) for label, element in named if not _is_tiny(element))
        present = {label for label, _ in named}
        absent = [_LABELS[role] for role in _IN_CHARTS if is_chart and _LABELS[role] not in present]
        grounded = GroundedImage(
            image=figure.image,
            subject="table" if figure.tool == "table" else "figure",
            objects=objects,
            ignored=tuple(
                IgnoredRegion(label=label, box=_pixels(element, size), reason="tiny")
                for label, element in named
                if _is_tiny(element)
            ),
            complete=tuple(sorted(present)),
            absent=tuple(absent),
            licence=figure.licence,
            origin=record.key,
            traits={"family": figure.family},
        )
        yield Record(record.key, grounded)


def _object(label: str, element: FigureElement, size: tuple[int, int]) -> GroundedObject:
    x1, y1, x2, y2 = _pixels(element, size)
    text = " ".join(element.text.split())
    return GroundedObject(
        label=label,
        box=(x1, y1, x2, y2),
        point=((x1 + x2) / 2, (y1 + y2) / 2),
        spots=(element.box,),
        attributes={"text": text} if label != "bar" else {},
    )


def _pixels(element: FigureElement, size: tuple[int, int]) -> tuple[float, float, float, float]:
    box = Box(*element.box, "milli", size).to("pixels")
    return box.x1, box.y1, box.x2, box.y2


def _is_tiny(element: FigureElement) -> bool:
    x1, y1, x2, y2 = element.box
    return min(x2 - x1, y2 - y1) < _SMALLEST


DOMAIN = Domain(
    FigureObjectsEntry,
    steps=(
        BeamStep("render", version=1, worker=RenderFigures, output=RenderedFigure, time_limit=_SECONDS),
        BeamStep("ground", version=1, worker=GroundFigures, output=GroundedImage),
        BeamStep("ask", version=1, worker=AskAboutObjects, output=Sample),
    ),
    example={"count": 20, "tools": {"vega_lite": 1, "graphviz": 1}},
    label_check=CheckObjects,
)
