"""A contact sheet of each task: images with their truth, and questions and answers in full beside them."""

import io
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.inspect.contact_sheet import FONT, render_truth
from step3vl.data.inspect.sampling import read_samples, sample_tasks
from step3vl.data.sample.parts import TextPart
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store import Store

_IMAGE = 430  # pixels of the longer side at most
_TEXT = 370  # pixels of the width of texts
_GAP = 10
_LINE = 15  # pixels
_LINES = 27  # of a question with its answer, at most
_MAX_IMAGES = 4  # of a sample
_COLUMNS = 2
_ASCENT = 13  # pixels from the top of a line to its baseline
_FONTS = (
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),  # has all scripts, where it is
    FONT,
    FONT.parents[1] / "fonts" / "DejaVuSans.ttf",  # has signs that the others lack
)
_ABSENT = "\U0010ffff"  # no font has it
_INK, _FAINT, _ANSWER = (20, 20, 20), (120, 120, 120), (0, 70, 160)

_Line = tuple[str, tuple[int, int, int]]


def task_sheets(
    dataset: Dataset, number: int, task: str | None = None, seed: int = 0, where: RowFilter | None = None
) -> Iterator[tuple[str, bytes]]:
    """The contact sheets of a dataset, one at a time.

    Args:
        dataset: The dataset.
        number: Random samples of each task.
        task: Only tasks that match this shell pattern.
        seed: Of the samples.
        where: Only samples that an expression selects.

    Yields:
        The task, and its sheet as PNG.
    """
    for name, located in sample_tasks(dataset, number, seed, task, where).items():
        buffer = io.BytesIO()
        task_sheet(read_samples(dataset, located)).save(buffer, "PNG")
        yield name, buffer.getvalue()


def write_task_sheets(
    dataset: Dataset, out: str, number: int, task: str | None = None, where: RowFilter | None = None
) -> list[str]:
    """Write `{task}.png` of each task into a folder, or its URL.

    Returns:
        The names of the files.
    """
    store = Store(out, dataset.files.config)
    names = []
    for name, png in task_sheets(dataset, number, task, where=where):
        names.append(f"{name}.png")
        store.put(names[-1], png)
    return names


def task_sheet(samples: Iterable[Sample]) -> PILImage.Image:
    """Samples side by side in two columns: the image, then id, question and answer."""
    cells = [_cell(sample) for sample in samples]
    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    heights = [max(cell.height for cell in row) for row in rows]
    width = _IMAGE + _TEXT + 3 * _GAP
    sheet = PILImage.new("RGB", (_COLUMNS * width, max(1, sum(heights))), "white")
    canvas = ImageDraw.Draw(sheet)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * width, top))
        top += height
        canvas.line((0, top - 1, sheet.width, top - 1), fill=(200, 200, 200))
    return sheet


def _cell(sample: Sample) -> PILImage.Image:
    lines = list(_lines(sample))[:_LINES]
    images = [render_truth(sample)] if sample.images else []
    if len(sample.images) > 1:
        images = [image.open() for image in sample.images[:_MAX_IMAGES]]
    row = _side_by_side(images)
    height = max(row.height if row else 0, _LINE * len(lines)) + 2 * _GAP
    cell = PILImage.new("RGB", (_IMAGE + _TEXT + 3 * _GAP, height), "white")
    if row:
        cell.paste(row, (_GAP, _GAP))
    canvas = ImageDraw.Draw(cell)
    for number, (line, colour) in enumerate(lines):
        _write(canvas, _IMAGE + 2 * _GAP, _GAP + _LINE * number + _ASCENT, line, colour)
    canvas.line((cell.width - 1, 0, cell.width - 1, height), fill=(200, 200, 200))
    return cell


def _side_by_side(images: list[PILImage.Image]) -> PILImage.Image | None:
    """Images in a row that is as wide as one image may be."""
    if not images:
        return None
    side = _IMAGE // len(images)
    for image in images:
        image.thumbnail((side, _IMAGE), PILImage.Resampling.LANCZOS)
    row = PILImage.new("RGB", (_IMAGE, max(image.height for image in images)), "white")
    for number, image in enumerate(images):
        row.paste(image, (number * side, 0))
    return row


def _lines(sample: Sample) -> Iterator[_Line]:
    yield sample.id, _FAINT
    about = [sample.source.collected_by, *(f"{name}={value}" for name, value in sample.source.traits.items())]
    for line in wrap(" ".join(about)):
        yield line, _FAINT
    if sample.messages is None:
        texts = [("", part.text) for part in sample.parts() if isinstance(part, TextPart)]
    else:
        texts = [
            (message.role, part.text)
            for message in sample.messages
            for part in message.content
            if isinstance(part, TextPart)
        ]
    for role, text in texts:
        for line in wrap(text):
            yield line, _ANSWER if role == "assistant" else _INK


def wrap(text: str, width: int = _TEXT) -> Iterator[str]:
    """The lines of a text, broken where they are as wide as a column."""
    for line in text[: 100 * _LINES].splitlines():
        start, length = 0, 0.0
        for place, character in enumerate(line):
            advance = _advance(character)
            if length + advance > width:
                yield line[start:place]
                start, length = place, 0.0
            length += advance
        yield line[start:]


def _write(canvas: ImageDraw.ImageDraw, x: float, baseline: int, line: str, colour: tuple[int, int, int]) -> None:
    for font, characters in groupby(line, _font_of):
        text = "".join(characters)
        canvas.text((x, baseline), text, fill=colour, font=font, anchor="ls")
        x += font.getlength(text)


@lru_cache(1)
def _fonts() -> list[ImageFont.FreeTypeFont]:
    return [ImageFont.truetype(str(path), 12) for path in _FONTS if path.exists()]


@lru_cache(4096)
def _font_of(character: str) -> ImageFont.FreeTypeFont:
    """The first font that has a character; the first of all where none has it."""
    have = (font for font in _fonts() if bytes(font.getmask(character)) != bytes(font.getmask(_ABSENT)))
    return next(have, _fonts()[0])


@lru_cache(4096)
def _advance(character: str) -> float:
    return _font_of(character).getlength(character)
