"""The pieces of each image together, in parts of bounded size, whatever the order of a file and however large it is.

A small file is grouped in memory and its parts travel as rows. A larger one is dealt in one pass to buckets on this
machine's disk, by a hash of the image's name; each bucket becomes a part under the root of the build, where any worker
reads it. The same file makes the same parts, so a retried worker writes the same bytes.
"""

import gzip
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from pathlib import Path
from typing import Any

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError, describe_error
from step3vl.data.storage import Store, StoreConfig
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.sources.annotations.raw import MALFORMED, AnnotationFormat, Piece

INLINE = 8 * 2**20
"""Bytes of a file, up to which its parts travel as rows."""
_IMAGES = 64  # in a part that is a row
_BUCKET = 4 * 2**20  # bytes of a file for a part under the root, about
_BUFFER = 16 * 2**20  # characters of all buckets that wait to be written
_FOLDER = ".annotations"
_VERSION = 1  # of the parts


class AnnotationPart(Config):
    """Some images of an annotation file, with all their pieces."""

    file: InputFile
    images: str = ""
    """JSON of a list of `[name, [piece, ...]]`; empty where `path` names a file of it."""
    path: str = ""
    """Under the root of the build."""
    common: str
    """JSON of the pieces that belong to every image."""


def split_file(
    file: InputFile, path: Path, format: AnnotationFormat, root: str, store: StoreConfig, inline: int = INLINE
) -> Iterator[AnnotationPart]:
    """The parts of a file.

    Args:
        file: The annotation file.
        path: Where it is on this machine.
        format: How it is read.
        root: URL of the folder of everything between steps. Without one, a file of any size is grouped in memory.
        store: How the root is used.
        inline: Bytes up to which a file is grouped in memory.

    Raises:
        ValueError: The file is damaged.
        InfrastructureError: The root or the disk cannot be written.
    """
    pieces = _read(format, path, file.key)
    if path.stat().st_size <= inline or not root:
        common, images = _grouped(pieces)
        _require(images)
        names = iter(sorted(images))
        while batch := list(islice(names, _IMAGES)):
            inside = _dump([[name, images[name]] for name in batch])
            yield AnnotationPart(file=file, images=inside, common=_dump(common))
        return
    target = Store(root, store)
    digest = hashlib.sha256(_dump([_VERSION, type(format).__name__, file.url, file.version]).encode()).hexdigest()[:32]
    with tempfile.TemporaryDirectory() as folder:
        buckets = Buckets(Path(folder), 1 + path.stat().st_size // _BUCKET)
        common = [value for name, value in pieces if not buckets.add(name, value)]
        _require(buckets)
        for number, bucket in enumerate(buckets.read()):
            _, images = _grouped(bucket)
            if images:
                part = f"{_FOLDER}/{digest}/{number:06}.json.gz"
                data = _dump(sorted(images.items())).encode()
                target.put(part, gzip.compress(data, compresslevel=3, mtime=0))
                yield AnnotationPart(file=file, path=part, common=_dump(common))


def _read(format: AnnotationFormat, path: Path, name: str) -> Iterator[Piece]:
    """The pieces of a file. A damaged one is refused as a whole: what it said may belong to any image, of which
    something would then be missing. Raises ValueError, which says where."""
    number, last = 0, ""
    try:
        for image, value in format.pieces(path, name):
            number, last = number + 1, image
            yield image, value
    except MALFORMED as error:
        where = f" after entry {number}, of image {last!r}" if last else ""
        raise ValueError(f"the file cannot be read{where}: {describe_error(error)}") from None


def images_of(part: AnnotationPart, root: str, store: StoreConfig) -> Iterator[tuple[str, list[Any]]]:
    """The images of a part with their pieces, those that belong to every image first.

    Raises:
        InfrastructureError: The part under the root is gone or damaged.
    """
    text = part.images
    if part.path:
        try:
            text = gzip.decompress(Store(root, store).read_all(part.path)).decode()
        except (FileNotFoundError, EOFError, gzip.BadGzipFile) as error:
            raise InfrastructureError(f"{part.path} under {root} is gone or damaged: {error}; start afresh") from error
    common = json.loads(part.common)
    for name, pieces in json.loads(text):
        yield name, [*common, *pieces]


class Buckets:
    """Pieces on disk, those of an image in one bucket, in the order in which they came.

    Args:
        folder: An empty folder on this machine.
        count: How many buckets.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        self._waiting: defaultdict[int, list[str]] = defaultdict(list)
        self._characters = self._pieces = 0

    def __len__(self) -> int:
        """How many pieces there are."""
        return self._pieces

    def add(self, name: str, value: Any) -> bool:
        """Add a piece; False for one that belongs to every image."""
        if not name:
            return False
        line = _dump([name, value])
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") % self._count
        self._waiting[number].append(line)
        self._characters += len(line)
        self._pieces += 1
        if self._characters > _BUFFER:
            self._write()
        return True

    def read(self) -> Iterator[Iterator[Piece]]:
        """The pieces of one bucket after the other."""
        self._write()
        for number in range(self._count):
            path = self._folder / str(number)
            yield _read_lines(path) if path.exists() else iter(())
            path.unlink(missing_ok=True)

    def _write(self) -> None:
        for number, lines in self._waiting.items():
            with (self._folder / str(number)).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        self._waiting.clear()
        self._characters = 0


def _read_lines(path: Path) -> Iterator[Piece]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            name, value = json.loads(line)
            yield name, value


def _require(images: Sized) -> None:
    """Raises ValueError for a file without an image, which is one of another format."""
    if not len(images):
        raise ValueError("the file names no image: it is of another format, or empty")


def _grouped(pieces: Iterable[Piece]) -> tuple[list[Any], dict[str, list[Any]]]:
    """The pieces that belong to every image, and those of each."""
    common: list[Any] = []
    images: defaultdict[str, list[Any]] = defaultdict(list)
    for name, value in pieces:
        (images[name] if name else common).append(value)
    return common, images


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
