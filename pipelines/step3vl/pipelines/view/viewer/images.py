"""Encoded images as browsers read them."""

import io

from step3vl.data.sample.crops import ImageError
from step3vl.data.sample.images import open_image, to_rgb
from step3vl.data.sample.parts import FORMAT, require_pixels
from step3vl.pipelines.view.viewer.scan import Missing

_NATIVE = frozenset({"jpeg", "png", "webp", "gif", "bmp", "avif"})


def for_browsers(data: bytes) -> tuple[bytes, str]:
    """The bytes of an image and their media type; unchanged where browsers read the format, else as PNG.

    Raises:
        Missing: The bytes are no image, or one of too many pixels.
    """
    try:
        image = open_image(data)
        require_pixels(image)
        name = FORMAT.get(image.format or "")
        if name in _NATIVE:
            return data, f"image/{name}"
        buffer = io.BytesIO()
        to_rgb(image).save(buffer, "PNG")
    except ImageError as error:
        raise Missing(str(error)) from None
    return buffer.getvalue(), "image/png"
