"""Pictures of the report: what a question showed, with the places of its truth and of the answers drawn in."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from step3vl.data.pictures import upright
from step3vl.data.truth import parse_boxes, parse_points

TRUTH = "#22b573"
COLOURS = ("#3f83f8", "#e8853a", "#c44bd1", "#e5484d", "#12a5b8")
"""One for each model, in order; the page shows the same beside each answer."""
SHORT, LONG = 240, 640
"""Pixels of the shown picture: small ones are enlarged to the first, large ones reduced to the second."""


def drawn(path: Path, truth: dict[str, Any] | None, answers: Sequence[str]) -> str:
    """The picture as a ``data:`` address, with boxes (milli coordinates) of the truth and places in the answers."""
    picture = _sized(upright(path))
    draw = ImageDraw.Draw(picture)
    for box in (truth or {}).get("boxes", ()):
        draw.rectangle(_pixels(box, picture.size), outline=TRUTH, width=3)
    for number, answer in enumerate(answers):
        colour = COLOURS[number % len(COLOURS)]
        for found in parse_boxes(answer):
            draw.rectangle(_pixels((found.x1, found.y1, found.x2, found.y2), picture.size), outline=colour, width=2)
        for point in parse_points(answer):
            x, y = _pixels((point.x, point.y), picture.size)
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour, outline="white", width=2)
    return encoded(picture)


def encoded(picture: Image.Image) -> str:
    """A ``data:`` address: PNG for few colours, JPEG for photographs."""
    buffer = io.BytesIO()
    if picture.getcolors(4096):
        picture.save(buffer, format="PNG", optimize=True)
        kind = "png"
    else:
        picture.save(buffer, format="JPEG", quality=88)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _sized(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    if longest < SHORT:
        factor = -(-SHORT // longest)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((LONG, LONG))
    return picture


def _pixels(numbers: Sequence[float], size: tuple[int, int]) -> tuple[float, ...]:
    """Milli coordinates, x before y, on a picture of ``size``; what lies outside is moved to its edge."""
    return tuple(min(max(value, 0), 1000) / 1000 * (size[place % 2] - 1) for place, value in enumerate(numbers))
