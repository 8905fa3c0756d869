"""The images of a request: data URLs, files of the operator's folder, and https URLs where they are allowed."""

import asyncio
import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from step3vl.data.sample import EXTENSION, Image
from step3vl.inference.client import gather
from step3vl.inference.server.chat_messages import ImageUrl
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.image_fetching import ImageFetcher, shorten_url

DATA_URL = re.compile(r"data:[^,]*?;base64,", re.IGNORECASE)
LOW_DETAIL = 512  # pixels of the longer side, as in OpenAI's API
BASE64_VARIANTS = str.maketrans({"-": "+", "_": "/", **dict.fromkeys(" \t\r\n")})
AVIF = "AVIF"
FORMATS = tuple(name.upper() for name in EXTENSION)
MAX_CONCURRENT_DECODES = 4  # each image may be as large as the pixel limit allows


class RequestImageLoader:
    """Turns the URLs of a request into checked images, within the server's limits."""

    def __init__(self, config: ServerConfig):
        self.config = config
        self.fetcher = ImageFetcher(config.image_hosts, config.image_bytes)
        self._decoding = asyncio.Semaphore(MAX_CONCURRENT_DECODES)
        self._folder = config.image_folder.resolve() if config.image_folder else None

    async def load(self, images: Sequence[ImageUrl]) -> list[Image]:
        """The images, in their order.

        Raises:
            ApiError: 400 for a URL that is not allowed, 413 for too large or too many images, 422 for what is not an
                image.
        """
        if len(images) > self.config.images:
            raise ApiError(
                413, f"{len(images)} images in one request; the limit is {self.config.images}", param="messages"
            )
        return await gather(self._load(image.url, low=image.detail == "low") for image in images)

    async def close(self) -> None:
        await self.fetcher.close()

    async def _load(self, url: str, low: bool) -> Image:
        scheme = url.partition(":")[0].lower()
        if scheme not in ("data", "file"):
            if not self.config.image_hosts:
                raise _invalid_url(f"image_url {shorten_url(url)}: this server fetches no images; send a data URL")
            data = await self.fetcher.get(url)
        async with self._decoding:  # in a thread: base64 and the decoders would block the event loop
            if scheme == "data":
                return await asyncio.to_thread(lambda: self._decode(decode_data_url(url), low))
            if scheme == "file":
                return await asyncio.to_thread(lambda: self._decode(self._read_file(url), low))
            return await asyncio.to_thread(self._decode, data, low)

    def _decode(self, data: bytes, low: bool) -> Image:
        limit = self.config.image_bytes
        if len(data) > limit:
            raise ApiError(413, f"an image_url holds an image of more than {limit} bytes", param="messages")
        image = decode_image(data, self.config.image_pixels)
        return (
            Image.from_bytes(_to_png(data, LOW_DETAIL))
            if low and max(image.width, image.height) > LOW_DETAIL
            else image
        )

    def _read_file(self, url: str) -> bytes:
        """A file inside the folder, also through links. All failures have one message, which reveals nothing."""
        missing = _invalid_url(f"image_url {shorten_url(url)}: no such file that this server may read")
        if self._folder is None:
            raise missing
        try:
            path = Path(unquote(urlsplit(url).path)).resolve(strict=True)
            if not path.is_relative_to(self._folder) or not path.is_file():
                raise missing
            with path.open("rb") as file:
                return file.read(self.config.image_bytes + 1)
        except (OSError, ValueError):
            raise missing from None


def decode_data_url(url: str) -> bytes:
    """The bytes in a data URL. Raises ApiError 400.

    White space, missing padding and the URL-safe alphabet are accepted: clients wrap lines, and Python and Java have
    encoders for each.
    """
    match = DATA_URL.match(url)
    if not match:
        raise _invalid_url("a data URL must be in base64: data:image/png;base64,…")
    payload = url[match.end() :]
    if "%" in payload:
        payload = unquote(payload)
    payload = payload.translate(BASE64_VARIANTS).rstrip("=")
    try:
        return base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    except ValueError:
        raise _invalid_url("a data URL is not valid base64") from None


def to_data_url(image: Image) -> str:
    """An image's bytes as a data URL."""
    return f"data:image/{image.format};base64,{base64.b64encode(image.read()).decode()}"


def decode_image(data: bytes, max_pixels: int) -> Image:
    """The image in the bytes, decoded once to prove that it is complete.

    The header is read first, and only for the formats that a sample may have: a decompression bomb is never unpacked,
    and decoders that start other programs are never tried.

    Raises:
        ApiError: 413 for more than `max_pixels`, 422 for what is not an image.
    """
    try:
        with PILImage.open(io.BytesIO(data), formats=FORMATS) as image:
            (width, height), image_format = image.size, image.format
    except PILImage.DecompressionBombError:
        raise ApiError(413, f"an image has more than {max_pixels} pixels, the limit", param="messages") from None
    except Exception as error:  # what decoders raise on hostile bytes has no common base
        raise _unusable_image(error, len(data)) from None
    if width * height > max_pixels:
        raise ApiError(413, f"an image of {width}x{height} pixels; the limit is {max_pixels} pixels", param="messages")
    try:
        return Image.from_bytes(_to_png(data) if image_format == AVIF else data)
    except Exception as error:
        raise _unusable_image(error, len(data)) from None


def _to_png(data: bytes, side: int | None = None) -> bytes:
    """The upright pixels of an image as PNG, shrunk to fit a square of `side` pixels."""
    buffer = io.BytesIO()
    with PILImage.open(io.BytesIO(data), formats=FORMATS) as image:
        pixels = ImageOps.exif_transpose(image)
        if side is not None:
            if pixels.mode in ("1", "P"):  # which Pillow shrinks without a filter
                pixels = pixels.convert("RGBA" if pixels.mode == "P" else "L")
            pixels.thumbnail((side, side), PILImage.Resampling.BICUBIC)
        pixels.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _unusable_image(error: Exception, size: int) -> ApiError:
    reason = f"{size} bytes in no known format" if isinstance(error, UnidentifiedImageError) else str(error)
    return ApiError(422, f"an image_url holds no usable image: {reason}", param="messages", code="image_parse_error")


def _invalid_url(message: str) -> ApiError:
    return ApiError(400, message, param="messages", code="invalid_image_url")
