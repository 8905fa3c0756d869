"""File systems of URLs, and their files as Python's file objects."""

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import fsspec

from step3vl.data.storage.store_config import StoreConfig

_SMALL = 5 << 20  # bytes that are written by one request, the least that S3 takes as a part of several


class RangeReader(io.RawIOBase):
    """A file of which only what is read is fetched.

    Args:
        read: Returns bytes `start` to `stop` of the file.
        size: Bytes of the file.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._read, self._size, self._position = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self._position, 0)
        count = left if size is None or size < 0 else min(size, left)
        data = self._read(self._position, self._position + count) if count else b""
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Upload(io.RawIOBase):
    """A new file of a remote store, visible once it is committed. A small one is a single request.

    Args:
        put: Writes a complete file.
        begin: Starts to write a large file.
        failed: The error to raise for one of the store.
    """

    def __init__(
        self,
        put: Callable[[bytes], None],
        begin: Callable[[], "LargeUpload"],
        failed: Callable[[Exception], Exception],
    ) -> None:
        super().__init__()
        self._put, self._begin, self._failed = put, begin, failed
        self._start = bytearray()
        self._large: LargeUpload | None = None
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._large is None:
            self._start += data
            if len(self._start) > _SMALL:
                self._large = self._begin()
                data, self._start = bytes(self._start), bytearray()
        if self._large is not None:
            try:
                self._large.write(data)
            except Exception as error:
                raise self._failed(error) from error
        self._position += size
        return size

    def commit(self) -> None:
        """Make the file visible."""
        if self._large is None:
            self._put(bytes(self._start))
            return
        try:
            self._large.finish(commit=True)
        except Exception as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Drop what was written."""
        if self._large is not None:
            with suppress(Exception):  # the caller has an error already
                self._large.finish(commit=False)


class LargeUpload:
    """A file that is written in parts.

    Args:
        fs: The file system.
        path: The path in it.
        fresh: Makes a file system of which no transaction is open, where `fs` knows no other way to commit.
    """

    def __init__(self, fs: Any, path: str, fresh: Callable[[], Any]) -> None:
        self._transaction: Any = None
        if fs.async_impl:  # a transaction belongs to an instance, which threads share; and a new one takes 0.2 s
            self._file = fs._open(path, mode="wb", autocommit=False)
        else:
            fs = fresh()
            self._transaction = fs.transaction
            self._transaction.start()
            self._file = fs.open(path, "wb")

    def write(self, data: Any) -> None:
        self._file.write(data)

    def finish(self, commit: bool) -> None:
        """Complete the file, or drop it."""
        try:
            self._file.close()
        finally:
            if self._transaction is not None:
                self._transaction.complete(commit=commit)
            elif not commit:
                self._file.discard()
        if commit and self._transaction is None:
            self._file.commit()


def file_system(url: str, config: StoreConfig, **further: Any) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Listings are not cached: other machines write, too."""
    protocol = fsspec.utils.get_protocol(url)
    options = {**config.options_of(protocol), **further}
    if fsspec.get_filesystem_class(protocol).async_impl:
        options.setdefault("use_listings_cache", False)
    return fsspec.url_to_fs(url, **options)
