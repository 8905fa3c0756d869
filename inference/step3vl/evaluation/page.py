"""The comparison as one HTML page that refers to no other file."""

import base64
import io
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

from step3vl.data.optional import require
from step3vl.evaluation.comparison import Comparison, Row
from step3vl.evaluation.paper import paper_tables

_IMAGE_SIDE = 640
"""Pixels to which images of examples are reduced."""


def render_comparison(comparison: Comparison) -> str:
    """Render the page.

    Args:
        comparison: What it shows.

    Raises:
        UserError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", "client")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("step3vl.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"image_url": _image_url, "signed": _signed, "number": _number}
    return environment.get_template("comparison.html.j2").render(
        comparison=comparison,
        tables=[table for table in paper_tables()["tables"] if _rows_of(table["table"], comparison.rows)],
        rows_of=lambda table: _rows_of(table, comparison.rows),
        pacore=pacore_pairs(comparison),
    )


def _rows_of(table: int, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if any(number.table == table for number in row.paper)]


def pacore_pairs(comparison: Comparison) -> list[tuple[int, int]]:
    """Pairs of runs of the same model, as indexes: sequential reasoning, and PaCoRe."""
    pairs = []
    for first, name in enumerate(comparison.runs):
        for second, other in enumerate(comparison.runs):
            if other.startswith(f"{name} + PaCoRe"):
                pairs.append((first, second))
    return pairs


def _image_url(data: bytes) -> str:
    """A data URL of an image, reduced; empty for what cannot be decoded."""
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return ""
    image.thumbnail((_IMAGE_SIDE, _IMAGE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
