"""Images whose objects are known."""

from collections.abc import Sequence
from typing import Any

from step3vl.data.sample import Box
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject
from step3vl.pipelines.render.style import plain

IMAGE = encode_jpeg(plain((400, 400), (220, 220, 220)))


def grounded_image(objects: Sequence[tuple[Any, ...]], **fields: Any) -> GroundedImage:
    """An image of 400 x 400 pixels with objects `(label, x1, y1, x2, y2)`, or `(label, ..., attributes)`."""
    items = []
    for label, x1, y1, x2, y2, *attributes in objects:
        box = Box(x1, y1, x2, y2, "pixels", (400, 400))
        items.append(
            GroundedObject(
                label=label,
                box=(x1, y1, x2, y2),
                point=(box.centre.x, box.centre.y),
                spots=(box.milli(),),
                attributes=attributes[0] if attributes else {},
            )
        )
    fields = {"complete": sorted({item.label for item in items}), "subject": "photo", **fields}
    return GroundedImage(image=IMAGE, objects=tuple(items), licence="CC0-1.0", origin="t", **fields)
