"""The independent check of figures."""

import io
import shutil

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.sample import BoxTruth, Image, Sample, Source, TranscriptTruth, Truth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.domains.figure_label_texts import data_texts, label_texts, table_rows
from step3vl.pipelines.domains.image_to_code_check import CheckFigures, folded, found_share, has_values
from step3vl.pipelines.domains.ocr_image_to_code import ImageToCodeEntry
from step3vl.pipelines.render.figures.figure import read_png
from step3vl.pipelines.render.figures.table_kinds import page_setup
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


@pytest.mark.parametrize(
    ("value", "lines", "holds"),
    [
        (57, ["100-", "90-", "80-", "70-", "60-", "Q1 2017", "Q1 2018", "-"], True),  # ticks beside their numbers
        (35, ["300", "200", "100", "Sep"], True),  # the 0 of the axis was not read
        (35, ["300", "260", "220", "Sep"], False),
        (900, ["300", "200", "100"], False),
    ],
)
def test_the_numbers_of_an_axis_tell_which_values_it_can_have(value: int, lines: list[str], holds: bool) -> None:
    assert has_values(f"Month,Output\nSep,{value}", lines) == holds


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


FORMULAS = [r"\frac{a+b}{c}", r"\sum_{i=1}^{n} x_i^2", r"\int_0^1 e^{-t^2}\,dt", r"3 x - 18 = y^{4}"]
ONE_SYMBOL = {  # in each of them
    FORMULAS[0]: r"\frac{a+b}{d}",
    FORMULAS[1]: r"\sum_{i=1}^{n} x_i^3",
    FORMULAS[2]: r"\int_0^1 e^{-u^2}\,dt",
    FORMULAS[3]: r"3 x - 16 = y^{4}",
}


@pytest.mark.slow
@pytest.mark.parametrize("face", ["stix", "dejavusans"])
def test_another_formula_and_another_symbol_are_found(check: CheckFigures, face: str) -> None:
    for formula in FORMULAS:
        png = TypesetRenderer([]).latex_figure(formula, face, 16, 120, ("#f4f6fa", "#1d2b3a"), 9).png
        with PILImage.open(io.BytesIO(png)) as opened:
            image = opened.convert("RGB")
        verdicts = {other: _verdict(check, image, other) for other in FORMULAS}
        assert verdicts.pop(formula) is None
        assert set(verdicts.values()) == {"formula_looks_different"}, verdicts
        assert _verdict(check, image, ONE_SYMBOL[formula]) is not None


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_is_a_second_engine_for_what_typst_sets(check: CheckFigures) -> None:
    source = page_setup("Libertinus Serif", 15, "#ffffff", "#000000", 6) + "$ x_(1) = frac(- v plus.minus 3, 2 u) $\n"
    image = read_png(TypesetRenderer([]).png(source, 110)).convert("RGB")
    assert _verdict(check, image, r"x_{1} = \frac{- v \pm 3}{2 u}") is None
    for wrong in (
        r"x_{1} = \frac{- v \pm 8}{2 u}",
        r"x_{1} = \frac{2 u}{- v \pm 3}",
        r"x_{1} = - v \pm \frac{3}{2 u}",
    ):
        assert _verdict(check, image, wrong) is not None


def test_a_formula_in_typst_is_typeset_again(check: CheckFigures) -> None:
    source = page_setup("New Computer Modern", 15, "#ffffff", "#000000", 6)
    label, wrong = "$ M = mat(15, a; 4, 18) $", "$ M = mat(15, a; 4, 13) $"
    image = read_png(TypesetRenderer([]).png(f"{source}{label}\n", 110)).convert("RGB")
    assert _verdict(check, image, label) is None
    assert _verdict(check, image, wrong) == "formula_looks_different"


def _verdict(check: CheckFigures, image: PILImage.Image, label: str) -> str | None:
    try:
        return check(sample("formula_code", image, label))
    except Unchecked as error:
        return error.reason


def test_what_no_second_reader_reads_is_unchecked(check: CheckFigures) -> None:
    points = "\\begin{tikzpicture}\n  \\node at (1, 2) {$P$};\n\\end{tikzpicture}"
    for task, label in (("molecule_code", "CCO"), ("drawing_code", points)):  # words: part of the name of a task
        with pytest.raises(Unchecked):
            check(sample(task, page(), label))


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


@pytest.mark.parametrize(
    ("label", "rows"),
    [
        (
            "\\begin{tabular}{|l|r|}\n\\hline\n & \\multicolumn{1}{c}{\\textbf{Rain \\& sun}} \\\\\n\\hline\n"
            "A\\_b & 3\\% \\\\\n\\hline\n\\end{tabular}",
            [["Rain & sun"], ["A_b", "3%"]],
        ),
        (
            "#table(\n  columns: 2,\n  table.header([*City*], [*Rain*]),\n  [A\\_b], [3],\n)",
            [["City", "Rain"], ["A_b", "3"]],
        ),
        ("| City | Rain |\n| --- | --- |\n| Oslo | 3 |", [["City", "Rain"], ["Oslo", "3"]]),
    ],
)
def test_the_rows_of_a_table(label: str, rows: list[list[str]]) -> None:
    assert [filled for row in table_rows(label) if (filled := [cell for cell in row if cell])] == rows
