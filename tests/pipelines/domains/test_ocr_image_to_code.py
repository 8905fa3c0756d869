import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.image_to_code_questions import NOTATIONS, ask, phrasings
from step3vl.pipelines.domains.ocr_image_to_code import ImageToCodeEntry, LabelFigures, RenderedFigure, RenderFigures

LANGUAGES: tuple[Language, ...] = ("en", "zh")


def run(context: StepContext, count: int, **fields: Any) -> Iterator[tuple[RenderedFigure, Sample]]:
    entry = ImageToCodeEntry(domain="ocr.image_to_code", name="t", count=count, **fields)
    render, label = RenderFigures(entry, context), LabelFigures(entry, context)
    render.setup()
    label.setup()
    for number in range(count):
        try:
            (record,) = render.process(Record(f"t/{number}", number), rng_for(0, number))
        except Dropped:
            continue
        for sample in label.process(record, rng_for(1, number)):
            yield record.value, sample


def test_answers_are_graded_correct_and_every_tool_and_task_occurs(context: StepContext) -> None:
    tasks = set()
    tools = {"vega_lite": 3, "matplotlib": 3, "graphviz": 2, "formula": 2, "table": 1}
    for figure, sample in run(context, 60, tools=tools):
        tasks.add(sample.task.rpartition(".")[2])
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert all(
            0 <= x1 <= x2 <= 1000 and 0 <= y1 <= y2 <= 1000 for x1, y1, x2, y2 in (e.box for e in figure.elements)
        )
        assert RenderedFigure.model_validate(json.loads(figure.model_dump_json())) == figure.model_copy(
            update={"image": figure.image.model_copy(update={"data": None})}
        )
        assert sample.source.traits["family"] == figure.family
    assert tasks >= {"chart_code", "chart_data", "chart_place", "diagram_code", "formula_code", "table_code"}


@pytest.mark.parametrize("tool", ["molecule", "circuit", "infographic", "music", "mermaid"])
def test_each_tool_alone_gives_samples_that_are_graded_correct(context: StepContext, tool: str) -> None:
    samples = [sample for _, sample in run(context, 6, tools={tool: 1})]
    assert len(samples) >= 3
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert sample.source.collected_by.startswith(f"step3vl/t/{tool}.")


@pytest.mark.chromium
def test_plotly_gives_code_data_and_places(context: StepContext) -> None:
    tools = {"plotly": 1}
    families = ("plotly.bar_labelled", "plotly.pie", "plotly.line")
    pairs = list(run(context, 10, tools=tools, families=families, plot_width=(240, 300), plot_height=(180, 240)))
    assert len(pairs) >= 5
    for figure, sample in pairs:
        assert figure.code.startswith("import plotly.graph_objects as go") and figure.data
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
    assert {sample.task.rpartition(".")[2] for _, sample in pairs} <= {"chart_code", "chart_data", "chart_place"}
    again = run(context, 10, tools=tools, families=families, plot_width=(240, 300), plot_height=(180, 240))
    assert [sample.id for _, sample in again] == [sample.id for _, sample in pairs]


def test_plotly_needs_chromium_only_where_it_is_named(context: StepContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ImageToCodeEntry(domain="ocr.image_to_code", name="t", count=1).check(context)
    with pytest.raises(MissingProgramError, match="chromium"):
        ImageToCodeEntry(domain="ocr.image_to_code", name="t", count=1, tools={"plotly": 1}).check(context)


def test_one_seed_gives_the_same_bytes_whatever_was_made_before(context: StepContext) -> None:
    first = {sample.source.uri: sample.id for _, sample in run(context, 8, tools={"vega_lite": 1, "matplotlib": 1})}
    entry = ImageToCodeEntry(domain="ocr.image_to_code", name="t", count=8, tools={"vega_lite": 1, "matplotlib": 1})
    render, label = RenderFigures(entry, context), LabelFigures(entry, context)
    render.setup()
    again = {}
    for number in reversed(range(8)):
        try:
            (record,) = render.process(Record(f"t/{number}", number), rng_for(0, number))
        except Dropped:
            continue
        again.update((sample.source.uri, sample.id) for sample in label.process(record, rng_for(1, number)))
    assert again == first


def test_only_the_families_that_are_named(context: StepContext) -> None:
    for figure, _ in run(context, 6, families=("graphviz.cycle", "vega_lite.pie")):
        assert figure.family in ("graphviz.cycle", "vega_lite.pie")


def test_chinese_charts_with_the_fonts_of_the_package(context: StepContext) -> None:
    fields = {"languages": ("zh",), "tools": {"vega_lite": 1}, "real_tables": 0.0}
    assert any(any("一" <= c <= "鿿" for c in figure.code) for figure, _ in run(context, 6, **fields))


@pytest.mark.parametrize("kind", ["code", "smiles", "transcribe", "data", "edges", "parts", "place"])
def test_there_are_fifty_phrasings_and_each_fits(kind: str) -> None:
    values = {"notation": "dot", "format": "CSV", "text": "x"}
    for language in LANGUAGES:
        templates = phrasings(kind, language)
        assert len(set(templates)) == len(templates)
        assert all("{" not in template.format(subject="chart", **values) for template in templates)
    assert len(phrasings(kind, "en")) + len(phrasings(kind, "zh")) >= 90
    assert len(phrasings(kind, "en")) >= 50
    assert "multiples of 5" in ask("data", "en", "vega_lite", rng_for(0), format="CSV", step="5")
    assert NOTATIONS["dot"][0] in ask("code", "en", "graphviz", rng_for(0), notation="dot")


@pytest.mark.parametrize("notation", NOTATIONS)
def test_no_space_parts_two_chinese_characters(notation: Any) -> None:
    for seed in range(60):
        question = ask("code", "zh", "graphviz", rng_for(seed), notation=notation)
        assert not re.search("[\u4e00-\u9fff] [\u4e00-\u9fff]", question), question
