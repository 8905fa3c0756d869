"""From an image's size to its crops and its token count: pure arithmetic, no pixels.

The rule is that of the released image processor: a global view resized to a square, and local crops cut from a canvas
whose sides are snapped to multiples of a window. Its float comparisons are kept as they were written, because
checkpoints were trained on their outcome. The released rule has no limits; ours are `max_crops`, `max_pixels` and
`max_tokens`, and an image that exceeds them is refused, never shrunk implicitly.
"""

import math
from typing import Annotated, NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample.geometry import Size

Level = Annotated[int, Field(ge=0, le=255)]
"""A channel's value of a colour of 8 bits."""

STRIP_SIDE = 32  # an image thinner than this and longer than 4:1 is padded to a square first
STRIP_RATIO = 4
SMALL_RATIO = 1.5  # a small image is cut only when it is longer than this
LONG_RATIO = 4  # beyond it the window shrinks to the short side
WHITE = (255, 255, 255)
SNAP = 0.2  # a remainder larger than this fraction of a window adds one more window


class ImageError(UserError, ValueError):
    """Data that is not an image, or an image that exceeds a limit."""


class ImageSpec(Config):
    """Sizes of images and crops, and the limits of a single image. The defaults are the released model's sizes.

    The four sizes determine how many tokens an image becomes, the limits only whether it is accepted, and the
    background only its pixels.
    """

    image_size: int = Field(default=728, gt=0)
    """Side of the global view, in pixels."""

    crop_size: int = Field(default=504, gt=0)
    """Side of a crop, in pixels."""

    patch_size: int = Field(default=14, gt=0)
    """Side of a patch of the vision encoder, in pixels."""

    max_side: int = Field(default=3024, gt=0)
    """The long side is shrunk to this many pixels."""

    max_crops: int = Field(default=100, ge=0)
    """Limit of crops; the released rule turns a 100000x40 image into 3,024 crops."""

    max_pixels: int = Field(default=1 << 26, gt=0)
    """Limit of pixels, also of the black square that a thin strip is pasted onto; four bytes each in memory."""

    max_tokens: int = Field(default=1 << 14, gt=0)
    """Limit of tokens, wrappers included; below 8,570, which 100 released crops can reach, it applies first."""

    background: tuple[Level, Level, Level] | None = WHITE
    """RGB colour behind transparent pixels, white as in vLLM; None drops alpha, as the released processor does."""

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """What an image's tokens depend on: image, crop and patch size, and the limit of its long side."""
        return self.image_size, self.crop_size, self.patch_size, self.max_side

    def accepts(self, other: "ImageSpec") -> bool:
        """Whether this spec accepts every image that `other` accepts, with the same tokens."""
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
    """How an image is cut.

    Attributes:
        padded: Side of the black square that a thin strip is pasted onto, or None.
        resized: Size of the image after its long side is limited; the global view is made from this.
        canvas: Size that it is resized to before cutting; equal to `resized` when nothing is cut.
        window: Side of a crop on the canvas, 0 when there are no crops.
        boxes: The crops on the canvas as x1, y1, x2, y2, row by row; they may reach past the canvas (black there).
        newlines: For each crop, whether a row of crops ends with it (the last row has none).
        tokens: All tokens of the image, wrappers included.
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
    """Plan the crops of an image.

    Args:
        width: Pixels.
        height: Pixels.
        spec: Sizes and limits.

    Raises:
        ImageError: The image exceeds a limit of `spec`, or vanishes when its long side is shrunk. It is a ValueError.
    """
    description = f"an image of {width}x{height} pixels"
    if width < 1 or height < 1:
        raise ImageError(f"{description} has no area: give one that shows something")
    padded = None
    if min(width, height) < STRIP_SIDE and max(width, height) / min(width, height) > STRIP_RATIO:
        padded = max(width, height)
    base = (padded, padded) if padded else (width, height)
    if base[0] * base[1] > spec.max_pixels:
        square = f", on its black square of {padded}x{padded}," if padded else ""
        raise ImageError(
            f"{description}{square} is more than max_pixels={spec.max_pixels}: shrink or cut it, or raise max_pixels"
        )
    resized = base
    if max(base) > spec.max_side:
        scale = spec.max_side / max(base)
        resized = (int(base[0] * scale), int(base[1] * scale))
        if min(resized) < 1:
            raise ImageError(
                f"{description} vanishes when its long side is shrunk to max_side={spec.max_side}: cut it into "
                "shorter pieces"
            )
    window = _window(*resized, spec)
    if window == 0:
        return _check_tokens(CropPlan(padded, resized, resized, 0, (), (), spec.image_tokens + 2), description, spec)

    canvas = (_snap(resized[0], window), _snap(resized[1], window))
    columns, rows = _starts(canvas[0], window), _starts(canvas[1], window)
    count = len(columns) * len(rows)
    if count > spec.max_crops:
        raise ImageError(
            f"{description} needs {count} crops, more than max_crops={spec.max_crops}: cut it or raise max_crops"
        )
    boxes = tuple((x, y, x + window, y + window) for y in rows for x in columns)
    newlines = tuple(
        column == len(columns) - 1 and row < len(rows) - 1
        for row in range(len(rows))
        for column in range(len(columns))
    )
    tokens = count * (spec.crop_tokens + 2) + sum(newlines) + spec.image_tokens + 2
    return _check_tokens(CropPlan(padded, resized, canvas, window, boxes, newlines, tokens), description, spec)


def _check_tokens(plan: CropPlan, description: str, spec: ImageSpec) -> CropPlan:
    if plan.tokens > spec.max_tokens:
        raise ImageError(
            f"{description} becomes {plan.tokens} tokens, more than max_tokens={spec.max_tokens}: shrink or cut it, "
            "or raise max_tokens"
        )
    return plan
