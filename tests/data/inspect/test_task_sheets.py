"""Contact sheets of tasks."""

from pathlib import Path

from PIL import Image as PILImage

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.task_sheets import task_sheet, wrap, write_task_sheets


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


def test_a_sheet_of_nothing_is_an_image() -> None:
    assert task_sheet([]).height == 1
