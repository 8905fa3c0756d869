"""Samples as images: truth and answer rendered onto them, and a sheet with a few samples of each task."""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.sampling import read_samples
from step3vl.data.inspect.summary import collections_of
from step3vl.data.sample.answers import parse_boxes, parse_points
from step3vl.data.sample.parts import TextPart
from step3vl.data.sample.sample import Sample
from step3vl.data.sample.truth import ActionTruth, BoxTruth, PointsTruth, PointTruth

_CELL = 200  # pixels of an image on the contact sheet
_CAPTION = 44
_COLUMNS = 6
FONT = Path(__file__).parents[1] / "assets" / "captions" / "NotoSansSC.otf"  # has common Chinese, too
_MAX_ROWS = 48
_MAX_SEARCHED = 1 << 19  # rows of the index, unless a task was not met yet
_RED, _GREEN = (220, 0, 0), (0, 170, 0)


def render_truth(sample: Sample) -> PILImage.Image:
    """The first image of a sample, with the truth's boxes in red and the answer's points and boxes in green.

    Of a GUI trajectory it is the last image, on which the action of the truth is performed.
    """
    image = sample.images[-1 if isinstance(sample.truth, ActionTruth) else 0].open()
    canvas = ImageDraw.Draw(image)
    stroke = max(1, max(image.size) // 150)
    answer = sample.last_text()
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


def contact_sheet(samples: Iterable[Sample]) -> PILImage.Image:
    """A row of captioned cells for each task and builder, with the first samples that have an image."""
    rows: dict[tuple[str, str], list[PILImage.Image]] = defaultdict(list)
    for sample in samples:
        row = rows[sample.task, sample.source.collected_by]
        if sample.images and len(row) < _COLUMNS:
            row.append(_cell(sample))
    filled = [rows[key] for key in sorted(rows) if rows[key]]
    height = _CELL + _CAPTION
    sheet = PILImage.new("RGB", (_COLUMNS * _CELL, max(1, height * len(filled))), "white")
    for number, row in enumerate(filled):
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * _CELL, number * height))
    return sheet


def _cell(sample: Sample) -> PILImage.Image:
    cell = PILImage.new("RGB", (_CELL, _CELL + _CAPTION), "white")
    image = render_truth(sample)
    scale = (_CELL - 6) / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    cell.paste(image.resize(size, PILImage.Resampling.LANCZOS), ((_CELL - size[0]) // 2, 3))
    canvas = ImageDraw.Draw(cell)
    font = _caption_font()
    if sample.messages is None:
        lines = _fit(sample.last_text(), font, 2)
    else:
        question = [part.text for message in sample.prompt() for part in message.content if isinstance(part, TextPart)]
        lines = [*_fit(" ".join(question), font), *_fit("> " + sample.answer(), font)]
    for number, line in enumerate([*_fit(sample.task, font), *lines]):
        canvas.text((4, _CELL + 13 * number), line, fill=(20, 20, 20), font=font)
    return cell


@lru_cache(1)
def _caption_font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), 11)


def _fit(text: str, font: ImageFont.FreeTypeFont, count: int = 1) -> list[str]:
    """The start of a text as `count` lines that fit a cell."""
    rest = " / ".join(text[: 2 * count * _CELL].splitlines())
    lines = []
    for _ in range(count):
        widths = (font.getlength(rest[:end]) for end in range(1, min(len(rest), _CELL) + 1))
        end = sum(1 for _ in takewhile(lambda width: width <= _CELL - 8, widths))
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    return lines


class _Location(NamedTuple):
    shard: int
    offset: int
    size: int


def _locations(dataset: Dataset) -> Iterator[_Location]:
    """Where some samples with images are: the first of each task and collection, for as many as the sheet has rows.

    Samples are in their shards in the order of a hash, so the first rows of the index are a fair sample of all.
    """
    missing = {total.task for total in dataset.manifest.tasks}
    collections = max(1, _MAX_ROWS // max(1, len(missing)))  # of a task
    chosen: dict[str, dict[str, list[_Location]]] = defaultdict(dict)
    searched = 0
    for batch in dataset.index_batches(["task", "source", "offset", "size", "image_sizes"]):
        missing -= set(pc.unique(batch["task"]).to_pylist())
        searched += len(batch)
        visible = batch.filter(pc.greater(pc.list_value_length(batch["image_sizes"]), 0))
        names = collections_of(visible["source"]).to_pylist()
        columns = (visible[name].to_pylist() for name in ("task", "shard", "offset", "size"))
        for task, shard, offset, size, name in zip(*columns, names, strict=True):
            rows = chosen[task]
            if name in rows or len(rows) < collections:
                row = rows.setdefault(name, [])
                if len(row) < _COLUMNS:
                    row.append(_Location(shard, offset, size))
        if not missing and searched > _MAX_SEARCHED:
            break
    for rows in chosen.values():
        for row in rows.values():
            yield from row


def sheet_png(dataset: Dataset) -> bytes:
    """The contact sheet of a dataset of any size, as PNG."""
    sheet = contact_sheet(read_samples(dataset, list(_locations(dataset))))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
