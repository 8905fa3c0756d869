"""The images that a record names: files, data URLs, or bytes inside the record."""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from step3vl.data.sample.parts import Image, ImagePart, Pointer, image

MAX_IMAGE = 1 << 27  # bytes of an encoded image
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


class ImageLoader:
    """Loads the images of one record, in the order in which its texts show them.

    Args:
        folder: Folder that paths are relative to; None for a format that names no files.
        loaded: Images by name that need no loading.
    """

    def __init__(self, folder: Path | None, loaded: Mapping[str, Image] | None = None) -> None:
        self._folder = folder
        self._loaded = loaded or {}
        self.images: list[Image] = []

    def show(self, reference: Any) -> ImagePart:
        """Load an image.

        Args:
            reference: A path inside the folder, a data URL, or `{"bytes": …, "path": …}`.

        Returns:
            The part that shows it.

        Raises:
            ValueError: The reference is malformed, leads out of the folder, or is not an image.
            OSError: The file is there but cannot be read.
        """
        self.images.append(self._load(reference))
        return image(len(self.images) - 1)

    def _load(self, reference: Any) -> Image:
        if isinstance(reference, dict) and isinstance(reference.get("path"), str):
            if reference["path"] in self._loaded:
                return self._loaded[reference["path"]]
            if reference.get("bytes") is None:
                reference = reference["path"]
        if isinstance(reference, dict) and isinstance(reference.get("bytes"), bytes):
            return _probe(reference["bytes"], reference.get("path") or "the image")
        if not isinstance(reference, str):
            raise ValueError(f"an image is given as {type(reference).__name__}: give a path, a data URL or bytes")
        if reference in self._loaded:
            return self._loaded[reference]
        if match := _DATA_URL.match(reference):
            try:
                data = base64.b64decode(reference[match.end() :], validate=True)
            except binascii.Error as error:
                raise ValueError(f"a data URL is not valid base64: {error}") from None
            return _probe(data, "the image of a data URL")
        if "://" in reference[:12] or reference.startswith("data:"):
            raise ValueError(f"{reference[:80]} is not on this machine: download it and give its path")
        return self._read(reference)

    def _read(self, name: str) -> Image:
        if self._folder is None:
            raise ValueError(f"{name}: this format contains its images and names no files")
        folder = self._folder.resolve()
        try:
            path = (folder / name).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError) as error:  # a name that is too long, a loop of links
            raise ValueError(f"{name[:80]} is not a path: {error}") from None
        if not path.is_relative_to(folder):
            raise ValueError(f"{name} leads out of the folder of images: give paths inside it")
        if not is_file:
            raise ValueError(f"{name}: no such image in the folder of images")
        size = path.stat().st_size
        if size > MAX_IMAGE:
            raise ValueError(f"{name} has {size} bytes; images of more than {MAX_IMAGE} are not read")
        return _probe(path.read_bytes(), name).stored_at(Pointer(path=str(path), offset=0, size=size))


def _probe(data: bytes, name: str) -> Image:
    try:
        return Image.from_bytes(data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def data_url(image: Image, data: bytes) -> str:
    """The data URL of an encoded image."""
    return f"data:image/{image.format};base64,{base64.b64encode(data).decode()}"
