"""What changed between two screenshots, told from the pixels alone: where, and how far the view was scrolled."""

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.sample import Box

Rows = npt.NDArray[np.float32]
_DIFFERENT = 48  # levels: more than JPEG makes of the same pixels
_LEAST = 4  # pixels of a row or column that differ, for it to be part of a change
_COLUMNS = 48  # that rows are compared by
_FEWEST = 24  # rows that must be on both screens
_SHARE = 0.15  # of what is on the screens, that must be found again at the other height
_OTHERWISE = 0.8  # of that, which another move may find as well


def changed_box(before: PILImage.Image, after: PILImage.Image) -> Box | None:
    """The box around all that differs between two screenshots of one size; None where nothing does."""
    first, second = (np.asarray(image.convert("RGB")).astype(np.int16) for image in (before, after))
    if first.shape != second.shape:
        return None
    differs = np.abs(first - second).max(-1) > _DIFFERENT
    rows, columns = (np.nonzero(differs.sum(axis) >= _LEAST)[0] for axis in (1, 0))
    if not len(rows) or not len(columns):
        return None
    x1, y1, x2, y2 = (int(value) for value in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return Box(x1, y1, x2, y2, "pixels", after.size)


def scrolled_down(before: PILImage.Image, after: PILImage.Image) -> int | None:
    """By how many pixels the view moved down, so that what is in it moved up; negative for upwards.

    None where what changed is not the same content at another height.
    """
    box = changed_box(before, after)
    if box is None:
        return None
    area = (round(box.x1), round(box.y1), round(box.x2), round(box.y2))
    first, second = _contents(before, area), _contents(after, area)
    most = len(first) - _FEWEST
    matches = {down: _found_again(first, second, down) for down in range(-most, most + 1)}
    best = max(matches, key=lambda down: (matches[down], -abs(down)), default=0)
    if not best or matches[best] <= 0:
        return None
    others = max(matches[down] for down in matches if down * best <= 0)
    is_clear = matches[best] >= _SHARE * _found_again(first, first, 0) and others < _OTHERWISE * matches[best]
    return best if is_clear else None


def _contents(image: PILImage.Image, area: tuple[int, int, int, int]) -> Rows:
    """How much the rows of an area differ from its ground, in a few columns."""
    part = image.convert("L").crop(area)
    rows = np.asarray(part.resize((_COLUMNS, part.height), PILImage.Resampling.BOX)).astype(np.float32)
    return np.asarray(rows - np.median(rows))


def _found_again(first: Rows, second: Rows, down: int) -> float:
    """How much of what is in rows is in those that were as far below."""
    height = len(first)
    earlier, later = first[max(down, 0) : height + min(down, 0)], second[max(-down, 0) : height - max(down, 0)]
    return float(((np.abs(earlier) + np.abs(later)) / 2 - np.abs(earlier - later)).sum())
