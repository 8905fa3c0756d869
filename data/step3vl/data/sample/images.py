"""Any representation of an image to an upright 8-bit RGB image; the header is read before a pixel is decoded.

Fetching a URL is left to callers, who know which hosts and folders may be read.
"""

import base64
import binascii
import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from step3vl.data.sample.crops import WHITE, CropPlan, ImageError, ImageSpec, plan_crops
from step3vl.data.sample.geometry import Size

ImageSource = Image.Image | bytes | bytearray | memoryview | str | Path | np.ndarray

# Pillow's other decoders start programs (EPS), or need further libraries.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX")
_ORIENTATION = 0x0112
_ROTATED = {5, 6, 7, 8}  # EXIF orientations that swap width and height
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_MAX_PATH = 4096
# What Pillow's readers raise for truncated or garbled bytes.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)


def open_image(source: ImageSource) -> Image.Image:
    """Open an image; encoded sources are not decoded yet.

    Args:
        source: A PIL image, bytes, a file's path, a data URL, base64 or an array. Arrays are [H, W] grey, [H, W, C]
            or, when the last axis cannot be channels, [C, H, W], with 1, 3 or 4 channels (the fourth is alpha);
            their values are uint8, uint16, bool, or floats within 0..1.

    Raises:
        ImageError: The source is not an image.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_file(io.BytesIO(source), f"data of {len(source)} bytes")
    if isinstance(source, Path):
        return _from_file(source, str(source))
    if isinstance(source, str):
        return _from_text(source)
    raise ImageError(
        f"a {type(source).__name__} is not an image: give a PIL image, bytes, a path, a data URL or an array"
    )


def upright(source: ImageSource, spec: ImageSpec | None = None) -> Image.Image:
    """Open an image and decode it as upright RGB.

    Args:
        source: See `open_image`.
        spec: Limits, checked before the image is decoded, and the background of transparent pixels.

    Raises:
        ImageError: The source is not an image, is damaged, or exceeds a limit.
    """
    image = open_image(source)
    if spec is None:
        return to_rgb(image)
    plan_image(image, spec)
    return to_rgb(image, spec.background)


def plan_image(image: Image.Image, spec: ImageSpec) -> CropPlan:
    """Plan the crops of an opened image. Raises ImageError when it exceeds a limit, before a pixel is decoded."""
    plan = plan_crops(*image.size, spec)
    size = upright_size(image)
    return plan if size == image.size else plan_crops(*size, spec)


def upright_size(image: Image.Image) -> Size:
    """Width and height after the EXIF orientation is applied. Raises ImageError as `to_rgb` does.

    The header suffices, except for a PNG without EXIF before its pixels, which is decoded to read what follows them.
    """
    width, height = image.size
    return (height, width) if _orientation(image) in _ROTATED else (width, height)


def to_rgb(image: Image.Image, background: tuple[int, int, int] | None = WHITE) -> Image.Image:
    """Decode an image, apply its EXIF orientation and convert it to RGB; an image that is all of that is returned.

    Greys of more than 8 bits are scaled, where Pillow's conversion would clip them to white: 16-bit modes from
    0..65535, mode I likewise once a value exceeds 255, mode F from 0..1 unless a value exceeds 1.

    Args:
        image: In any mode.
        background: The colour that transparent pixels are composited over, whether alpha is a channel, in the palette
            or a key colour. None drops alpha, which uncovers colours that nobody sees.

    Raises:
        ImageError: The pixels cannot be decoded.
    """
    with _decoding():
        image.load()
        if _orientation(image) > 1:
            image = ImageOps.exif_transpose(image)
        return _as_rgb(image, background)


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise ImageError(f"the image cannot be decoded, its file is damaged or truncated: {error}") from None


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        with _decoding():
            image.load()  # as Pillow's getexif does, where a failure would look like damaged metadata
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1  # damaged metadata; the pixels may be intact, and viewers show them as stored
    return orientation if orientation in range(1, 9) else 1


def _as_rgb(image: Image.Image, background: tuple[int, int, int] | None) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _eight_bits(np.asarray(image)).convert("RGB")
    if mode == "LAB":
        return ImageCms.profileToProfile(  # type: ignore[return-value] # None only when it works in place
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    if not image.has_transparency_data:
        return image if mode == "RGB" else image.convert("RGB")
    straight = image.convert("LA") if mode == "La" else image  # Pillow has no direct way
    rgba = straight.convert("RGBA")
    if background is None:
        return rgba.convert("RGB")
    canvas = Image.new("RGB", rgba.size, background)
    canvas.paste(rgba, mask=rgba.getchannel("A"))  # as vLLM does, to the last bit
    return canvas


def _eight_bits(values: np.ndarray) -> Image.Image:
    """An 8-bit grey image from deeper values [H, W]."""
    largest = values.max(initial=0)
    if values.dtype.kind == "f":
        full = 1.0 if largest <= 1 else 255.0
    else:
        full = 65535.0 if values.dtype.itemsize == 2 or largest > 255 else 255.0
    scaled = np.nan_to_num(values.astype(np.float64)) * (255 / full)
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _from_array(values: np.ndarray) -> Image.Image:
    shape = values.shape
    if values.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))) or not values.size:
        raise ImageError(
            f"an array of shape {list(shape)} is not an image: give [H, W], [H, W, C] or [C, H, W] of 1, 3 or 4 "
            "channels"
        )
    if values.dtype == np.uint8:
        levels = values
    elif values.dtype == np.bool_:
        levels = values.astype(np.uint8) * 255
    elif values.dtype == np.uint16:
        levels = np.rint(values / 257).astype(np.uint8)
    elif values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:  # false for NaN
        levels = np.rint(values * 255.0).astype(np.uint8)
    else:
        raise ImageError(
            f"a {values.dtype} array from {values.min()} to {values.max()} is not an image: give uint8, uint16, bool, "
            "or floats within 0..1"
        )
    return Image.fromarray(levels)


def _from_text(text: str) -> Image.Image:
    if text.startswith("data:"):
        header, _, body = text.partition(",")
        if not header.endswith(";base64"):
            raise ImageError(f"the data URL {text[:40]!r} has no base64: begin it with data:image/png;base64,")
        return _from_file(io.BytesIO(_decode_base64(body, "the data URL")), "the data URL")
    if _URL.match(text):
        raise ImageError(f"{text[:200]} is not fetched here: read it and give its bytes")
    if len(text) <= _MAX_PATH and Path(text).exists():
        return _from_file(Path(text), text)
    description = f"{text[:80]!r} is not a file, and as base64 it"
    return _from_file(io.BytesIO(_decode_base64(text, description)), description)


def _decode_base64(body: str, description: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"{description} cannot be decoded: {error}") from None


def _from_file(file: io.BytesIO | Path, description: str) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"{description} is not in a known image format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{description} is refused: {error}; shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except _BROKEN as error:
        raise ImageError(f"{description} cannot be opened as an image: {error}") from None
