"""What a sample consists of: texts, and images as encoded bytes in memory or in a file."""

import hashlib
from typing import Annotated, Literal, Self

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.config import FrozenModel
from step3vl.data.errors import InfrastructureError
from step3vl.data.sample.crops import ImageError, ImageSpec
from step3vl.data.sample.images import open_image, to_rgb, upright

ImageFormat = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]
EXTENSION: dict[str, str] = {
    "jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "tiff": "tif",
    "avif": "avif",
}  # fmt: skip
# From Pillow's names. Phones write MPO, a JPEG followed by further images, of which the first is used.
FORMAT: dict[str, str] = {
    "JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff",
    "AVIF": "avif",
}  # fmt: skip
MAX_PIXELS = ImageSpec().max_pixels  # the model's default limit; larger images are not decoded


class Pointer(FrozenModel):
    """A slice of a file in any store."""

    path: str
    """A local path or a URL. In staged rows it is relative to the folder that holds all of them."""

    offset: int = Field(ge=0)
    """First byte of the slice."""

    size: int = Field(ge=0)
    """Bytes of the slice."""

    xxh3: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$", exclude_if=lambda value: value is None)
    """XXH3 (64 bits) of the slice, which is checked when it is read."""

    def under(self, root: str) -> Self:
        """The pointer with its path taken as relative to a folder or URL; an absolute one is returned unchanged."""
        if self.path.startswith("/") or "://" in self.path:
            return self
        return self.model_copy(update={"path": f"{root.rstrip('/')}/{self.path}"})

    def read(self) -> bytes:
        """Read the slice; a store is used as `step3vl.data.storage.use_store` says.

        Raises:
            InfrastructureError: The file is gone, cannot be read, is shorter than it was, or has other bytes.
        """
        from step3vl.data.storage.shared_stores import read_slices  # samples in memory need no store

        try:
            return read_slices([self])[0]
        except OSError as error:
            raise InfrastructureError(f"{self.path} cannot be read: {error.strerror or error}") from error


def require_pixels(image: PILImage.Image) -> None:
    """Raises ImageError for an image of more pixels than the model's default limit, before it is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS}; shrink or cut it")


class Image(FrozenModel):
    """An encoded image."""

    format: ImageFormat
    """Format of the encoded bytes."""

    width: int = Field(ge=1)
    """Pixels, after the EXIF orientation is applied."""

    height: int = Field(ge=1)
    """Pixels, after the EXIF orientation is applied."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the encoded bytes."""

    at: Pointer | None = None
    """Where the bytes are stored, unless `data` holds them."""

    data: bytes | None = Field(default=None, repr=False, exclude=True)
    """The encoded bytes; never part of a row."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Probe and fully decode the bytes once.

        Args:
            data: An encoded image, kept as it is.

        Raises:
            ImageError: The bytes are not a complete image of a known format and a size within the limits.
        """
        opened = open_image(data)
        if opened.format not in FORMAT:
            raise ImageError(f"a {opened.format} image is not one of {', '.join(EXTENSION)}: save it as PNG")
        require_pixels(opened)
        return cls.from_decoded(data, FORMAT[opened.format], to_rgb(opened))

    @classmethod
    def from_decoded(cls, data: bytes, format: str, pixels: PILImage.Image) -> Self:
        """The image of bytes that are decoded already.

        Args:
            data: An encoded image, kept as it is.
            format: A value of `FORMAT`.
            pixels: Upright.
        """
        fields = {"format": format, "width": pixels.width, "height": pixels.height}
        return cls.model_validate({**fields, "sha256": hashlib.sha256(data).hexdigest(), "data": data})

    def stored_at(self, pointer: Pointer) -> Self:
        """The same image with a pointer in place of its bytes."""
        return self.model_copy(update={"at": pointer, "data": None})

    def read(self) -> bytes:
        """The encoded bytes, from memory or from the file. Raises as `Pointer.read` does."""
        if self.data is not None:
            return self.data
        if self.at is None:
            raise ValueError(f"image {self.sha256[:12]} has neither bytes nor a pointer to them")
        return self.at.read()

    def open(self) -> PILImage.Image:
        """The decoded, upright RGB image."""
        return upright(self.read())


class TextPart(FrozenModel):
    """A text in a document or a message."""

    type: Literal["text"] = "text"
    text: str


class ImagePart(FrozenModel):
    """An image in a document or a message. `image` is an index into the sample's images."""

    type: Literal["image"] = "image"
    image: int = Field(ge=0)


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Parts = tuple[Part, ...]


def text(value: str) -> TextPart:
    """A part that holds a text."""
    return TextPart(text=value)


def image(index: int) -> ImagePart:
    """A part that shows the image with this index."""
    return ImagePart(image=index)
