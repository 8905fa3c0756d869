"""The images that a record names: files of any store, data URLs, or bytes inside it; and how its texts show them."""

import base64
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.sample.parts import Image, ImagePart, Part, Pointer, image, text
from step3vl.data.storage.files import is_url
from step3vl.data.storage.shared_stores import store_of
from step3vl.data.storage.store_config import ABSENT, DEFAULT_STORE, StoreConfig

MAX_IMAGE = 1 << 27  # bytes of an encoded image
PLACEHOLDER = "<image>"
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_BASE64 = ("/9j/", "iVBORw0K", "UklGR", "R0lGOD", "AAAAI", "AAAAH")  # how JPEG, PNG, WebP, GIF and AVIF begin
_SHORTEST_BASE64 = 64
_NUMBERED = re.compile(r"image_?(\d+)")
_NUMBERED_PLACEHOLDER = re.compile(r"<image (\d+)>")


class ImageFolder(Protocol):
    """Where the images are that records name."""

    is_remote: bool
    """Whether each image is a request."""

    def read(self, name: str) -> Image:
        """The image of a path or URL inside the folder. Raises as `ImageLoader.show`."""
        ...


def open_image_folder(url: str | Path, store: StoreConfig = DEFAULT_STORE) -> ImageFolder:
    """The images inside a folder or below a URL."""
    path = str(url).removeprefix("file://")
    return RemoteImages(path, store) if is_url(path) else LocalImages(Path(path))


class LocalImages:
    """Images in a folder of this machine. Their bytes stay in their files."""

    is_remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def read(self, name: str) -> Image:
        """See `ImageFolder.read`."""
        short = excerpt(name)
        if is_url(name):
            raise ValueError(f"{short} is not on this machine: give --images with the URL of the folder that holds it")
        try:
            path = (self._folder / name).resolve()
            is_file = path.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a zero byte
            raise ValueError(f"{short} is not a path: {excerpt(str(error))}") from None
        if not path.is_relative_to(self._folder):
            raise _outside(short)
        if not is_file:
            raise _missing(short)
        size = path.stat().st_size
        if size > MAX_IMAGE:
            raise _too_large(short)
        return _probe(path.read_bytes(), short).stored_at(Pointer(path=str(path), offset=0, size=size))


class RemoteImages:
    """Images below a URL, each fetched by one request."""

    is_remote = True

    def __init__(self, url: str, store: StoreConfig) -> None:
        self._url = url.rstrip("/")
        self._store, self._root = store_of(self._url, store)

    def read(self, name: str) -> Image:
        """See `ImageFolder.read`."""
        short = excerpt(name)
        inside = name.removeprefix(f"{self._url}/")
        path = posixpath.normpath(inside)
        if is_url(inside) or path.startswith(("/", "../")) or path in ("..", ".") or "\0" in path:
            raise _outside(short)
        try:
            data = self._store.part(f"{self._root}/{path}" if self._root else path, 0, MAX_IMAGE + 1)
        except ABSENT:
            raise _missing(short) from None
        if len(data) > MAX_IMAGE:
            raise _too_large(short)
        return _probe(data, short)


def _outside(name: str) -> ValueError:
    return ValueError(
        f"{name} leads out of the folder of images: give paths inside it, or --images with a folder or URL that holds "
        "them all"
    )


def _missing(name: str) -> ValueError:
    return ValueError(f"{name}: no such image in the folder of images")


def _too_large(name: str) -> ValueError:
    return ValueError(f"{name} has more than {MAX_IMAGE} bytes; such images are not read")


class ImageLoader:
    """Loads the images of one record, in the order in which its texts show them.

    Args:
        folder: What paths are relative to; None for a format that names no files.
        loaded: Images by name that need no loading.
    """

    def __init__(self, folder: ImageFolder | None, loaded: Mapping[str, Image] | None = None) -> None:
        self._folder = folder
        self._loaded = loaded or {}
        self.images: list[Image] = []

    def show(self, reference: Any) -> ImagePart:
        """Load an image.

        Args:
            reference: A path or URL inside the folder; a data URL; base64; bytes; or `{"bytes": …, "path": …}`.

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
        if reference.startswith("data:"):
            raise ValueError(f"{reference[:80]} is a data URL of something else than an image in base64")
        return self._read(reference)

    def _read(self, name: str) -> Image:
        if self._folder is None:
            raise ValueError(f"{excerpt(name)}: this format contains its images and names no files")
        return self._folder.read(name)


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
            likely = [name for name in record.names() if name.startswith("image")]
            names = {int(match[1]): name for name in likely if (match := _NUMBERED.fullmatch(name))}
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
        if "<image" not in value:
            return [text(value)] if value else []
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
