"""What models read on a page, together: which way is up, its lines, its regions, and the cells of its tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from step3vl.data.sample import Box
from step3vl.pipelines.documents.agreement import has_ideographs
from step3vl.pipelines.documents.blocks import PageRegion
from step3vl.pipelines.documents.lines import is_centred_in
from step3vl.pipelines.models.layout import LayoutModel
from step3vl.pipelines.models.ocr import OcrLine, OcrModel
from step3vl.pipelines.models.orientation import OrientationModel
from step3vl.pipelines.models.tables import TableCell, TableModel

TURNS = (0, 90, 180, 270)
_BACK = {
    90: PILImage.Transpose.ROTATE_90,  # counter-clockwise
    180: PILImage.Transpose.ROTATE_180,
    270: PILImage.Transpose.ROTATE_270,
}
_INK = 64  # of 255: what differs from paper by more
_RULE = 0.9  # of a line's height, that a vertical rule crosses
_PAD = 3  # pixels left beside a part of a line when it is read again
_SURE = 0.8  # average confidence of the characters of a page that is read the right way up
_ASPECT = 1.5  # height over width of a line that runs down, or that lies on its side


class Reading(NamedTuple):
    """A page, and what was read on it."""

    image: PILImage.Image
    """Upright."""
    turn: int
    """The clockwise turn that was undone: 0, 90, 180 or 270 degrees."""
    lines: tuple[OcrLine, ...]
    regions: tuple[PageRegion, ...]


class DocumentReader:
    """The models, loaded, each on one thread."""

    def __init__(self) -> None:
        self._ocr, self._orientation = OcrModel(), OrientationModel()
        self._layout, self._tables = LayoutModel(), TableModel()

    def read(self, image: PILImage.Image, turn: int | None) -> Reading:
        """Read a page.

        The orientation model is fast and may be wrong. So where what is read does not look like text the right way
        up, the page is read in all four directions, and the one that gives most text wins.

        Args:
            image: RGB.
            turn: The clockwise turn of its text in degrees; None to find out.
        """
        first = self._orientation.turned(image)[0] if turn is None else turn
        upright, lines = self._turned_and_read(image, first)
        if turn is None and lines and not _looks_upright(lines):
            tries = {first: (upright, lines)}
            tries |= {other: self._turned_and_read(image, other) for other in TURNS if other != first}
            first = max(TURNS, key=lambda turn: _upright_text(tries[turn][1]))
            upright, lines = tries[first]
        regions: list[PageRegion] = []
        for region in self._layout.regions(upright) if lines else ():
            cells: tuple[TableCell, ...] = ()
            if region.kind == "table":
                cells = tuple(self._tables.cells(upright, region.box))
                lines = self._parted(upright, lines, region.box)
            regions.append(PageRegion(**dict(region), cells=cells))
        return Reading(upright, first, tuple(lines), tuple(regions))

    def _parted(self, image: PILImage.Image, lines: Sequence[OcrLine], table: Box) -> list[OcrLine]:
        """The lines, those in a table read again in parts where they reach over a gap between cells."""
        parted: list[OcrLine] = []
        for line in lines:
            inside = is_centred_in(line.box, table)
            parts = parts_of(np.asarray(image.crop(_pixels(line.box)).convert("L"))) if inside else []
            if len(parts) < 2:
                parted.append(line)
                continue
            left, top, _, bottom = _pixels(line.box)
            for start, end in parts:
                x1 = max(left + start - _PAD, 0)
                read = self._ocr.read(image.crop((x1, top, left + end + _PAD, bottom)))
                parted += [each.model_copy(update={"box": _moved(each.box, x1, top, image.size)}) for each in read]
        return parted

    def _turned_and_read(self, image: PILImage.Image, turn: int) -> tuple[PILImage.Image, list[OcrLine]]:
        upright = image.transpose(_BACK[turn]) if turn else image
        return upright, self._ocr.read(upright)


def parts_of(pixels: np.ndarray) -> list[tuple[int, int]]:
    """The columns of a line's image that hold ink, parted where a gap is as wide as the line is high.

    A rule between two cells is as high as the line, and is no ink.

    Args:
        pixels: [height, width], 0..255.
    """
    height = len(pixels)
    paper = np.median(pixels)
    ink = np.abs(pixels.astype(np.int16) - int(paper)) > _INK
    columns = ink.any(axis=0) & (ink.sum(axis=0) < _RULE * height)
    places = np.flatnonzero(columns)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > height)
    starts = [int(places[0]), *(int(places[place + 1]) for place in breaks)]
    ends = [*(int(places[place]) + 1 for place in breaks), int(places[-1]) + 1]
    return list(zip(starts, ends, strict=True))


def _pixels(box: Box) -> tuple[int, int, int, int]:
    return int(box.x1), int(box.y1), max(int(box.x1) + 1, round(box.x2)), max(int(box.y1) + 1, round(box.y2))


def _moved(box: Box, x: int, y: int, size: tuple[int, int]) -> Box:
    """A box of a crop, in the image that it was cut from."""
    x1, y1 = min(box.x1 + x, size[0]), min(box.y1 + y, size[1])
    return Box(x1, y1, min(box.x2 + x, size[0]), min(box.y2 + y, size[1]), "pixels", size)


def _looks_upright(lines: Sequence[OcrLine]) -> bool:
    characters = sum(len(line.text) for line in lines)
    return characters == 0 or _upright_text(lines) >= _SURE * characters


def _upright_text(lines: Sequence[OcrLine]) -> float:
    """Characters times confidence, of lines that run along the page, or down it in a script that does."""
    return sum(len(line.text) * line.score for line in lines if not _on_its_side(line))


def _on_its_side(line: OcrLine) -> bool:
    box = line.box
    tall = box.y2 - box.y1 > _ASPECT * (box.x2 - box.x1)
    return tall and len(line.text) > 2 and not has_ideographs(line.text)
