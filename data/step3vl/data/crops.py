"""From a picture's size to its crops and its token count: pure arithmetic, no pixels.

The rule is that of the released image processor: a global view squashed to a square, and local crops cut from a canvas
whose sides are snapped to multiples of a window. Its float comparisons are kept as they were written, because
checkpoints were trained on their outcome.
"""

import math
from typing import NamedTuple

from step3vl.data.config import Config
from step3vl.data.geometry import Size

STRIP_SIDE = 32  # a picture thinner than this and longer than 4:1 is padded to a square first
STRIP_RATIO = 4
SMALL_RATIO = 1.5  # a small picture is cut only when it is longer than this
LONG_RATIO = 4  # beyond it the window shrinks to the short side
SNAP = 0.2  # a remainder larger than this fraction of a window earns one more window


class ImageSpec(Config):
    """Sizes in pixels. The defaults are the released model's; the tiny model has smaller numbers.

    `max_crops` bounds what a single picture may cost: the released rule lets a 3024x1 picture explode into 3,024
    crops.
    """

    image_size: int = 728
    crop_size: int = 504
    patch_size: int = 14
    max_side: int = 3024
    max_crops: int = 100

    @property
    def image_tokens(self) -> int:
        """Tokens of the global view: 169 for the released model."""
        return _tokens(self.image_size // self.patch_size)

    @property
    def crop_tokens(self) -> int:
        """Tokens of one crop: 81 for the released model."""
        return _tokens(self.crop_size // self.patch_size)


class CropPlan(NamedTuple):
    """How a picture is cut.

    padded: side of the black square that a thin strip is pasted onto, or None.
    resized: the picture's size after the cap on its long side; the global view is made from this.
    canvas: the size it is stretched to before cutting; equal to `resized` when nothing is cut.
    window: side of a crop on the canvas, 0 when there are no crops.
    boxes: the crops on the canvas as x1, y1, x2, y2, row by row; they may reach past the canvas (black there).
    newlines: for each crop, whether a row of crops ends with it (the last row has none).
    tokens: all tokens of the picture, wrappers included.
    """

    padded: int | None
    resized: Size
    canvas: Size
    window: int
    boxes: tuple[tuple[int, int, int, int], ...]
    newlines: tuple[bool, ...]
    tokens: int


def _tokens(grid: int) -> int:
    """Tokens after two 3x3 convolutions of stride 2 and padding 1 over a square grid."""
    side = math.ceil(math.ceil(grid / 2) / 2)
    return side * side


def _window(width: int, height: int, spec: ImageSpec) -> int:
    long, short = max(width, height), min(width, height)
    if long <= spec.image_size:
        return short if long / short > SMALL_RATIO else 0
    return min(short, spec.crop_size) if long / short > LONG_RATIO else spec.crop_size


def _snap(side: int, window: int) -> int:
    ratio = side / window
    if ratio < 1:
        return side
    windows = int(ratio) + 1 if ratio - side // window > SNAP else int(ratio)
    return window * windows


def _starts(side: int, window: int) -> list[int]:
    if side <= window:
        return [0]
    count = math.ceil((side - window) / window + 1)
    return [min(index * window, side - window) for index in range(count)]


def plan_crops(width: int, height: int, spec: ImageSpec) -> CropPlan:
    """Plan the crops of a picture of `width` x `height` pixels.

    Raises ValueError when the picture would need more than `spec.max_crops` crops, or vanishes under the cap on its
    side.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    padded = None
    if min(width, height) < STRIP_SIDE and max(width, height) / min(width, height) > STRIP_RATIO:
        padded = max(width, height)
    base = (padded, padded) if padded else (width, height)
    resized = base
    if max(base) > spec.max_side:
        scale = spec.max_side / max(base)
        resized = (int(base[0] * scale), int(base[1] * scale))
        if min(resized) < 1:
            raise ValueError(
                f"a picture of {width}x{height} pixels vanishes when its long side is cut to {spec.max_side}"
            )
    window = _window(*resized, spec)
    if window == 0:
        return CropPlan(padded, resized, resized, 0, (), (), spec.image_tokens + 2)

    canvas = (_snap(resized[0], window), _snap(resized[1], window))
    columns, rows = _starts(canvas[0], window), _starts(canvas[1], window)
    count = len(columns) * len(rows)
    if count > spec.max_crops:
        raise ValueError(
            f"a picture of {width}x{height} pixels needs {count} crops, more than max_crops={spec.max_crops}; "
            "cut it or raise max_crops"
        )
    boxes = tuple((x, y, x + window, y + window) for y in rows for x in columns)
    newlines = tuple(
        column == len(columns) - 1 and row < len(rows) - 1
        for row in range(len(rows))
        for column in range(len(columns))
    )
    tokens = count * (spec.crop_tokens + 2) + sum(newlines) + spec.image_tokens + 2
    return CropPlan(padded, resized, canvas, window, boxes, newlines, tokens)
