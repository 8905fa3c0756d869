"""Whatever people hold a picture in, to an upright 8-bit RGB picture; the header is read before any pixel is decoded.

Reading a URL is left to callers, who alone know which hosts and folders may be read.
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

from step3vl.data.crops import CropPlan, ImageSpec, PictureError, plan_crops
from step3vl.data.geometry import Size

Source = Image.Image | bytes | bytearray | memoryview | str | Path | np.ndarray

# Decoders of pixels. Others that Pillow knows start programs (EPS) or draw nothing without further libraries.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX")
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LONGEST_PATH = 4096
# What Pillow's readers raise for bytes that are cut short or garbled.
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


def open_picture(source: Source) -> Image.Image:
    """Open, without decoding where the source is encoded: bytes, a file's path, a data URL, base64 or an array.

    Arrays are [H, W] grey, [H, W, C] or, when the last axis cannot be channels, [C, H, W], with 1, 3 or 4 channels
    (the fourth, alpha, is dropped). Their values are bytes, 16-bit integers (uint16), booleans, or floats within 0..1.
    Raises PictureError naming what was given.
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
    raise PictureError(
        f"a {type(source).__name__} is no picture: give a PIL image, bytes, a path, a data URL or an array"
    )


def upright(source: Source, spec: ImageSpec | None = None) -> Image.Image:
    """The opened, decoded, upright RGB picture. With `spec`, one beyond its limits is refused before it is decoded."""
    picture = open_picture(source)
    if spec is not None:
        plan_picture(picture, spec)
    return to_rgb(picture)


def plan_picture(picture: Image.Image, spec: ImageSpec) -> CropPlan:
    """The crops of an opened picture. Raises PictureError for one beyond the limits before a pixel is decoded."""
    plan = plan_crops(*picture.size, spec)
    size = upright_size(picture)
    return plan if size == picture.size else plan_crops(*size, spec)


def upright_size(picture: Image.Image) -> Size:
    """Width and height as the EXIF orientation turns it. A header suffices, but for a PNG without EXIF before its
    pixels, which are decoded to look behind them. Raises PictureError as `to_rgb` does."""
    width, height = picture.size
    return (height, width) if _orientation(picture) in _TURNED else (width, height)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Decoded, turned as its EXIF says, RGB; the picture itself where it is that already.

    Alpha is dropped, as the released processor does, not laid over a colour. Deep greys are scaled to 8 bits, where
    Pillow's own conversion would clip them to white: 16-bit modes from 0..65535, mode I likewise once a value exceeds
    255, mode F from 0..1 unless a value exceeds 1. Raises PictureError for pixels that cannot be decoded.
    """
    with _decoding():
        picture.load()
        if _orientation(picture) > 1:
            picture = ImageOps.exif_transpose(picture)
        return _as_rgb(picture)


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise PictureError(f"the picture cannot be decoded, its file is damaged or cut short: {error}") from None


def _orientation(picture: Image.Image) -> int:
    if picture.format == "PNG" and "exif" not in picture.info:
        with _decoding():
            picture.load()  # as Pillow's getexif does, where a failure would pass for damaged metadata
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1  # damaged metadata; the pixels may be whole, and viewers show them as they lie
    return orientation if orientation in range(1, 9) else 1


def _as_rgb(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode == "RGB":
        return picture
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _eight_bits(np.asarray(picture)).convert("RGB")
    if mode == "LAB":
        return ImageCms.profileToProfile(  # type: ignore[return-value] # None only when it works in place
            picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    if mode == "La":
        return picture.convert("LA").convert("RGB")
    if mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA").convert("RGB")  # the same colours; directly, Pillow warns
    return picture.convert("RGB")


def _eight_bits(values: np.ndarray) -> Image.Image:
    """A grey picture of 8 bits from values [H, W] of more."""
    deepest = values.max(initial=0)
    if values.dtype.kind == "f":
        full = 1.0 if deepest <= 1 else 255.0
    else:
        full = 65535.0 if values.dtype.itemsize == 2 or deepest > 255 else 255.0
    scaled = np.nan_to_num(values.astype(np.float64)) * (255 / full)
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _from_array(values: np.ndarray) -> Image.Image:
    shape = values.shape
    if values.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))) or not values.size:
        raise PictureError(
            f"an array of shape {list(shape)} is no picture: give [H, W], [H, W, C] or [C, H, W] of 1, 3 or 4 channels"
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
        raise PictureError(
            f"a {values.dtype} array from {values.min()} to {values.max()} is no picture: give uint8, uint16, bool, "
            "or floats within 0..1"
        )
    return Image.fromarray(levels)


def _from_text(text: str) -> Image.Image:
    if text.startswith("data:"):
        header, _, body = text.partition(",")
        if not header.endswith(";base64"):
            raise PictureError(f"the data URL {text[:40]!r} holds no base64: begin it with data:image/png;base64,")
        return _from_file(io.BytesIO(_decoded(body, "the data URL")), "the data URL")
    if _URL.match(text):
        raise PictureError(f"{text[:200]} is not fetched here: read it and give its bytes")
    if len(text) <= _LONGEST_PATH and Path(text).exists():
        return _from_file(Path(text), text)
    named = f"{text[:80]!r} is no file, and read as base64 it"
    return _from_file(io.BytesIO(_decoded(text, named)), named)


def _decoded(body: str, named: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError(f"{named} cannot be decoded: {error}") from None


def _from_file(file: io.BytesIO | Path, named: str) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise PictureError(f"{named} is in no known format of pictures ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{named} is refused: {error}; shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS") from None
    except _BROKEN as error:
        raise PictureError(f"{named} cannot be opened as a picture: {error}") from None
