"""One geometric map from a sheet to an image of it: the pixels and the boxes go through the same one.

A sheet may bend, as a page of a book does, and is then seen in perspective. Both are inverted exactly, so that the
image is sampled by the inverse of what moves the boxes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.sample import Size

Floats = npt.NDArray[np.float64]
Corners = Sequence[tuple[float, float]]
"""Top left, top right, bottom right, bottom left, in pixels."""

_CELL = 8  # pixels of the mesh that the map is computed on; between its nodes it is linear


@dataclass(frozen=True)
class Bend:
    """How a sheet leaves its plane: its points move up or down by a wave along its width.

    Attributes:
        height: Of the wave, as a fraction of the sheet's width.
        waves: Half periods over the width.
        phase: Where the wave begins, in radians.
    """

    height: float = 0.0
    waves: float = 1.0
    phase: float = 0.0

    def shift(self, x: Floats, width: float) -> Floats:
        """How far points move downwards, in pixels."""
        return self.height * width * np.sin(self.phase + math.pi * self.waves * x / width)


class Warp:
    """The map from the pixels of a sheet to those of an image.

    Args:
        sheet: Size of the sheet.
        image: Size of the image.
        corners: Where the corners of the sheet come to lie, before it bends.
        bend: How it bends.
    """

    def __init__(self, sheet: Size, image: Size, corners: Corners, bend: Bend | None = None) -> None:
        self.sheet, self.image = sheet, image
        self._bend = bend or Bend()
        width, height = sheet
        self._matrix = _homography([(0, 0), (width, 0), (width, height), (0, height)], corners)
        self._inverse = np.asarray(np.linalg.inv(self._matrix), np.float64)

    def forward(self, points: Floats) -> Floats:
        """Where points (N, 2) of the sheet lie in the image."""
        bent = points.astype(np.float64)
        bent[:, 1] += self._bend.shift(bent[:, 0], self.sheet[0])
        return _project(self._matrix, bent)

    def backward(self, points: Floats) -> Floats:
        """Where points (N, 2) of the image lie on the sheet."""
        flat = _project(self._inverse, points)
        flat[:, 1] -= self._bend.shift(flat[:, 0], self.sheet[0])
        return flat

    def outline(self, box: tuple[float, float, float, float]) -> Floats:
        """The outline (N, 2) in the image of a box on the sheet; its long sides may be curves."""
        x1, y1, x2, y2 = box
        xs = np.linspace(x1, x2, 9)
        top, bottom = np.stack([xs, np.full(9, y1)], 1), np.stack([xs, np.full(9, y2)], 1)
        return self.forward(np.concatenate([top, bottom[::-1]]))

    def sampling(self) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
        """For each pixel of the image the place on the sheet that it shows, in the fixed-point form of OpenCV.

        Fixed-point numbers give the same pixels on every processor.
        """
        width, height = self.image
        columns, rows = -(-width // _CELL) + 2, -(-height // _CELL) + 2
        # The nodes lie where a resize by _CELL puts the centres of its source pixels; one more on each side.
        xs, ys = (np.arange(columns) - 0.5) * _CELL - 0.5, (np.arange(rows) - 0.5) * _CELL - 0.5
        nodes = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        # The centre of pixel (i, j) is the point (i + 0.5, j + 0.5).
        places = (self.backward(nodes + 0.5) - 0.5).reshape(rows, columns, 2).round(3).astype(np.float32)
        full = cv2.resize(places, (columns * _CELL, rows * _CELL), interpolation=cv2.INTER_LINEAR)
        full = np.ascontiguousarray(full[_CELL : _CELL + height, _CELL : _CELL + width])
        fixed, fractions = cv2.convertMaps(full, None, cv2.CV_16SC2)
        return fixed, fractions


def apply(
    pixels: npt.NDArray[np.uint8], sampling: tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]
) -> npt.NDArray[np.uint8]:
    """The image of a sheet's pixels; 0 where there is no sheet."""
    return np.asarray(cv2.remap(pixels, *sampling, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)


def quarter_turned(image: PILImage.Image, turns: int) -> PILImage.Image:
    """An image turned clockwise by quarters."""
    turn = PILImage.Transpose
    return image.transpose((turn.ROTATE_270, turn.ROTATE_180, turn.ROTATE_90)[turns - 1]) if turns else image


def _homography(source: Corners, target: Corners) -> Floats:
    """The matrix (3, 3) that takes four points to four points."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solution = np.linalg.solve(np.array(rows, float), np.array(values, float))
    return np.append(solution, 1.0).reshape(3, 3)


def _project(matrix: Floats, points: Floats) -> Floats:
    lifted = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(lifted[:, :2] / lifted[:, 2:], np.float64)
