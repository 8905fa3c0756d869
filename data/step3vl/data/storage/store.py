"""Access to files, on this machine or in any store that fsspec supports.

Requests to a remote store are retried with growing pauses, and copies are kept in a folder of bounded size when one is
configured. Local files are read and written directly. A file is visible complete or not at all.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import pyarrow as pa
from blake3 import blake3

from step3vl.data.storage.cache import BlockCache
from step3vl.data.storage.file_info import FileInfo, local_info, remote_info
from step3vl.data.storage.files import SliceReader, create_file, new_file, write_durably
from step3vl.data.storage.folders import FolderEntry, local_entries, remote_entries
from step3vl.data.storage.remote_files import LargeUpload, RangeReader, Upload, file_system
from step3vl.data.storage.slices import ByteRange, Slice, fault_of, merge_slices
from step3vl.data.storage.store_config import ABSENT, FINAL, REQUESTS, StoreConfig, StoreError, retried

T = TypeVar("T")

_READ_SIZE = 1 << 23
_CONCURRENT = 16  # reads of `read_many` at a time
_COPY = "copy the dataset to a folder or a store such as s3:// first, or give another place for the result"


class Store:
    """The files under a URL; paths are relative to it. Threads may share it, and it can be pickled.

    Args:
        url: A local path or any URL of fsspec.
        config: How a remote store is used.
    """

    def __init__(self, url: str, config: StoreConfig) -> None:
        self.url, self.config = url, config
        fs, root = file_system(url, config)
        self._root = root.rstrip("/")
        self.local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        self._slices = SliceReader()
        cached = config.cache is not None and not self.local
        self._cache = BlockCache(cast(Path, config.cache), config.cache_bytes) if cached else None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.config)

    @property
    def _fs(self) -> Any:
        """fsspec caches an instance for each process, so this is safe after a fork where an attribute is not."""
        return file_system(self.url, self.config)[0]

    def path(self, path: str) -> str:
        """The path in the file system."""
        return f"{self._root}/{path}" if path else self._root

    def absolute(self, path: str) -> str:
        """The absolute path, or the URL, of a file."""
        return f"{self.url.rstrip('/')}/{path}"

    # Reading

    def read(self, span: ByteRange, *, in_blocks: bool = True) -> bytes:
        """Read a byte range; fewer bytes where the file is shorter than it should be.

        Args:
            span: The range.
            in_blocks: Whether whole blocks are fetched and kept where there is a cache, because the rest of them will
                be read on this machine, too. Otherwise only what is kept already comes from there.

        Raises:
            FileNotFoundError: The file is missing.
            StoreError: The store refuses, or still fails at the last attempt.
        """
        fetch = partial(self._fetch, span.path)
        if self._cache is not None:
            data = self._cache.read(span, self.config.block, fetch, fill=in_blocks)
            if data is not None:
                return data
        return fetch(span.start, min(span.stop, span.file_size))

    def forget(self, span: ByteRange) -> bool:
        """Drop what is kept of a range that proved to be damaged. Returns whether reading it again may help."""
        if self.local:
            return self._slices.close(self.path(span.path))  # the file may have been replaced since it was opened
        if self._cache is None:
            return False
        self._cache.forget(span, self.config.block)
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

    def read_many(self, slices: Sequence[Slice]) -> list[bytes]:
        """Read slices of any files, neighbouring ones of a file together, and several at a time from a remote store.

        Memory: twice the slices, and what lies between those that are read together.

        Args:
            slices: Any `FileSlice`s or `Pointer`s, in any order.

        Returns:
            The bytes of each slice, in the order of the slices.

        Raises:
            FileNotFoundError: A file is missing.
            StoreError: The store does not answer, or the bytes are too few or not those that were written.
        """
        parts = [b""] * len(slices)
        reads = merge_slices(slices)
        for read, data in zip(reads, self._fetch_many([read[:3] for read in reads]), strict=True):
            for number in read.members:
                start = slices[number].offset - read.start
                parts[number] = data[start : start + slices[number].size]
        for number, part in enumerate(slices):
            if fault_of(part, parts[number]) is None:
                continue
            if self.local:
                self._slices.close(self.path(part.path))  # the file may have been replaced since it was opened
            parts[number] = self._fetch(part.path, part.offset, part.offset + part.size)
            if fault := fault_of(part, parts[number]):
                raise StoreError(f"{self.absolute(part.path)} is damaged: {fault}")
        return parts

    def _fetch_many(self, spans: list[tuple[str, int, int]]) -> Iterator[bytes]:
        """The bytes of each span; those whose read failed are fetched again by themselves."""
        fs = self._fs
        for first in range(0, len(spans), _CONCURRENT):
            batch = spans[first : first + _CONCURRENT]
            results: list[Any] = [None] * len(batch)
            if getattr(fs, "async_impl", False) and len(batch) > 1:
                paths, starts, stops = (list(column) for column in zip(*batch, strict=True))
                REQUESTS.add(len(batch))
                with suppress(Exception):
                    results = fs.cat_ranges(
                        [self.path(path) for path in paths], starts, stops, timeout=self.config.timeout
                    )
            for (path, start, stop), data in zip(batch, results, strict=True):
                intact = isinstance(data, bytes) and len(data) == stop - start
                yield data if intact else self._fetch(path, start, stop)

    def open(self, path: str, version: str | None) -> pa.NativeFile:
        """Open a file for pyarrow: memory-mapped where it is local, otherwise in memory. Raises as `read_all`."""
        if self.local:
            return self._map(path)
        return pa.BufferReader(self.read_all(path, version))

    def open_ranges(self, path: str) -> pa.NativeFile:
        """Open a large file for pyarrow, of which only what is read is fetched. Raises as `read` does."""
        if self.local:
            return self._map(path)
        counter = REQUESTS.counter

        def read(start: int, stop: int) -> bytes:
            with REQUESTS.counted_by(counter):  # pyarrow also reads in threads of its own
                return self.part(path, start, stop)

        return pa.PythonFile(RangeReader(read, self.size(path)), mode="r")

    def _map(self, path: str) -> pa.NativeFile:
        REQUESTS.add()
        return pa.memory_map(self.path(path))

    def _fetch(self, path: str, start: int | None, stop: int | None) -> bytes:
        def request() -> bytes:
            if self.local:
                read_file = Path(self.path(path)).read_bytes
                return (
                    read_file() if start is None or stop is None else self._slices.read(self.path(path), start, stop)
                )
            fs = self._fs
            options = {"timeout": self.config.timeout} if fs.async_impl else {}
            if start is None and hasattr(fs, "max_concurrency"):  # s3fs else asks for the size first, to read in parts
                options["max_concurrency"] = 1
            try:
                data = fs.cat_file(self.path(path), start=start, end=stop, **options)
            except FINAL:
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
        try:
            if self.local:  # retrying a local error gives the same error
                REQUESTS.add()
                return request()
            return retried(request, self.config)
        except (*ABSENT, FileExistsError):
            raise
        except Exception as error:
            if self.local and not isinstance(error, OSError):
                raise
            raise self._failed(path, error) from error

    def _failed(self, path: str, error: Exception) -> StoreError:
        advice = "" if self.local else f", or raise `attempts` ({self.config.attempts}) or `timeout`"
        return StoreError(
            f"{self.absolute(path)} cannot be read or written: {type(error).__name__}: {error}; check the store and "
            f"your access to it{advice}"
        )

    def hash(self, path: str) -> str:
        """BLAKE3 of a file, read in parts. Raises as `size` does."""
        digest, position, size = blake3(), 0, self.size(path)
        while position < size and (block := self._fetch(path, position, min(position + _READ_SIZE, size))):
            digest.update(block)
            position += len(block)
        return digest.hexdigest()

    # Names and sizes

    def info(self, path: str) -> FileInfo:
        """Size and version of a file. Raises as `read` does."""
        if self.local:
            return self._try(path, lambda: local_info(path, Path(self.path(path)).stat()))
        return self._try(path, lambda: self._remote_info(path))

    def _remote_info(self, path: str) -> FileInfo:
        try:
            return remote_info(path, self._fs.info(self.path(path)))
        except FileNotFoundError as error:  # fsspec raises it for every error over HTTP
            cause = error.__cause__
            if cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410):
                raise
            raise cause from None

    def size(self, path: str) -> int:
        """Bytes of a file. Raises as `read` does."""
        return self.info(path).size

    def _ends_before(self, path: str, position: int) -> bool:
        try:
            return self._remote_info(path).size <= position
        except Exception:  # the store still fails, which tells nothing about the file
            return False

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name. Raises StoreError as `read` does."""
        try:
            self.info(path)
        except ABSENT:
            return False
        return True

    def names(self, folder: str, suffix: str = "") -> Iterator[str]:
        """The names of the files directly in a folder that end with `suffix`, in any order; none without a folder."""
        for entry in self.entries(folder):
            if not entry.is_folder and entry.name.endswith(suffix):
                yield entry.name

    def entries(self, folder: str) -> Iterator[FolderEntry]:
        """What is directly in a folder, in any order; nothing where there is no folder.

        Raises:
            StoreError: The store does not answer, or cannot list files, as over HTTP.
        """
        try:
            if self.local:
                yield from local_entries(self.path(folder) or "/")
                return
            if "http" in self._fs.protocol:
                raise ValueError("an HTTP server lists no files; name each file")
            root, attempt = self.path(folder), partial(self._try, folder)
            yield from remote_entries(self._fs, root, self.config.timeout, attempt)
        except ABSENT:
            return
        except StoreError:
            raise
        except Exception as error:
            raise self._failed(folder, error) from error

    def listing(self, folder: str) -> list[str] | None:
        """The files under a folder, sorted; None where the store cannot list files, as over HTTP.

        Memory is that of their paths, and of the folders that are open.
        """
        return None if "http" in self._fs.protocol else sorted(self._walk(folder))

    def _walk(self, folder: str) -> Iterator[str]:
        for entry in self.entries(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            yield from self._walk(path) if entry.is_folder else (path,)

    # Writing

    def put(self, path: str, data: bytes) -> None:
        """Write a file atomically. Raises StoreError, over HTTP at once."""
        if self.local:
            REQUESTS.add()
            write_durably(self._target(path), data)
        else:
            self._require_writable(path)
            self._try(path, lambda: self._fs.pipe_file(self.path(path), data))

    def create_new(self, path: str, data: bytes) -> bool:
        """Write a small file atomically unless there is one of this name already.

        S3 decides by itself which of several writers wins. Other remote stores are asked first, so that two writers
        at the same moment may both win; and an attempt whose answer was lost makes the next one find its own file.

        Returns:
            Whether the file was written.
        """
        try:
            if self.local:
                REQUESTS.add()
                create_file(self._target(path), data)
            else:
                self._require_writable(path)
                self._try(path, lambda: self._fs.pipe_file(self.path(path), data, mode="create"))
        except FileExistsError:
            return False
        return True

    def _require_writable(self, path: str) -> None:
        """Refuse to write over HTTP, where each attempt would fail, and only after some time."""
        if "http" in self._fs.protocol:
            raise StoreError(f"{self.absolute(path)} cannot be written: over HTTP datasets are only read; {_COPY}")

    def _target(self, path: str) -> Path:
        target = Path(self.path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    @contextmanager
    def create(self, path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
        """Open a file for writing; it becomes visible when the `with` block ends without an error.

        Locally it is written under a temporary name, synced and renamed; for object stores it is a multipart upload,
        completed at the end. Memory is bounded by the store's part size.

        Args:
            path: The file.
            durable: Whether a local file survives a power failure.
        """
        if not self.local:
            with self._upload(path) as upload:
                yield upload
            return
        REQUESTS.add()
        with new_file(self._target(path), durable=durable) as file:
            yield file

    @contextmanager
    def _upload(self, path: str) -> Iterator[BinaryIO]:
        self._require_writable(path)

        def begin() -> LargeUpload:
            def fresh() -> Any:
                return file_system(self.url, self.config, skip_instance_cache=True)[0]

            return self._try(path, lambda: LargeUpload(self._fs, self.path(path), fresh))

        upload = Upload(lambda data: self.put(path, data), begin, lambda error: self._failed(path, error))
        try:
            yield cast(BinaryIO, upload)
            upload.commit()
        except BaseException:
            upload.discard()
            raise

    def remove(self, path: str) -> None:
        """Remove a file; a missing one is no error."""
        target = self.path(path)
        with suppress(FileNotFoundError):
            self._try(path, lambda: Path(target).unlink() if self.local else self._fs.rm_file(target))

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it; a missing one is no error."""
        target = self.path(path)
        with suppress(FileNotFoundError):
            self._try(path, lambda: shutil.rmtree(target) if self.local else self._fs.rm(target, recursive=True))

    def sweep(self, folder: str) -> None:
        """Remove the temporary files of killed writers. Remote writers leave none."""
        if self.local:
            for path in Path(self.path(folder)).glob(".*.tmp"):
                path.unlink(missing_ok=True)
