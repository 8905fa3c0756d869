"""Grounding on figures: the elements of the renderers' scene graphs as objects."""

from collections import Counter

import pytest
from tests.pipelines.through_steps import through_steps

from step3vl.data.sample import CountTruth, Image
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import Record, rng_for
from step3vl.pipelines.domains.grounding_figures import DOMAIN, FigureObjectsEntry, GroundFigures
from step3vl.pipelines.domains.ocr_image_to_code import FigureElement, RenderedFigure
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.render.figures.figure import encode_png
from step3vl.pipelines.render.style import plain

TICKS = ((100, 900, 140, 930), (300, 900, 340, 930), (500, 900, 540, 930))


def grounded(*elements: FigureElement, tool: str = "vega_lite", family: str = "vega_lite.bar") -> GroundedImage:
    """What a figure of 200 x 100 pixels with these elements becomes."""
    figure = RenderedFigure.model_validate({
        "image": Image.from_bytes(encode_png(plain((200, 100), (255, 255, 255)))), "tool": tool, "family": family,
        "notation": "vega-lite", "code": "", "data": "", "markdown": "", "step": "", "elements": elements,
        "read_back": None, "resolution": None, "uri": "generated", "licence": "CC0-1.0", "traits": {},
    })  # fmt: skip
    worker = GroundFigures(
        FigureObjectsEntry(domain="grounding.figures", name="t", count=1), StepContext(seed=0, base=".")
    )
    (record,) = worker.process(Record("t/0", figure), rng_for(0))
    return record.value


def element(role: str, text: str, box: tuple[int, int, int, int]) -> FigureElement:
    return FigureElement(role=role, text=text, box=box)


def test_elements_are_objects_with_the_boxes_of_the_scene_graph() -> None:
    image = grounded(
        *(element("tick_label", str(number), box) for number, box in enumerate(TICKS)),
        element("mark", "a: 1", (100, 200, 140, 880)),
        element("legend_symbol", "", (10, 10, 20, 20)),
    )
    assert Counter(item.label for item in image.objects) == {"tick label": 3, "bar": 1}
    assert image.box(image.objects[0]).milli() == TICKS[0]
    assert image.objects[0].attributes == {"text": "0"}
    assert set(image.complete) == {"tick label", "bar"}
    assert set(image.absent) == {"chart title", "axis title", "legend entry", "value label"}


def test_marks_that_are_no_single_bars_are_not_asked_about() -> None:
    stacked = grounded(
        element("tick_label", "x", TICKS[0]), element("mark", "a", TICKS[1]), family="vega_lite.bar_stacked"
    )
    assert [item.label for item in stacked.objects] == ["tick label"]


def test_a_tiny_element_leaves_its_kind_uncounted() -> None:
    image = grounded(element("tick_label", "0", TICKS[0]), element("tick_label", "1", (500, 900, 501, 930)))
    assert [item.label for item in image.objects] == ["tick label"]
    assert [region.label for region in image.ignored] == ["tick label"]


@pytest.mark.slow
def test_questions_about_rendered_figures_hold(context: StepContext) -> None:
    fields = {"tools": {"vega_lite": 1}, "questions": 5, "count": 5}
    entry = FigureObjectsEntry.model_validate({"domain": "grounding.figures", "name": "t", **fields})
    samples, _ = through_steps(DOMAIN, entry, context)
    assert len({sample.task for sample in samples}) >= 6
    assert all(sample.source.traits["family"] for sample in samples)
    assert any(isinstance(sample.truth, CountTruth) for sample in samples)
    # Nobody says that a text is larger than another one.
    assert not {"larger", "is_inside"} & {sample.source.traits["question"] for sample in samples}
