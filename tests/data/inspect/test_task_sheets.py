"""Contact sheets of tasks."""

from pathlib import Path

from PIL import Image as PILImage

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.task_sheets import task_sheet, wrap, write_task_sheets
from step3vl.data.sample import Sample, Source, text


def test_each_task_has_a_sheet(dataset: Dataset, tmp_path: Path) -> None:
    names = write_task_sheets(dataset, str(tmp_path), 5)
    assert names == ["counting.icons.png", "education.sum.png"]
    for name in names:
        with PILImage.open(tmp_path / name) as sheet:
            assert sheet.width == 1660 and sheet.height > 100
            assert len(sheet.convert("L").getcolors()) > 10, "texts are on it"


def test_lines_are_as_wide_as_the_column_and_keep_every_character() -> None:
    text = "The quick brown fox 跳过懒狗 " * 12
    lines = list(wrap(text, 120))
    assert "".join(lines) == text and len(lines) > 10
    assert list(wrap("")) == []
    assert list(wrap("a\n\nb")) == ["a", "", "b"]


def test_signs_that_one_font_lacks_have_the_glyphs_of_another() -> None:
    def sheet(content: str) -> bytes:
        source = Source(uri="made:1", licence="CC0-1.0", collected_by="tests")
        sample = Sample.make(domain="text", task="text", content=(text(content),), source=source)
        return task_sheet([sample.model_copy(update={"id": "0" * 32})]).tobytes()

    sheets = {sheet(content) for content in ("F₁", "F₂", "F–", "F€", "F猫")}
    assert len(sheets) == 5 and sheet("F\U0010fffe") not in sheets, "the box of a missing glyph"


def test_a_sheet_of_nothing_is_an_image() -> None:
    assert task_sheet([]).height == 1
