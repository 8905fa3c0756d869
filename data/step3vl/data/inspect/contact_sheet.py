"""Samples as images: truth and answer rendered onto them, and a sheet with a few samples of each task."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.sample.answers import parse_boxes, parse_points
from step3vl.data.sample.parts import TextPart
from step3vl.data.sample.sample import Sample
from step3vl.data.sample.truth import ActionTruth, BoxTruth, PointsTruth, PointTruth

_CELL = 200  # pixels of an image on the contact sheet
_CAPTION = 44
_COLUMNS = 6
_FONT = Path("data/samples/fonts/NotoSansSC.otf")
_MAX_SEARCHED = 300  # samples of a task; enough to meet every entry, few enough for a dataset of any size
_RED, _GREEN = (220, 0, 0), (0, 170, 0)


def render_truth(sample: Sample) -> PILImage.Image:
    """The first image of a sample, with the truth's boxes in red and the answer's points and boxes in green.

    Of a GUI trajectory it is the last image, on which the action of the truth is performed.
    """
    image = sample.images[-1 if isinstance(sample.truth, ActionTruth) else 0].open()
    canvas = ImageDraw.Draw(image)
    stroke = max(1, max(image.size) // 150)
    answer = sample.answer() if sample.messages is not None else _last_text(sample)
    if isinstance(sample.truth, PointTruth | PointsTruth | BoxTruth | ActionTruth):
        answered = [(box.x1, box.y1, box.x2, box.y2) for box in parse_boxes(answer)]
        for boxes, colour in ((sample.truth.boxes, _RED), (answered, _GREEN)):
            for box in boxes:
                canvas.rectangle(_pixels(box, image.size), outline=colour, width=stroke)
        for point in parse_points(answer):
            centre_x, centre_y = point.x * image.width / 1000, point.y * image.height / 1000
            radius = 3 * stroke
            ellipse = (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)
            canvas.ellipse(ellipse, fill=_GREEN, outline=(255, 255, 255))
    return image


def _pixels(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box in 0..1000 as pixels of an image."""
    x1, y1, x2, y2 = box
    return x1 * size[0] / 1000, y1 * size[1] / 1000, x2 * size[0] / 1000, y2 * size[1] / 1000


def _last_text(sample: Sample) -> str:
    return [part.text for part in sample.parts() if isinstance(part, TextPart)][-1]


def contact_sheet(samples: Iterable[Sample], per_task: int = _COLUMNS) -> PILImage.Image:
    """A row of captioned cells for each task and entry.

    Args:
        samples: Samples, of which the first with an image are shown.
        per_task: Cells of a row.
    """
    rows: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        row = rows[sample.task, sample.source.collected_by]
        if sample.images and len(row) < per_task:
            row.append(sample)
    filled = [rows[key] for key in sorted(rows) if rows[key]]
    height = _CELL + _CAPTION
    sheet = PILImage.new("RGB", (max(1, per_task * _CELL), max(1, height * len(filled))), "white")
    for number, row in enumerate(filled):
        for column, sample in enumerate(row):
            _paste_cell(sheet, sample, column * _CELL, number * height)
    return sheet


def _paste_cell(sheet: PILImage.Image, sample: Sample, left: int, top: int) -> None:
    image = render_truth(sample)
    scale = (_CELL - 6) / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    sheet.paste(image.resize(size, PILImage.Resampling.LANCZOS), (left + (_CELL - size[0]) // 2, top + 3))
    canvas = ImageDraw.Draw(sheet)
    font = _caption_font()
    if sample.messages is None:
        lines = [_last_text(sample)]
    else:
        question = [part.text for message in sample.prompt() for part in message.content if isinstance(part, TextPart)]
        lines = [" ".join(question), "> " + sample.answer()]
    for number, line in enumerate([sample.task, *lines]):
        canvas.text((left + 4, top + _CELL + 13 * number), _clip(line, font), fill=(20, 20, 20), font=font)


def _caption_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The sample font, which has Chinese, when run in the repository; else Pillow's default."""
    return ImageFont.truetype(str(_FONT), 11) if _FONT.is_file() else ImageFont.load_default(11)


def _clip(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    line = line.replace("\n", " / ")[:_CELL]
    while line and font.getlength(line) > _CELL - 8:
        line = line[:-1]
    return line


def write_contact_sheet(dataset: Dataset, path: Path) -> None:
    """Write the contact sheet of a dataset as PNG."""
    tasks = sorted({total.task for total in dataset.manifest.tasks})
    samples = (itertools.islice(dataset.samples(task=task), _MAX_SEARCHED) for task in tasks)
    contact_sheet(itertools.chain.from_iterable(samples)).save(path, optimize=True)
