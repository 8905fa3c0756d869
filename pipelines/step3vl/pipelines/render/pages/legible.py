"""The proof that a text can be read where its box says: ink is there, it contrasts, and no other text lies over it."""

from collections.abc import Sequence

import numpy as np

from step3vl.data.sample import Box
from step3vl.pipelines.render.pages.camera import Shot
from step3vl.pipelines.render.pages.sheet import TextLine

_OVERLAP = 0.2  # of the smaller of two boxes of ink, which accents and descenders of close lines may share
_FULL, _FREE = 150, 10  # of the ink mask: what is ink, what is none
_FEW = 3  # pixels


def overlaps(lines: Sequence[TextLine]) -> bool:
    """Whether two texts of a sheet lie over each other."""
    if len(lines) < 2:
        return False
    boxes = np.array([line.box for line in lines])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    wide = np.minimum(boxes[:, None, 2], boxes[None, :, 2]) - np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    high = np.minimum(boxes[:, None, 3], boxes[None, :, 3]) - np.maximum(boxes[:, None, 1], boxes[None, :, 1])
    shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
    np.fill_diagonal(shared, 0)
    return bool((shared > _OVERLAP * np.minimum(areas[:, None], areas[None, :])).any())


def inside(box: Box) -> bool:
    """Whether a box lies in its image."""
    return box.x1 >= 0 and box.y1 >= 0 and box.x2 <= box.size[0] and box.y2 <= box.size[1]


def contrast(shot: Shot, boxes: Sequence[Box]) -> float:
    """The least contrast of the texts in boxes: how far the grey of their ink is from that around it, 0..1.

    Where the ground is uneven, its deviation is taken off. 0 where there is no ink.
    """
    grey = np.asarray(shot.image.convert("L"))  # sums of integers are the same on every processor
    least = 1.0
    for box in boxes:
        window = np.s_[max(0, int(box.y1)) : int(box.y2) + 1, max(0, int(box.x1)) : int(box.x2) + 1]
        pixels, ink = grey[window], shot.ink[window]
        text, ground = pixels[ink >= min(_FULL, 0.7 * float(ink.max(initial=0)))], pixels[ink <= _FREE]
        if int(ink.max(initial=0)) < _FREE or text.size < _FEW:
            return 0.0
        if ground.size >= _FEW:
            difference = abs(float(text.mean()) - float(ground.mean())) - float(ground.std()) / 2
            least = min(least, difference / 255)
    return max(0.0, least)
