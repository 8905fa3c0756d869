"""Where a dataset's files are: on this machine, or in any store that fsspec knows.

A store is slow and fails; what it is asked for is tried again with growing pauses, and copies are kept in a folder of
bounded size when one is given. Local files are read and written directly. A file is visible whole or not at all.
"""

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, TypeVar, cast

import fsspec
import pyarrow as pa
from blake3 import blake3
from pydantic import Field, model_validator
from tenacity import Retrying, before_sleep_log, retry_if_not_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from step3vl.data.cache import PIECES, Cache
from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.files import Slices, sync_folder, write_durably

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Asking again would give the same; whatever else a store raises (each has classes of its own) may pass.
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_FINAL = (*_ABSENT, PermissionError, ImportError, TypeError, ValueError)
_LONGEST_PAUSE = 30.0
_PIECE = 1 << 23


class StoreConfig(Config):
    """How a distant store is used; local files need none of this.

    options: fsspec's own for the file system, such as `{"anon": true}`.
    attempts, backoff, timeout: how often a request is tried, the seconds before the second try (doubled for each
    further one, up to 30, with some chance added), and the seconds that a try may take where the file system is
    asynchronous (S3, GCS, Azure, HTTP).
    cache, cache_bytes, block: a folder for copies, its largest size, and the bytes that are fetched at once to fill
    it. Without a folder every sample is a request of its own. Processes of one machine may share the folder.
    """

    options: dict[str, Any] = Field(default_factory=dict)
    attempts: int = Field(default=6, ge=1)
    backoff: float = Field(default=0.5, ge=0)
    timeout: float = Field(default=60.0, gt=0)
    cache: Path | None = None
    cache_bytes: int = Field(default=16 * 2**30, gt=0)
    block: int = Field(default=4 * 2**20, gt=0)

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.block > self.cache_bytes // PIECES:
            raise ValueError(f"cache_bytes must hold {PIECES} blocks; raise it or lower block")
        return self


class StoreError(UserError):
    """A store that does not answer, or refuses. The data may be sound: who meets it must not skip, but stop."""


DEFAULT = StoreConfig()


class Place(NamedTuple):
    """Bytes `start` to `stop` of a file of `of` bytes whose content is named by `version`."""

    path: str
    start: int
    stop: int
    of: int
    version: str

    def blocks(self, size: int) -> Iterator[tuple[int, int]]:
        """Where the blocks of `size` bytes that hold it begin and end; the last of a file may be shorter."""
        for first in range(self.start - self.start % size, self.stop, size):
            yield first, min(first + size, self.of)


class Store:
    """The files under `url`; paths are relative to it."""

    def __init__(self, url: str, config: StoreConfig) -> None:
        self.url, self.config = url, config
        fs, self._root = fsspec.url_to_fs(url, **config.options)
        self.local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        self._slices = Slices()
        kept = config.cache is not None and not self.local
        self._cache = Cache(cast(Path, config.cache), config.cache_bytes) if kept else None

    @property
    def _fs(self) -> Any:
        """fsspec keeps one instance a process, so this is safe after a fork where a kept instance is not."""
        return fsspec.url_to_fs(self.url, **self.config.options)[0]

    def path(self, path: str) -> str:
        """Its name in the file system."""
        return f"{self._root}/{path}"

    def read(self, place: Place) -> bytes:
        """The bytes of a place; fewer where the file is shorter than it should be.

        Raises FileNotFoundError, and StoreError when the store refuses or still fails at the last attempt.
        """
        if self._cache is None:
            return self._fetch(place.path, place.start, min(place.stop, place.of))
        pieces = []
        for first, last in place.blocks(self.config.block):
            name = _piece(place.version, first, last)
            piece = self._cache.get(name)
            if piece is None or len(piece) != last - first:
                piece = self._fetch(place.path, first, last)
                self._cache.put(name, piece)
            pieces.append(piece[max(place.start - first, 0) : place.stop - first])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def forget(self, place: Place) -> bool:
        """Drop the copies of these bytes, which proved to be damaged. Returns whether there can have been any."""
        if self._cache is None:
            return False
        for first, last in place.blocks(self.config.block):
            self._cache.forget(_piece(place.version, first, last))
        return True

    def read_all(self, path: str, version: str | None = None) -> bytes:
        """A whole file; a copy is kept when `version` names its content. Raises as `read` does."""
        if self._cache is None or version is None:
            return self._fetch(path, None, None)
        name = f"{version}-whole"
        data = self._cache.get(name)
        if data is None:
            data = self._fetch(path, None, None)
            self._cache.put(name, data)
        return data

    def part(self, path: str, start: int, stop: int) -> bytes:
        """Bytes of a file as they are in the store now, never a copy. Raises as `read` does."""
        return self._fetch(path, start, stop)

    def open(self, path: str, version: str | None) -> pa.NativeFile:
        """A file to read Parquet from: mapped where it is local, otherwise all of it in memory. As `read_all`."""
        if self.local:
            return pa.memory_map(self.path(path))
        return pa.BufferReader(self.read_all(path, version))

    def _fetch(self, path: str, start: int | None, stop: int | None) -> bytes:
        def request() -> bytes:
            if self.local:
                whole = Path(self.path(path)).read_bytes
                return whole() if start is None or stop is None else self._slices.read(self.path(path), start, stop)
            fs = self._fs
            limit = {"timeout": self.config.timeout} if fs.async_impl else {}
            try:
                data = fs.cat_file(self.path(path), start=start, end=stop, **limit)
            except _FINAL:
                raise
            except Exception:
                if start is not None and self._ends_before(path, start):
                    return b""  # nothing begins there, which some stores answer with an error
                raise
            if start is not None and stop is not None and len(data) > stop - start:
                raise ValueError("the server sends whole files when it is asked for a part")
            return data

        return self._try(path, request)

    def _try(self, path: str, request: Callable[[], T]) -> T:
        if self.local:  # what the disk refuses once it refuses again
            try:
                return request()
            except _ABSENT:
                raise
            except OSError as error:
                raise self._failed(path, error) from error
        retrying = Retrying(
            retry=retry_if_not_exception_type(_FINAL),
            stop=stop_after_attempt(self.config.attempts),
            wait=wait_exponential_jitter(self.config.backoff, _LONGEST_PAUSE, jitter=self.config.backoff),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        try:
            return retrying(request)
        except _ABSENT:
            raise
        except Exception as error:
            raise self._failed(path, error) from error

    def _failed(self, path: str, error: Exception) -> StoreError:
        mend = "" if self.local else f", or raise `attempts` ({self.config.attempts}) or `timeout`"
        return StoreError(
            f"{self.url}/{path} cannot be read or written: {type(error).__name__}: {error}; check the store and your "
            f"access to it{mend}"
        )

    def size(self, path: str) -> int:
        """Raises FileNotFoundError, and StoreError as `read` does."""
        return self._try(path, lambda: self._size(path))

    def _size(self, path: str) -> int:
        try:
            return int(self._fs.size(self.path(path)))
        except FileNotFoundError as error:  # over HTTP fsspec says so of whatever went wrong
            if error.__cause__ is None or isinstance(error.__cause__, FileNotFoundError):
                raise
            raise error.__cause__ from None

    def _ends_before(self, path: str, position: int) -> bool:
        try:
            return self._size(path) <= position
        except Exception:  # the store still fails, which says nothing of the file
            return False

    def hash(self, path: str) -> str:
        """BLAKE3 of a whole file, read in pieces. Raises as `size` does."""
        digest, position, size = blake3(), 0, self.size(path)
        while position < size and (piece := self._fetch(path, position, min(position + _PIECE, size))):
            digest.update(piece)
            position += len(piece)
        return digest.hexdigest()

    def listing(self, folder: str) -> list[str] | None:
        """The files under a folder, sorted; None where a store cannot list, as over HTTP."""
        if "http" in self._fs.protocol:
            return None
        root = self.path(folder)
        found = self._try(folder, lambda: self._fs.find(root) if self._fs.exists(root) else [])
        return sorted(f"{folder}/{name.removeprefix(root).lstrip('/')}" for name in found)

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file."""
        if self.local:
            target = Path(self.path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            write_durably(target, data)
        else:
            self._try(path, lambda: self._fs.pipe_file(self.path(path), data))

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """A file to write; it comes into being when the block ends without an error.

        Locally it is written under a temporary name, synced and renamed; elsewhere in a transaction of fsspec, which
        for object stores is a multipart upload, completed at the end. Memory is bounded by the store's part size.
        """
        if self.local:
            target = Path(self.path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                with temporary.open("wb", buffering=0) as file:
                    yield cast(BinaryIO, file)
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(target.parent)
        else:
            # A transaction belongs to an instance, and threads share instances.
            options = {**self.config.options, "skip_instance_cache": True}
            fs = fsspec.url_to_fs(self.url, **options)[0]
            with fs.transaction, fs.open(self.path(path), "wb") as file:
                yield file

    def sweep(self, folder: str) -> None:
        """Remove what killed writers left under temporary names. Elsewhere than locally they leave none."""
        if self.local:
            for path in Path(self.path(folder)).glob(".*.tmp"):
                path.unlink(missing_ok=True)


def _piece(version: str, first: int, last: int) -> str:
    return f"{version}-{first}-{last}"
