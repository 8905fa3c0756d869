"""Images of the report's examples, with the positions of the truth and of the answers marked."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from step3vl.data.sample import upright
from step3vl.grading import parse_boxes, parse_points

TRUTH_COLOUR = "#22b573"
MODEL_COLOURS = ("#3f83f8", "#e8853a", "#c44bd1", "#e5484d", "#12a5b8")
"""Of the models, in order; the page shows the same beside each answer."""
MIN_SIDE, MAX_SIDE = 240, 640
"""Pixels of the longer side: smaller images are enlarged to at least the first, larger ones reduced to the second."""


def annotate_image(path: Path, truth: Mapping[str, Any] | None, answers: Sequence[str]) -> str:
    """Mark boxes of the truth, and boxes and points in the answers, on an image.

    Args:
        path: The image file.
        truth: The sample's truth as JSON; its ``boxes`` have milli coordinates.
        answers: The models' answers without reasoning, in the order of ``MODEL_COLOURS``.

    Returns:
        The image as a ``data:`` URL.
    """
    image = _resize(upright(path))
    canvas = ImageDraw.Draw(image)
    for box in (truth or {}).get("boxes", ()):
        canvas.rectangle(_pixels(box, image.size), outline=TRUTH_COLOUR, width=3)
    for number, answer in enumerate(answers):
        colour = MODEL_COLOURS[number % len(MODEL_COLOURS)]
        for answer_box in parse_boxes(answer):
            corners = (answer_box.x1, answer_box.y1, answer_box.x2, answer_box.y2)
            canvas.rectangle(_pixels(corners, image.size), outline=colour, width=2)
        for point in parse_points(answer):
            x, y = _pixels((point.x, point.y), image.size)
            canvas.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour, outline="white", width=2)
    return data_url(image)


def data_url(image: Image.Image) -> str:
    """The image as a ``data:`` URL: PNG for few colours, JPEG for photographs."""
    buffer = io.BytesIO()
    if image.getcolors(4096):
        image.save(buffer, format="PNG", optimize=True)
        kind = "png"
    else:
        image.save(buffer, format="JPEG", quality=88)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _resize(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest < MIN_SIDE:
        factor = -(-MIN_SIDE // longest)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return image


def _pixels(numbers: Sequence[float], size: tuple[int, int]) -> tuple[float, ...]:
    """Milli coordinates, x before y, as pixels of an image of ``size``; what lies outside is moved to its edge."""
    return tuple(min(max(value, 0), 1000) / 1000 * (size[index % 2] - 1) for index, value in enumerate(numbers))
