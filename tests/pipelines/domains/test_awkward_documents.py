"""Documents that people really have, read by the real models from the file to the sample: the label must be right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from tests.pipelines.small_pdf import show, write_pdf
from tests.pipelines.table_image import ROWS, table_image

from step3vl.data.sample import Sample, TextPart
from step3vl.grading import grade_answer
from step3vl.grading.checks import read_tables
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Record, rng_for
from step3vl.pipelines.documents.agreement import order_agreement, recall, token_agreement, tokens
from step3vl.pipelines.documents.label_check import CheckDocuments
from step3vl.pipelines.domains.ocr_documents import (
    DocumentsEntry,
    LabelRegions,
    OpenDocuments,
    PageReader,
    RenderPages,
    SplitRegions,
)
from step3vl.pipelines.render.style import FontFace, plain

pytestmark = pytest.mark.slow

FONTS = Path("data/step3vl/data/assets/fonts")
SENTENCES = (
    "Call me Ishmael and hear how it came to pass.",
    "All the world is a stage for men and women.",
    "Either the well was deep or she fell very slowly.",
    "Four score and seven years ago our fathers met.",
    "It is not down on any map, true places never are.",
    "The quality of mercy is not strained by rain.",
    "No man is an island entire of himself alone.",
    "Curiouser and curiouser, cried the girl at last.",
    "Tiger burning bright in the forests of the night.",
    "Because I could not stop he kindly stopped for me.",
)

VERTICAL = ("学而时习之不亦说乎", "有朋自远方来", "温故而知新可以为师矣", "己所不欲")


def entry(**options: Any) -> DocumentsEntry:
    fields = {"domain": "ocr.document_to_text", "name": "docs", "formats": ("text",), "kind": "conversation"}
    return DocumentsEntry.model_validate({**fields, "sources": [{"files": ["x"], "licence": "CC0-1.0"}], **options})


@pytest.fixture(scope="module")
def reader() -> PageReader:
    return PageReader(entry())


def samples_of(context: StepContext, reader: PageReader, path: Path, **options: Any) -> list[Sample]:
    """A file through all steps of the domain."""
    settings, rng = entry(**options), rng_for(0)
    (file,) = list_pattern(str(path), "CC0-1.0", entry="docs", base=context.base, store=context.store)
    worker = LabelRegions(settings, context)
    worker.setup()
    samples: list[Sample] = []
    for page in OpenDocuments(settings, context).process(Record(path.name, file), rng):
        (rendered,) = RenderPages(settings, context).process(page, rng)
        (read,) = reader([rendered.value])
        for region in SplitRegions(settings, context).process(Record(rendered.key, read), rng):
            samples += worker.process(region, rng)
    return samples


def serif(size: int) -> ImageFont.FreeTypeFont:
    return FontFace(FONTS / "DejaVuSerif.ttf").at(size)


def two_columns(sentences: Sequence[str] = SENTENCES) -> tuple[PILImage.Image, str]:
    """A scan: a title, and two columns of sentences, each broken into two lines."""
    image = plain((1000, 700), (252, 251, 247))
    canvas = ImageDraw.Draw(image)
    canvas.text((500, 60), "A Study of Two Columns", (20, 20, 20), serif(40), anchor="mm")
    lines = [
        part for sentence in sentences for part in (sentence[: len(sentence) // 2], sentence[len(sentence) // 2 :])
    ]
    half = len(lines) // 2
    for place, text in enumerate(lines):
        x, y = 60 + 480 * (place // half), 130 + 40 * (place % half)
        canvas.text((x, y), text.strip(), (20, 20, 20), serif(22))
    return image, " ".join(["A Study of Two Columns", *(text.strip() for text in lines)])


def require_reading(sample: Sample, expected: str) -> None:
    read, reference = tokens(sample.answer()), tokens(expected)
    assert recall(read, reference) >= 0.97
    assert token_agreement(read, reference) >= 0.97
    order = order_agreement(read, reference)
    assert order is not None and order >= 0.98
    assert sample.truth is not None and grade_answer(sample.truth, sample.answer()).verdict == "correct"


def test_two_columns_and_their_title_are_read_in_order(
    context: StepContext, reader: PageReader, tmp_path: Path
) -> None:
    image, expected = two_columns()
    image.save(tmp_path / "scan.png")
    (sample,) = samples_of(context, reader, tmp_path / "scan.png")
    require_reading(sample, expected)


@pytest.mark.parametrize("turn", [90, 180])
def test_a_page_on_its_side_or_head_is_turned_and_read(
    context: StepContext, reader: PageReader, tmp_path: Path, turn: int
) -> None:
    image, expected = two_columns(SENTENCES[:4])
    image.rotate(-turn, expand=True).save(tmp_path / "scan.png")
    (sample,) = samples_of(context, reader, tmp_path / "scan.png")
    require_reading(sample, expected)
    assert sample.scores["turned_degrees"] == turn
    assert (sample.images[0].width, sample.images[0].height) == image.size
    difference = np.abs(np.asarray(sample.images[0].open()).astype(int) - np.asarray(image))
    assert difference.mean() < 4, "the image of the sample is upright"


def test_a_photograph_is_turned_as_its_exif_says(context: StepContext, reader: PageReader, tmp_path: Path) -> None:
    image, expected = two_columns(SENTENCES[:2])
    exif = PILImage.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    image.rotate(90, expand=True).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    (sample,) = samples_of(context, reader, tmp_path / "photo.jpg")
    require_reading(sample, expected)
    assert "turned_degrees" not in sample.scores


def test_vertical_chinese_is_read_from_right_to_left(context: StepContext, reader: PageReader, tmp_path: Path) -> None:
    columns = VERTICAL
    font = ImageFont.truetype(str(FONTS / "NotoSerifSC.otf"), 36)
    image = plain((600, 560), (255, 255, 255))
    canvas = ImageDraw.Draw(image)
    for place, column in enumerate(columns):
        for step, character in enumerate(column):
            canvas.text((540 - 70 * place, 60 + 44 * step), character, (10, 10, 10), font, anchor="mm")
    image.save(tmp_path / "page.png")
    (sample,) = samples_of(context, reader, tmp_path / "page.png")
    assert tokens(sample.answer()) == tokens("".join(columns))
    assert sample.answer().split("\n") == list(columns)


def test_a_tall_page_is_read_to_its_end(context: StepContext, reader: PageReader, tmp_path: Path) -> None:
    lines = [f"{place:02d} item {place * 37 % 100:02d}" for place in range(40)]
    image = plain((300, 2700), (255, 255, 255))
    canvas = ImageDraw.Draw(image)
    for place, text in enumerate(lines):
        canvas.text((30, 20 + 66 * place), text, (10, 10, 10), serif(22))
    image.save(tmp_path / "receipt.png")
    (sample,) = samples_of(context, reader, tmp_path / "receipt.png")
    assert sample.answer().split() == " ".join(lines).split()


def test_a_table_is_structure_and_not_a_list_of_texts(
    context: StepContext, reader: PageReader, tmp_path: Path
) -> None:
    table_image(FontFace(FONTS / "DejaVuSans.ttf").at(18))[0].save(tmp_path / "table.png")
    (sample,) = samples_of(context, reader, tmp_path / "table.png", formats=("markdown",))
    (table,) = read_tables(sample.answer())
    assert table[0, 0] == table[1, 0] == "fruit" and table[0, 1] == table[0, 2] == "harvest"
    for row, cells in enumerate(ROWS):
        assert [table[2 + row, column] for column in range(3)] == [text.lower().replace(".", "") for text in cells]
    assert any(check.check == "cell" for check in sample.truth.checks)  # type: ignore[union-attr]


def test_a_filled_form_is_read_with_its_values(context: StepContext, reader: PageReader, tmp_path: Path) -> None:
    fields = [
        f"/FT /Tx /T (f{place}) /V ({value}) /DA (/F1 12 Tf 0 g) /Rect [120 {150 - 30 * place} 280 {168 - 30 * place}]"
        for place, value in enumerate(("Ada Lovelace", "London", "Mathematician"))
    ]
    content = "".join(
        show(label, 20, 154 - 30 * place) for place, label in enumerate(("Name", "Residence", "Occupation"))
    )
    path = write_pdf(tmp_path / "form.pdf", content, fields=fields)
    (sample,) = samples_of(context, reader, path, dpi=150)
    assert [line for line in sample.answer().split("\n") if line] == [
        "Name Ada Lovelace",
        "Residence London",
        "Occupation Mathematician",
    ]
    assert sample.scores["text_layer_agreement"] == 1.0


def test_notes_follow_the_body_and_numbers_of_lines_are_left_out(
    context: StepContext, reader: PageReader, tmp_path: Path
) -> None:
    image = plain((900, 760), (255, 255, 255))
    canvas = ImageDraw.Draw(image)
    for place, text in enumerate(SENTENCES):
        canvas.text((120, 100 + 36 * place), text, (10, 10, 10), serif(22))
        canvas.text((70, 105 + 36 * place), str(place + 1), (10, 10, 10), serif(14))
    for place, text in enumerate(("After an", "old story.")):
        canvas.text((770, 175 + 20 * place), text, (10, 10, 10), serif(14))
    image.save(tmp_path / "scan.png")
    (sample,) = samples_of(context, reader, tmp_path / "scan.png")
    require_reading(sample, " ".join((*SENTENCES, "After an old story.")))
    assert not any(character.isdigit() for character in sample.answer())


def test_the_label_check_finds_another_page_and_another_order(
    context: StepContext, reader: PageReader, tmp_path: Path
) -> None:
    image, _ = two_columns()
    image.save(tmp_path / "scan.png")
    (sample,) = samples_of(context, reader, tmp_path / "scan.png")
    check = CheckDocuments(entry(), context)

    def verdict(answer: str) -> str | None:
        messages = sample.messages or ()
        reply = messages[-1].model_copy(update={"content": (TextPart(text=answer),)})
        return check(sample.model_copy(update={"messages": (*messages[:-1], reply)}))

    assert check(sample) is None
    lines = sample.answer().split("\n")
    half = len(lines) // 2
    interleaved = [line for pair in zip(lines[:half], lines[half:], strict=False) for line in pair]
    assert verdict("\n".join(interleaved)) == "order_differs"
    assert verdict(" ".join(SENTENCES[::2])) == "text_differs"
    with pytest.raises(Unchecked, match="not_all_text"):
        verdict("[figure]\n\n" + sample.answer())
