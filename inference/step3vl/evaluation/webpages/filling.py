"""A screenshot without its texts, made in a worker process: it takes long where a page is large and full of text."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from step3vl.data.optional import require

_RADIUS = 3  # pixels around a text that its filling is taken from, as in the official code


def fill_texts(source: str, blocks: Sequence[Any], target: str) -> None:
    """Fill the blocks of text of a screenshot from around them, and squeeze it into a square of its shorter side.

    Args:
        source: The file of the screenshot.
        blocks: Rows of `blocks.Block`.
        target: The file that is written, a PNG.
    """
    cv2 = require("cv2", "pipelines")
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    mask = np.zeros((height, width), np.uint8)
    for x, y, right, bottom in _pixels(blocks, width, height):
        mask[y:bottom, x:right] = 255
    filled = cv2.inpaint(np.asarray(image), mask, _RADIUS, cv2.INPAINT_TELEA) if mask.any() else np.asarray(image)
    side = min(width, height)
    Image.fromarray(filled).resize((side, side), Image.Resampling.LANCZOS).save(target, "PNG", compress_level=1)


def _pixels(blocks: Sequence[Any], width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [
        (int(x * width), int(y * height), math.ceil((x + wide) * width), math.ceil((y + high) * height))
        for _, x, y, wide, high, _ in blocks
    ]
