"""The independent check of figures."""

import io

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.sample import BoxTruth, Image, Sample, Source, TranscriptTruth, Truth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.domains.image_to_code_check import CheckFigures, data_texts, folded, found_share, label_texts
from step3vl.pipelines.domains.ocr_image_to_code import ImageToCodeEntry
from step3vl.pipelines.render.figures.typeset import TypesetRenderer


@pytest.fixture(scope="module")
def check() -> CheckFigures:
    entry = ImageToCodeEntry(domain="ocr.image_to_code", name="t", count=1)
    return CheckFigures(entry, StepContext(0, "."))


def sample(task: str, image: PILImage.Image, answer: str, truth: Truth | None = None, question: str = "?") -> Sample:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return compose(
        kind="conversation",
        domain="ocr",
        task=f"ocr.image_to_code.{task}",
        question=question,
        answer=answer,
        truth=truth or TranscriptTruth(text=answer),
        images=[Image.from_bytes(buffer.getvalue())],
        source=Source(uri="t/0", licence="CC0-1.0", collected_by="step3vl/t"),
    )


def page(*lines: tuple[str, int, int]) -> PILImage.Image:
    image = PILImage.new("RGB", (700, 300), "white")
    font = ImageFont.load_default(26)
    for text, x, y in lines:
        ImageDraw.Draw(image).text((x, y), text, fill="black", font=font)
    return image


CHART = page(("Oslo", 60, 40), ("Lisbon", 60, 120), ("12.5", 300, 40), ("48", 300, 120), ("30", 500, 120))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("City,Rain\nOslo,12.5\nLisbon,48", None),
        ("City,Rain\nNairobi,12.5\nHanoi,48", "texts_not_on_image"),
        ("City,Rain\nOslo,900\nLisbon,700", "values_not_on_image"),
    ],
)
def test_the_data_of_a_chart_must_be_on_it(check: CheckFigures, table: str, reason: str | None) -> None:
    assert check(sample("chart_data", CHART, table)) == reason


@pytest.mark.slow
def test_a_text_must_be_in_its_box(check: CheckFigures) -> None:
    question = 'Where is "Lisbon" in the image?'
    right, wrong = (70, 370, 260, 530), (400, 100, 600, 260)
    for box, reason in ((right, None), (wrong, "text_not_in_box")):
        assert check(sample("chart_place", CHART, "x", BoxTruth(boxes=(box,)), question)) == reason


def test_formulas_are_typeset_again(check: CheckFigures) -> None:
    renderer = TypesetRenderer([])
    formulas = [r"\frac{a+b}{c}", r"\sum_{i=1}^{n} x_i^2", r"\int_0^1 e^{-t^2}\,dt", r"x = y"]
    for formula in formulas:
        png = renderer.latex_figure(formula, "stix", 16, 120, ("#f4f6fa", "#1d2b3a"), 9).png
        with PILImage.open(io.BytesIO(png)) as image:
            verdicts = {other: check(sample("formula_code", image.convert("RGB"), other)) for other in formulas}
        assert verdicts.pop(formula) is None
        assert sum(reason is not None for reason in verdicts.values()) >= 2, verdicts


def test_what_no_second_reader_reads_is_unchecked(check: CheckFigures) -> None:
    with pytest.raises(Unchecked):
        check(sample("molecule_code", page(), "CCO"))


@pytest.mark.parametrize(
    ("label", "subject", "texts"),
    [
        (
            '{"title": "Rain", "data": {"values": [{"city": "Oslo", "mm": 3}]}, "mark": "bar"}',
            "chart",
            ["Rain", "Oslo"],
        ),
        ('labels = ["Oslo", "Lima"]\nax.set_title("Rain")\nc = ["#fff000"]', "chart", ["Oslo", "Lima", "Rain"]),
        (
            'digraph {\n  a [label="Check\\nstock", shape=box];\n  a -> b [label=no];\n}',
            "diagram",
            ["Check", "stock", "no"],
        ),
        ("flowchart TD\n    A[Open] -->|yes| B{Valid?}\n", "diagram", ["Open", "Valid?", "yes"]),
        ("sequenceDiagram\n    participant Ada\n    Ada->>Bo: Log in\n", "diagram", ["Ada", "Log in"]),
        (
            "\\begin{tikzpicture}\n  \\node (a) at (0, 0) {Pack goods};\n\\end{tikzpicture}",
            "drawing",  # words: part of the name of a task
            ["Pack goods"],
        ),
        (
            "\\begin{tabular}{lr}\nCity & Rain \\\\\nOslo & 3 \\\\\n\\end{tabular}",
            "table",
            ["City", "Rain", "Oslo", "3"],
        ),
        ('R1 = elm.Resistor().label("R1\\\\n5 V")', "circuit", ["R1", "5 V"]),
        ("# Rain\n\n- **12 mm** Oslo\n| City | mm |", "infographic", ["Rain", "12 mm Oslo", "City", "mm"]),
    ],
)
def test_the_texts_that_an_image_must_show(label: str, subject: str, texts: list[str]) -> None:
    actual = [text.strip() for text in label_texts(label, subject, "code")]
    assert {folded(text) for text in texts} <= {folded(text) for text in actual}


def test_texts_of_tables_in_markdown_and_csv_are_the_same() -> None:
    markdown = "| City | Rain | Sun |\n| --- | --- | --- |\n| Oslo | 3 | 4 |"
    assert list(data_texts(markdown)) == list(data_texts("City,Rain,Sun\nOslo,3,4")) == ["Rain", "Sun", "Oslo"]


def test_the_share_that_was_found() -> None:
    assert found_share(["Oslo", "Lisbon"], ["0SLO", "Lisb on"]) == pytest.approx(0.6)
    assert found_share(["Electricity"], ["Electricily generated"]) == 1.0
    assert found_share(["a; b", "708 km"], ["b", "a;", "km 708"]) == 1.0
    assert found_share([], ["x"]) == 0.0
