"""From a picture's size to its crops and its token count: pure arithmetic, no pixels.

The rule is that of the released image processor: a global view squashed to a square, and local crops cut from a canvas
whose sides are snapped to multiples of a window. Its float comparisons are kept as they were written, because
checkpoints were trained on their outcome. The released rule has no bounds; ours are `max_crops`, `max_pixels` and
`max_tokens`, and a picture beyond them is refused, never shrunk behind the caller's back.
"""

import math
from typing import NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.geometry import Size

STRIP_SIDE = 32  # a picture thinner than this and longer than 4:1 is padded to a square first
STRIP_RATIO = 4
SMALL_RATIO = 1.5  # a small picture is cut only when it is longer than this
LONG_RATIO = 4  # beyond it the window shrinks to the short side
SNAP = 0.2  # a remainder larger than this fraction of a window earns one more window


class PictureError(UserError, ValueError):
    """A picture that is no picture, or that costs more than the limits allow."""


class ImageSpec(Config):
    """Sizes in pixels, and what a single picture may cost. The defaults are the released model's sizes.

    The four sizes decide how many tokens a picture becomes. The limits decide only whether it is taken:

    max_crops: the released rule lets a 100000x40 picture explode into 3,024 crops.
    max_pixels: decoded, or of the black square that a thin strip is pasted onto; four bytes each in memory.
    max_tokens: wrappers included; below 8,570, which 100 crops of the released size can reach, it binds first.
    """

    image_size: int = Field(default=728, gt=0)
    crop_size: int = Field(default=504, gt=0)
    patch_size: int = Field(default=14, gt=0)
    max_side: int = Field(default=3024, gt=0)
    max_crops: int = Field(default=100, ge=0)
    max_pixels: int = Field(default=1 << 26, gt=0)
    max_tokens: int = Field(default=1 << 14, gt=0)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """What decides the tokens of a picture: image, crop and patch size, and the cap on its long side."""
        return self.image_size, self.crop_size, self.patch_size, self.max_side

    def takes(self, other: "ImageSpec") -> bool:
        """Whether every picture that `other` accepts is accepted here too, and becomes the same tokens."""
        return (
            self.sizes == other.sizes
            and self.max_crops >= other.max_crops
            and self.max_pixels >= other.max_pixels
            and self.max_tokens >= other.max_tokens
        )

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

    Raises PictureError, which is a ValueError too, when the picture is beyond a limit of `spec`, or vanishes under the
    cap on its side.
    """
    named = f"a picture of {width}x{height} pixels"
    if width < 1 or height < 1:
        raise PictureError(f"{named} has no area: give one that shows something")
    padded = None
    if min(width, height) < STRIP_SIDE and max(width, height) / min(width, height) > STRIP_RATIO:
        padded = max(width, height)
    base = (padded, padded) if padded else (width, height)
    if base[0] * base[1] > spec.max_pixels:
        square = f", on its black square of {padded}x{padded}," if padded else ""
        raise PictureError(
            f"{named}{square} is more than max_pixels={spec.max_pixels}: shrink or cut it, or raise max_pixels"
        )
    resized = base
    if max(base) > spec.max_side:
        scale = spec.max_side / max(base)
        resized = (int(base[0] * scale), int(base[1] * scale))
        if min(resized) < 1:
            raise PictureError(
                f"{named} vanishes when its long side is shrunk to max_side={spec.max_side}: cut it in shorter pieces"
            )
    window = _window(*resized, spec)
    if window == 0:
        return _bounded(CropPlan(padded, resized, resized, 0, (), (), spec.image_tokens + 2), named, spec)

    canvas = (_snap(resized[0], window), _snap(resized[1], window))
    columns, rows = _starts(canvas[0], window), _starts(canvas[1], window)
    count = len(columns) * len(rows)
    if count > spec.max_crops:
        raise PictureError(
            f"{named} needs {count} crops, more than max_crops={spec.max_crops}: cut it or raise max_crops"
        )
    boxes = tuple((x, y, x + window, y + window) for y in rows for x in columns)
    newlines = tuple(
        column == len(columns) - 1 and row < len(rows) - 1
        for row in range(len(rows))
        for column in range(len(columns))
    )
    tokens = count * (spec.crop_tokens + 2) + sum(newlines) + spec.image_tokens + 2
    return _bounded(CropPlan(padded, resized, canvas, window, boxes, newlines, tokens), named, spec)


def _bounded(plan: CropPlan, named: str, spec: ImageSpec) -> CropPlan:
    if plan.tokens > spec.max_tokens:
        raise PictureError(
            f"{named} becomes {plan.tokens} tokens, more than max_tokens={spec.max_tokens}: shrink or cut it, or "
            "raise max_tokens"
        )
    return plan
