"""Access to a dataset's files, on this machine or in any store that fsspec supports.

Requests to a remote store are retried with growing pauses, and copies are kept in a folder of bounded size when one is
configured. Local files are read and written directly. A file is visible complete or not at all.
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

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError
from step3vl.data.storage.cache import MIN_BLOCKS, BlockCache
from step3vl.data.storage.files import SliceReader, sync_folder, write_durably

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Retrying gives the same error; whatever else a store raises (each has its own classes) may be temporary.
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_FINAL = (*_ABSENT, PermissionError, ImportError, TypeError, ValueError)
_LONGEST_PAUSE = 30.0
_READ_SIZE = 1 << 23


class StoreConfig(Config):
    """How a remote store is used. Local files ignore it."""

    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the fsspec file system, such as `{"anon": true}`."""

    attempts: int = Field(default=6, ge=1)
    """Attempts of each request."""

    backoff: float = Field(default=0.5, ge=0)
    """Seconds before the second attempt; doubled for each further one, up to 30, with jitter."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds that an attempt may take where the file system is asynchronous (S3, GCS, Azure, HTTP)."""

    cache: Path | None = None
    """Folder for copies, which the processes of a machine may share. Without it every sample is a request."""

    cache_bytes: int = Field(default=16 * 2**30, gt=0)
    """Bytes that the folder may hold."""

    block: int = Field(default=4 * 2**20, gt=0)
    """Bytes that are fetched at once to fill it."""

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.block > self.cache_bytes // MIN_BLOCKS:
            raise ValueError(f"cache_bytes must hold {MIN_BLOCKS} blocks; raise it or lower block")
        return self


class StoreError(InfrastructureError):
    """A store does not answer, or refuses access. The data may be intact, so a reader must stop, not skip."""


DEFAULT_STORE = StoreConfig()


class ByteRange(NamedTuple):
    """Bytes `start` to `stop` of a file of `file_size` bytes whose content is identified by `version`."""

    path: str
    start: int
    stop: int
    file_size: int
    version: str

    def blocks(self, size: int) -> Iterator[tuple[int, int]]:
        """Start and end of the blocks of `size` bytes that cover the range; the last of a file may be shorter."""
        for first in range(self.start - self.start % size, self.stop, size):
            yield first, min(first + size, self.file_size)


class Store:
    """The files under a URL; paths are relative to it.

    Args:
        url: A local path or any URL of fsspec.
        config: How a remote store is used.
    """

    def __init__(self, url: str, config: StoreConfig) -> None:
        self.url, self.config = url, config
        fs, self._root = fsspec.url_to_fs(url, **config.options)
        self.local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        self._slices = SliceReader()
        cached = config.cache is not None and not self.local
        self._cache = BlockCache(cast(Path, config.cache), config.cache_bytes) if cached else None

    @property
    def _fs(self) -> Any:
        """fsspec caches an instance for each process, so this is safe after a fork where an attribute is not."""
        return fsspec.url_to_fs(self.url, **self.config.options)[0]

    def path(self, path: str) -> str:
        """The path in the file system."""
        return f"{self._root}/{path}"

    def read(self, span: ByteRange) -> bytes:
        """Read a byte range; fewer bytes where the file is shorter than it should be.

        Raises:
            FileNotFoundError: The file is missing.
            StoreError: The store refuses, or still fails at the last attempt.
        """
        if self._cache is None:
            return self._fetch(span.path, span.start, min(span.stop, span.file_size))
        blocks = []
        for first, last in span.blocks(self.config.block):
            name = _block_name(span.version, first, last)
            block = self._cache.get(name)
            if block is None or len(block) != last - first:
                block = self._fetch(span.path, first, last)
                self._cache.put(name, block)
            blocks.append(block[max(span.start - first, 0) : span.stop - first])
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def forget(self, span: ByteRange) -> bool:
        """Drop cached copies that proved to be damaged. Returns whether there can have been any."""
        if self._cache is None:
            return False
        for first, last in span.blocks(self.config.block):
            self._cache.forget(_block_name(span.version, first, last))
        return True

    def read_all(self, path: str, version: str | None = None) -> bytes:
        """Read a file; a copy is cached when `version` identifies its content. Raises as `read` does."""
        if self._cache is None or version is None:
            return self._fetch(path, None, None)
        name = f"{version}-whole"
        data = self._cache.get(name)
        if data is None:
            data = self._fetch(path, None, None)
            self._cache.put(name, data)
        return data

    def part(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes of a file from the store, never from the cache. Raises as `read` does."""
        return self._fetch(path, start, stop)

    def open(self, path: str, version: str | None) -> pa.NativeFile:
        """Open a file for pyarrow: memory-mapped where it is local, otherwise in memory. Raises as `read_all`."""
        if self.local:
            return pa.memory_map(self.path(path))
        return pa.BufferReader(self.read_all(path, version))

    def _fetch(self, path: str, start: int | None, stop: int | None) -> bytes:
        def request() -> bytes:
            if self.local:
                read_file = Path(self.path(path)).read_bytes
                return (
                    read_file() if start is None or stop is None else self._slices.read(self.path(path), start, stop)
                )
            fs = self._fs
            limit = {"timeout": self.config.timeout} if fs.async_impl else {}
            try:
                data = fs.cat_file(self.path(path), start=start, end=stop, **limit)
            except _FINAL:
                raise
            except Exception:
                if start is not None and self._ends_before(path, start):
                    return b""  # past the end, which some stores answer with an error
                raise
            if start is not None and stop is not None and len(data) > stop - start:
                raise ValueError("the server ignores range requests and sends complete files")
            return data

        return self._try(path, request)

    def _try(self, path: str, request: Callable[[], T]) -> T:
        if self.local:  # retrying a local error gives the same error
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
        advice = "" if self.local else f", or raise `attempts` ({self.config.attempts}) or `timeout`"
        return StoreError(
            f"{self.url}/{path} cannot be read or written: {type(error).__name__}: {error}; check the store and your "
            f"access to it{advice}"
        )

    def size(self, path: str) -> int:
        """Bytes of a file. Raises as `read` does."""
        return self._try(path, lambda: self._size(path))

    def _size(self, path: str) -> int:
        try:
            return int(self._fs.size(self.path(path)))
        except FileNotFoundError as error:  # fsspec raises it for every error over HTTP
            if error.__cause__ is None or isinstance(error.__cause__, FileNotFoundError):
                raise
            raise error.__cause__ from None

    def _ends_before(self, path: str, position: int) -> bool:
        try:
            return self._size(path) <= position
        except Exception:  # the store still fails, which tells nothing about the file
            return False

    def hash(self, path: str) -> str:
        """BLAKE3 of a file, read in parts. Raises as `size` does."""
        digest, position, size = blake3(), 0, self.size(path)
        while position < size and (block := self._fetch(path, position, min(position + _READ_SIZE, size))):
            digest.update(block)
            position += len(block)
        return digest.hexdigest()

    def listing(self, folder: str) -> list[str] | None:
        """The files under a folder, sorted; None where the store cannot list files, as over HTTP."""
        if "http" in self._fs.protocol:
            return None
        root = self.path(folder)
        names = self._try(folder, lambda: self._fs.find(root) if self._fs.exists(root) else [])
        return sorted(f"{folder}/{name.removeprefix(root).lstrip('/')}" for name in names)

    def put(self, path: str, data: bytes) -> None:
        """Write a file atomically."""
        if self.local:
            target = Path(self.path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            write_durably(target, data)
        else:
            self._try(path, lambda: self._fs.pipe_file(self.path(path), data))

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open a file for writing; it becomes visible when the `with` block ends without an error.

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
        """Remove the temporary files of killed writers. Remote writers leave none."""
        if self.local:
            for path in Path(self.path(folder)).glob(".*.tmp"):
                path.unlink(missing_ok=True)


def _block_name(version: str, first: int, last: int) -> str:
    return f"{version}-{first}-{last}"
