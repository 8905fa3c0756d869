from typing import Any

import pytest
from PIL import ImageChops

from step3vl.data.sample import ImagePart, MathTruth, OptionTruth, Sample, TextPart, TranscriptTruth
from step3vl.grading import grade_answer
from step3vl.grading.math import compare
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.education_worksheets import PoseWorksheets, WorksheetsEntry
from step3vl.pipelines.render.exercises.worksheet import PageProblem, PageStyle, PageWriter, render_page
from step3vl.pipelines.render.style import FontFace, plain


def _made(count: int, context: StepContext, **fields: Any) -> list[Sample]:
    entry = WorksheetsEntry(
        domain="education.worksheets", name="t", count=1, languages=("en",), **{"side": (110, 150), **fields}
    )
    worker = PoseWorksheets(entry, context)
    worker.setup()
    samples: list[Sample] = []
    for number in range(count):
        try:
            samples += worker.process(Record(f"t/{number}", number), rng_for(3, number))
        except Dropped:
            continue
    return samples


def _texts(sample: Sample, role: str) -> list[str]:
    assert sample.messages is not None
    return [
        part.text
        for message in sample.messages
        if message.role == role
        for part in message.content
        if isinstance(part, TextPart)
    ]


@pytest.mark.parametrize("answering", ["single", "together", "turns"])
def test_pages_are_answered_in_three_ways(answering: str, context: StepContext) -> None:
    samples = _made(6, context, problems=(2, 3), answering={answering: 1})
    assert len(samples) >= 4
    for sample in samples:
        count = int(sample.scores["problems"])
        questions, answers = _texts(sample, "user"), _texts(sample, "assistant")
        assert len(questions) == len(answers) == (count if answering == "turns" else 1)
        assert sample.messages is not None
        assert sum(isinstance(p, ImagePart) for m in sample.messages for p in m.content) == 1
        assert sample.truth is not None
        if answering == "together":
            assert isinstance(sample.truth, TranscriptTruth)
            assert [line[:2] for line in answers[0].split("\n") if line[:2] in ("1.", "2.", "3.")][:count]
        if isinstance(sample.truth, MathTruth):
            assert compare(sample.truth.expression, answers[-1]) == "correct"
        else:
            assert grade_answer(sample.truth, answers[-1]).verdict == "correct"
        if isinstance(sample.truth, OptionTruth) and len(sample.truth.options[0]) > 2:
            wrong = next(o for o in sample.truth.options if o != sample.truth.option)
            assert grade_answer(sample.truth, wrong).verdict == "wrong"


def test_the_problems_stand_in_the_image_alone(context: StepContext) -> None:
    for sample in _made(5, context, problems=(1, 1), solutions=0):
        assert len(_texts(sample, "user")[0]) < 100


def test_a_language_without_a_font_is_dropped(context: StepContext) -> None:
    entry = WorksheetsEntry(
        domain="education.worksheets",
        name="t",
        count=1,
        languages=("zh",),
        font_files=("assets:fonts/DejaVuSans.ttf",),
    )
    worker = PoseWorksheets(entry, context)
    worker.setup()
    with pytest.raises(Dropped, match="no_font_has_all_characters"):
        list(worker.process(Record("t/0", 0), rng_for(0)))


@pytest.fixture
def face(context: StepContext) -> FontFace:
    return FontFace(context.assets(("assets:fonts/DejaVuSans.ttf",))[0])


def _style(face: FontFace, **fields: Any) -> PageStyle:
    values: dict[str, Any] = {
        "paper": "#ffffff", "ink": "#000000", "face": face, "font_size": 16, "width": 420, "beside": False,
        "number": "{n}.", "ruled": True, **fields,
    }  # fmt: skip
    return PageStyle(**values)


@pytest.mark.parametrize("beside", [False, True])
def test_figures_and_texts_do_not_overlap(beside: bool, face: FontFace) -> None:
    """A red figure stays whole: no ink falls on it, and it is on the page."""
    figure = plain((120, 90), (255, 0, 0))
    problem = PageProblem("How long is the side of this square? " * 4, ("A. 1 cm", "B. 2 cm", "C. 3 cm"), figure)
    page = render_page([problem, problem], "Test", _style(face, beside=beside), [face])
    red = ImageChops.difference(page, plain(page.size, (255, 0, 0))).convert("L").point(lambda v: 255 if v == 0 else 0)
    assert sum(value > 0 for value in red.getdata()) == 2 * 120 * 90
    ink = ImageChops.invert(page.convert("L")).getbbox()
    assert ink is not None
    assert ink[0] > 15 and ink[2] < page.width - 10 and ink[3] < page.height


def test_lines_are_no_wider_than_the_page(face: FontFace) -> None:
    writer = PageWriter(_style(face), [face])
    text = "It is given that the angle at A is twice the angle at B, and that AB = 5 cm. " * 3
    lines = writer.wrap(text, 200, 16)
    assert all(writer.width(line, 16) <= 200 for line in lines)
    assert " ".join(lines).split() == text.split()


def test_a_figure_that_is_wider_than_the_page_is_dropped(face: FontFace) -> None:
    problem = PageProblem("What is it?", (), plain((500, 50), (255, 0, 0)))
    with pytest.raises(Dropped, match="figure_too_wide"):
        render_page([problem], "", _style(face), [face])
