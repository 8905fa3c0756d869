"""Whether a box is that of something on a screenshot, told from the pixels alone.

The side of a right box follows an edge, such as a border or the end of a filled area, or lies in a margin, so that
nothing changes along it. The side of a box that is shifted or too large or small cuts through letters, icons or the
edges of other elements.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.sample import Box

Pixels = npt.NDArray[np.int16]
"""Rows, columns, channels."""
_JUMP = 40  # levels between two pixels along a side that cuts through something
_EDGE = 20  # levels across a side that follows an edge
_FOLLOWS = 0.6  # of a side
_REACH = 2  # pixels by which a side may be off: answers are in thousandths
_CORNER = 3  # pixels at the ends of a side that do not count: borders, round corners
_INK = 16  # levels between the darkest and the brightest pixel of a box that holds something


def unclear_sides(image: PILImage.Image, box: Box) -> int:
    """How many sides of a box, 0..4, neither follow an edge nor lie in a margin; 4 for a box with nothing in it.

    Args:
        image: The screenshot.
        box: In any space.
    """
    pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    place = box.to("pixels")
    x1, y1, x2, y2 = (round(value) for value in (place.x1, place.y1, place.x2, place.y2))
    inside = pixels[y1:y2, x1:x2].reshape(-1, 3)
    if not len(inside) or int((inside.max(0) - inside.min(0)).max()) < _INK:
        return 4
    turned = pixels.transpose(1, 0, 2)
    upright, level = ((x1, -1), (x2 - 1, 1)), ((y1, -1), (y2 - 1, 1))
    unclear = [not _is_clear(pixels, at, y1, y2, outwards) for at, outwards in upright]
    unclear += [not _is_clear(turned, at, x1, x2, outwards) for at, outwards in level]
    return sum(unclear)


def _is_clear(pixels: Pixels, column: int, first: int, last: int, outwards: int) -> bool:
    """Whether the side of a box, from a first row to a last, is explained by what is seen there."""
    end = pixels.shape[1] - 1
    corner = min(_CORNER, (last - first) // 4)
    for at in range(column - _REACH, column + _REACH + 1):
        beside = at + outwards
        if not 0 < at < end or not 0 <= beside <= end:
            return True  # at the end of the screen
        across = np.abs(pixels[first:last, at] - pixels[first:last, at - 1]).max(-1)
        if (across > _EDGE).mean() >= _FOLLOWS:
            return True
        along = pixels[first + corner : last - corner, [at, beside]]
        if np.abs(np.diff(along, axis=0)).max(initial=0) <= _JUMP:
            return True
    return False
