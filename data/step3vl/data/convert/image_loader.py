"""The images that a record names: files, data URLs, or bytes inside the record; and how its texts show them."""

import base64
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.sample.parts import Image, ImagePart, Part, Pointer, image, text

MAX_IMAGE = 1 << 27  # bytes of an encoded image
PLACEHOLDER = "<image>"
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_BASE64 = ("/9j/", "iVBORw0K", "UklGR", "R0lGOD", "AAAAI", "AAAAH")  # how JPEG, PNG, WebP, GIF and AVIF begin
_SHORTEST_BASE64 = 64
_NUMBERED = re.compile(r"image_?(\d+)")
_NUMBERED_PLACEHOLDER = re.compile(r"<image (\d+)>")


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
            reference: A path inside the folder, also as a `file:` URL; a data URL; base64; bytes; or
                `{"bytes": …, "path": …}`.

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
        name = "the image"
        if isinstance(reference, dict):
            name = reference.get("path") or name
            reference = reference.get("bytes") or reference.get("url")
        if isinstance(reference, bytes):
            return _probe(reference, name)
        if not isinstance(reference, str):
            raise ValueError(f"an image is given as {type(reference).__name__}: give a path, a data URL or bytes")
        if reference in self._loaded:
            return self._loaded[reference]
        if match := _DATA_URL.match(reference):
            return _probe(_decode(reference[match.end() :]), "the image of a data URL")
        if len(reference) >= _SHORTEST_BASE64 and reference.startswith(_BASE64):
            return _probe(_decode(reference), "the image in base64")
        if reference.startswith("file:"):
            return self._read(unquote(urlsplit(reference).path))
        if "://" in reference[:12] or reference.startswith("data:"):
            raise ValueError(f"{reference[:80]} is not on this machine: download it and give its path")
        return self._read(reference)

    def _read(self, name: str) -> Image:
        short = excerpt(name)
        if self._folder is None:
            raise ValueError(f"{short}: this format contains its images and names no files")
        folder = self._folder.resolve()
        try:
            path = (folder / name).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a zero byte
            raise ValueError(f"{short} is not a path: {excerpt(str(error))}") from None
        if not path.is_relative_to(folder):
            raise ValueError(
                f"{short} leads out of the folder of images: give paths inside it, or --images with a folder that "
                "holds them all"
            )
        if not is_file:
            raise ValueError(f"{short}: no such image in the folder of images")
        size = path.stat().st_size
        if size > MAX_IMAGE:
            raise ValueError(f"{short} has {size} bytes; images of more than {MAX_IMAGE} are not read")
        return _probe(path.read_bytes(), short).stored_at(Pointer(path=str(path), offset=0, size=size))


def _decode(base64_text: str) -> bytes:
    try:
        return base64.b64decode(base64_text, validate=True)
    except ValueError as error:
        raise ValueError(f"an image is not valid base64: {error}") from None


def _probe(data: bytes, name: str) -> Image:
    try:
        return Image.from_bytes(data)
    except ValueError as error:
        raise ValueError(f"{excerpt(name)}: {error}") from None


class RecordImages:
    """The images of a record, which its texts and parts show in order or by their number.

    Args:
        references: References by number.
        loader: Loads them.
    """

    def __init__(self, references: Mapping[int, Any], loader: ImageLoader) -> None:
        self._references = dict(references)
        self._pending = sorted(references)
        self.loader = loader

    @classmethod
    def of(cls, record: Fields, loader: ImageLoader) -> "RecordImages":
        """The images that a record names in `images` or `image`, or in columns such as `image_1` and `image_2`."""
        value = record.get("images", "image")
        if value is None:
            names = {int(match[1]): name for name in record.names() if (match := _NUMBERED.fullmatch(name))}
            return cls({number: record.get(name) for number, name in names.items() if name in record}, loader)
        return cls(dict(enumerate(value if isinstance(value, list) else [value])), loader)

    def __len__(self) -> int:
        return len(self._references)

    def show(self, number: int | None = None) -> ImagePart:
        """The part that shows the next image, or the one of this number. Raises ValueError when there is none."""
        if number is None and self._pending:
            number = self._pending[0]
        if number not in self._references:
            which = "more images" if number is None else f"image {number}"
            raise ValueError(f"its texts show {which}, but it has {len(self)} ({PLACEHOLDER} shows one)")
        if number in self._pending:
            self._pending.remove(number)
        return self.loader.show(self._references[number])

    def show_rest(self) -> list[ImagePart]:
        """The parts of all images that were not shown yet."""
        return [self.show() for _ in list(self._pending)]

    def interleave(self, value: str) -> list[Part]:
        """The parts of a text in which `<image>` shows the next image and `<image 2>` the one of that number.

        Raises:
            ValueError: There are more placeholders than images.
        """
        parts: list[Part] = []
        for number, fragment in enumerate(value.split(PLACEHOLDER)):
            if number:
                parts.append(self.show())
            parts += self._interleave_numbered(fragment)
        return parts

    def _interleave_numbered(self, value: str) -> Iterable[Part]:
        position = 0
        if "<image " in value:
            for match in _NUMBERED_PLACEHOLDER.finditer(value):
                if int(match[1]) in self._references:
                    if position < match.start():
                        yield text(value[position : match.start()])
                    yield self.show(int(match[1]))
                    position = match.end()
        if position < len(value):
            yield text(value[position:])

    def check_all_shown(self) -> None:
        """Raises ValueError when an image remains that nothing shows."""
        if self._pending:
            total, count = len(self), len(self) - len(self._pending)
            raise ValueError(f"it has {total} images, but its texts show {count} with {PLACEHOLDER}")


def data_url(image: Image, data: bytes) -> str:
    """The data URL of an encoded image."""
    return f"data:image/{image.format};base64,{base64.b64encode(data).decode()}"
