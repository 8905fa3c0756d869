"""Pictures of a request: data URLs, files of the operator's folder, and https URLs where the operator allows them."""

import asyncio
import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from step3vl.data.sample import EXTENSION, Image
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.fetch import Fetcher, shown
from step3vl.inference.waiting import together

DATA = re.compile(r"data:[^,]*?;base64,", re.IGNORECASE)
DECODING = 4  # pictures that are decoded at once, each as large as the pixel limit allows


class Pictures:
    """Turns the URLs of a request into checked pictures, within the server's limits."""

    def __init__(self, config: ServerConfig):
        self.config = config
        self.fetcher = Fetcher(config.image_hosts, config.image_bytes)
        self._decoding = asyncio.Semaphore(DECODING)
        self._folder = config.image_folder.resolve() if config.image_folder else None

    async def load(self, urls: Sequence[str]) -> list[Image]:
        """The pictures in order. Raises ApiError: 400 not allowed, 413 too large or too many, 422 no picture."""
        if len(urls) > self.config.images:
            raise ApiError(
                413, f"{len(urls)} images in one request; the limit is {self.config.images}", param="messages"
            )
        return await together(self._one(url) for url in urls)

    async def close(self) -> None:
        await self.fetcher.close()

    async def _one(self, url: str) -> Image:
        scheme = url.partition(":")[0].lower()
        if scheme not in ("data", "file"):
            if not self.config.image_hosts:
                raise _bad(f"image_url {shown(url)}: this server fetches no pictures; send it as a data URL")
            data = await self.fetcher.get(url)
        async with self._decoding:  # in a thread: base64 and the decoders would hold up everybody else
            if scheme == "data":
                return await asyncio.to_thread(lambda: self._checked(from_data_url(url)))
            if scheme == "file":
                return await asyncio.to_thread(lambda: self._checked(self._file(url)))
            return await asyncio.to_thread(self._checked, data)

    def _checked(self, data: bytes) -> Image:
        limit = self.config.image_bytes
        if len(data) > limit:
            raise ApiError(413, f"an image_url holds a picture of more than {limit} bytes", param="messages")
        return decode(data, self.config.image_pixels)

    def _file(self, url: str) -> bytes:
        """A file inside the folder, also behind links. One answer for all that is not there tells nobody what is."""
        missing = _bad(f"image_url {shown(url)}: no such file that this server may read")
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


def from_data_url(url: str) -> bytes:
    """The bytes in a data URL. Raises ApiError 400."""
    match = DATA.match(url)
    if not match:
        raise _bad("a data URL must be in base64: data:image/png;base64,…")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except ValueError:
        raise _bad("a data URL is not valid base64") from None


def decode(data: bytes, pixels: int) -> Image:
    """The picture in the bytes, wholly decoded once.

    Its header is read first and only for the formats that a sample may have: so a bomb is never unpacked, and decoders
    that start other programs are never tried. Raises ApiError, 413 for too many pixels and 422 for no picture.
    """
    try:
        with PILImage.open(io.BytesIO(data), formats=[name.upper() for name in EXTENSION]) as picture:
            width, height = picture.size
    except PILImage.DecompressionBombError:
        raise ApiError(413, f"a picture has more than {pixels} pixels, the limit", param="messages") from None
    except Exception as error:  # what decoders raise on hostile bytes has no common base
        raise _unusable(error, len(data)) from None
    if width * height > pixels:
        raise ApiError(413, f"a picture of {width}x{height} pixels; the limit is {pixels} pixels", param="messages")
    try:
        return Image.from_bytes(data)
    except Exception as error:
        raise _unusable(error, len(data)) from None


def _unusable(error: Exception, size: int) -> ApiError:
    why = f"{size} bytes in no known format" if isinstance(error, UnidentifiedImageError) else str(error)
    return ApiError(422, f"an image_url holds no usable picture: {why}", param="messages", code="image_parse_error")


def _bad(message: str) -> ApiError:
    return ApiError(400, message, param="messages", code="invalid_image_url")
