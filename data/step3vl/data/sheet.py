"""Samples as pictures: what the truth says drawn into them, and a sheet with a few of each task."""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.dataset import Dataset
from step3vl.data.geometry import Box
from step3vl.data.sample import Sample, TextPart
from step3vl.data.truth import ActionTruth, BoxTruth, PointsTruth, PointTruth, parse_boxes, parse_points

_CELL = 200  # pixels of a picture on the contact sheet
_CAPTION = 44
_COLUMNS = 6
_FONT = Path("data/samples/fonts/NotoSansSC.otf")
_SEARCHED = 300  # samples of a task looked at for the sheet; enough to meet every entry, few enough for any size


def draw_truth(sample: Sample) -> PILImage.Image:
    """The first picture of a sample, with the truth's boxes in red and the answer's points and boxes in green.

    Of a GUI trajectory it is the last, on which the action of the truth is done.
    """
    picture = sample.images[-1 if isinstance(sample.truth, ActionTruth) else 0].open()
    draw = ImageDraw.Draw(picture)
    stroke = max(1, max(picture.size) // 150)
    answer = sample.answer() if sample.messages is not None else _last_text(sample)
    if isinstance(sample.truth, PointTruth | PointsTruth | BoxTruth | ActionTruth):
        truth = [Box(x1, y1, x2, y2, "milli", picture.size) for x1, y1, x2, y2 in sample.truth.boxes]
        for boxes, colour in ((truth, (220, 0, 0)), (parse_boxes(answer), (0, 170, 0))):
            for box in boxes:
                draw.rectangle(_pixels(box, picture.size), outline=colour, width=stroke)
        for point in parse_points(answer):
            x, y = point.x * picture.width / 1000, point.y * picture.height / 1000
            reach = 3 * stroke
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(0, 170, 0), outline=(255, 255, 255))
    return picture


def _pixels(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    return (
        box.x1 * size[0] / 1000,
        box.y1 * size[1] / 1000,
        box.x2 * size[0] / 1000,
        box.y2 * size[1] / 1000,
    )


def _last_text(sample: Sample) -> str:
    return [part.text for part in sample.parts() if isinstance(part, TextPart)][-1]


def contact_sheet(samples: Iterable[Sample], per_task: int = _COLUMNS) -> PILImage.Image:
    """The first few samples with a picture of each task and entry, a row of cells each, captioned below."""
    rows: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        row = rows[sample.task, sample.source.collected_by]
        if sample.images and len(row) < per_task:
            row.append(sample)
    filled = [rows[key] for key in sorted(rows) if rows[key]]
    height = _CELL + _CAPTION
    sheet = PILImage.new("RGB", (max(1, per_task * _CELL), max(1, height * len(filled))), "white")
    for number, few in enumerate(filled):
        for column, sample in enumerate(few):
            _paste_cell(sheet, sample, column * _CELL, number * height)
    return sheet


def _paste_cell(sheet: PILImage.Image, sample: Sample, left: int, top: int) -> None:
    picture = draw_truth(sample)
    scale = (_CELL - 6) / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    sheet.paste(picture.resize(size, PILImage.Resampling.LANCZOS), (left + (_CELL - size[0]) // 2, top + 3))
    draw = ImageDraw.Draw(sheet)
    font = _caption_font()
    if sample.messages is None:
        lines = [_last_text(sample)]
    else:
        asked = [part.text for message in sample.prompt() for part in message.content if isinstance(part, TextPart)]
        lines = [" ".join(asked), "> " + sample.answer()]
    for number, line in enumerate([sample.task, *lines]):
        draw.text((left + 4, top + _CELL + 13 * number), _clip(line, font), fill=(20, 20, 20), font=font)


def _caption_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The sample font that has Chinese, where the repository's samples are at hand; else Pillow's own."""
    return ImageFont.truetype(str(_FONT), 11) if _FONT.is_file() else ImageFont.load_default(11)


def _clip(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    line = line.replace("\n", " / ")
    while line and font.getlength(line) > _CELL - 8:
        line = line[:-1]
    return line


def write_sheet(dataset: Dataset, path: Path) -> None:
    """Write the contact sheet of a dataset as PNG."""
    tasks = sorted({one.task for one in dataset.manifest.tasks})
    few = (itertools.islice(dataset.samples(task=task), _SEARCHED) for task in tasks)
    contact_sheet(itertools.chain.from_iterable(few)).save(path, optimize=True)
