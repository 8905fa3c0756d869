"""Masks: their boxes, a point well inside, and the rectangles that make them up.

A mask may be that of a window of an image only, whose top left pixel is then its `origin`.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from step3vl.data.sample import Box, Point, Size
from step3vl.data.sample.truth import MilliBox
from step3vl.pipelines.grounding.conventions import Polygon, box_of_polygons

Mask = npt.NDArray[np.bool_]
_GRID = 24  # cells across and down, at which rectangles approximate a mask
_MIN_CELL = 0.99  # of a cell that lies on the mask
_SOLID = 0.7  # of a mask that is wider than slivers
_SHIFT = 4  # bits
_SUBPIXELS = 2**_SHIFT


def box_of_mask(mask: Mask, size: Size, origin: tuple[int, int] = (0, 0)) -> Box | None:
    """The exact box of a mask in pixels; None of an empty one.

    Args:
        mask: Rows by columns.
        size: Width and height of the image.
        origin: x and y of the mask's top left pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    x, y = origin
    x1, x2 = float(x + columns[0]), float(x + columns[-1] + 1)
    return Box(x1, float(y + rows[0]), x2, float(y + rows[-1] + 1), "pixels", size)


def point_in_mask(mask: Mask, size: Size, origin: tuple[int, int] = (0, 0)) -> Point:
    """The centre of the pixel that is furthest from the border of a mask, which is well inside of even a ring.

    Args:
        mask: Rows by columns, not empty.
        size: Width and height of the image.
        origin: x and y of the mask's top left pixel.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # Squared, distances are whole numbers: rounding errors, which differ from run to run, choose among no equals.
    row, column = np.unravel_index(int(np.rint(distance**2).argmax()), distance.shape)
    return Point(origin[0] + float(column) + 0.5, origin[1] + float(row) + 0.5, "pixels", size)


def spots_of_mask(mask: Mask, size: Size, origin: tuple[int, int] = (0, 0)) -> tuple[MilliBox, ...]:
    """Rectangles in 0..1000 that lie on a mask and cover most of it, at most a few dozen.

    A point in one of them is on the object; so a question for a point is graded by the mask, not by the box. The point
    of `point_in_mask` is in one of them.

    Args:
        mask: Rows by columns, not empty.
        size: Width and height of the image.
        origin: x and y of the mask's top left pixel.
    """
    box = box_of_mask(mask, size)
    if box is None:
        raise ValueError("an empty mask has no spots")
    mask = _without_slivers(mask)
    x1, y1, x2, y2 = int(box.x1), int(box.y1), int(box.x2), int(box.y2)
    xs = np.linspace(x1, x2, min(_GRID, x2 - x1) + 1).round().astype(int)
    ys = np.linspace(y1, y2, min(_GRID, y2 - y1) + 1).round().astype(int)
    sums = np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    corners = sums[np.ix_(ys, xs)]
    inside = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    cells = inside >= _MIN_CELL * np.outer(np.diff(ys), np.diff(xs))
    spots = [(float(xs[a]), float(ys[b]), float(xs[c]), float(ys[d])) for a, b, c, d in _rectangles(cells)]
    best = point_in_mask(mask, size)
    if not any(left <= best.x <= right and top <= best.y <= bottom for left, top, right, bottom in spots):
        spots.append((best.x - 0.5, best.y - 0.5, best.x + 0.5, best.y + 0.5))
    x, y = origin
    boxes = (Box(a + x, b + y, c + x, d + y, "pixels", size).milli() for a, b, c, d in spots)
    return tuple(sorted(set(boxes)))


def _without_slivers(mask: Mask) -> Mask:
    """A mask without what is one or two pixels wide, unless that is much of it: nobody points at a sliver."""
    padded = np.pad(mask.astype(np.uint8), 1)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))[1:-1, 1:-1].astype(bool)
    return opened if opened.sum() >= _SOLID * mask.sum() else mask


def _rectangles(cells: Mask) -> list[tuple[int, int, int, int]]:
    """Runs of cells, those of the same columns in rows below each other joined: left, top, right, bottom."""
    open_runs: dict[tuple[int, int], int] = {}
    rectangles = []
    for row in range(len(cells) + 1):
        runs: set[tuple[int, int]] = set()
        if row < len(cells):
            edges = np.flatnonzero(np.diff(np.pad(cells[row].astype(np.int8), 1)))
            runs = {(int(left), int(right)) for left, right in zip(edges[::2], edges[1::2], strict=True)}
        for run in sorted(set(open_runs) - runs):
            rectangles.append((run[0], open_runs.pop(run), run[1], row))
        for run in runs:
            open_runs.setdefault(run, row)
    return rectangles


def mask_of_polygons(polygons: Sequence[Polygon], size: Size) -> tuple[Mask, tuple[int, int]]:
    """The mask of an object's polygons in the window that they take of the image, and the window's origin.

    Where two polygons overlap, both count. The mask is empty where they lie outside of the image.

    Args:
        polygons: In pixels.
        size: Width and height of the image.
    """
    box = box_of_polygons(polygons, size)
    x1, y1 = max(math.floor(box.x1), 0), max(math.floor(box.y1), 0)
    x2, y2 = min(math.ceil(box.x2), size[0]), min(math.ceil(box.y2), size[1])
    if x2 <= x1 or y2 <= y1:
        return np.zeros((1, 1), bool), (0, 0)
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    limit = 4 * max(size)
    for polygon in polygons:
        # OpenCV's corners are centres of pixels, so one between two pixels is half a pixel further on.
        corners = np.clip(np.asarray(polygon, np.float64).reshape(-1, 2) - 0.5 - (x1, y1), -limit, limit)
        cv2.fillPoly(mask, [np.round(corners * _SUBPIXELS).astype(np.int32)], 1, shift=_SHIFT)
    return mask.astype(bool), (x1, y1)
