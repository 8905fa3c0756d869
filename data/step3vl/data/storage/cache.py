"""A folder of bounded size with copies of remote data, shared by the processes of a machine."""

import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from step3vl.data.storage.files import locked_if_possible, new_file, write_all
from step3vl.data.storage.slices import ByteRange

logger = logging.getLogger(__name__)

MIN_BLOCKS = 16  # no block is larger than this part of the limit; when as much was added, the size is checked


class BlockCache:
    """Blocks of bytes by name. A name must identify the content, because nothing here is ever invalidated.

    A block is there complete or not at all. When the folder holds more than `limit` bytes, the least recently used
    blocks are removed. Each process checks the size only after it has added a sixteenth of the limit, so P processes
    may exceed it by P sixteenths for a while.

    Args:
        folder: Folder of the cache.
        limit: Bytes that it may hold.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._bound = FolderBound(limit, lambda: folder.glob("??/*"))

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Bytes `start` to `stop` of the block of this name, by default all of it; None where it is not kept."""
        try:
            handle = os.open(self._path(name), os.O_RDONLY)
        except FileNotFoundError:  # never there, or another process just removed it
            return None
        try:
            os.utime(handle)  # the modification time is the time of the last use
            size = os.fstat(handle).st_size
            return os.pread(handle, (size if stop is None else stop) - start, start)
        finally:
            os.close(handle)

    def put(self, name: str, data: bytes) -> None:
        """Store a block, unless it is larger than a sixteenth of the limit or the disk refuses it."""
        if len(data) > self._limit // MIN_BLOCKS:
            return
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path, durable=False) as file:
                write_all(file, data)
        except OSError as error:
            logger.warning("no copy was kept in %s: %s", self._folder, error)
            return
        self._bound.add(len(data))

    def read(
        self, span: ByteRange, block: int, fetch: Callable[[int, int], bytes], *, fill: bool = True
    ) -> bytes | None:
        """A range of a file from its blocks.

        Args:
            span: The range.
            block: Bytes of a block.
            fetch: Fetches bytes of the file.
            fill: Whether to fetch and keep the blocks that are missing.

        Returns:
            The bytes; None where a block is missing and they are not filled.
        """
        parts = []
        for first, last in span.blocks(block):
            name = _block_name(span, first, last)
            start, stop = max(span.start, first) - first, min(span.stop, last) - first
            part = self.get(name, start, stop)
            if part is None or len(part) != stop - start:
                if not fill:
                    return None
                with locked_if_possible(self._path(name).with_name(f".{name}.lock")):
                    part = self.get(name, start, stop)  # another thread or process may have fetched it meanwhile
                    if part is None or len(part) != stop - start:
                        data = fetch(first, last)
                        self.put(name, data)
                        part = data[start:stop]
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def forget(self, span: ByteRange, block: int) -> None:
        """Remove the blocks of a range."""
        for first, last in span.blocks(block):
            self._path(_block_name(span, first, last)).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def _block_name(span: ByteRange, first: int, last: int) -> str:
    return f"{span.version}-{first}-{last}"


class FolderBound:
    """Keeps files within a number of bytes, which is checked only after a sixteenth of it was added.

    Args:
        limit: In bytes.
        paths: Lists the files. Their modification times are those of their last use; other processes may remove them.
        in_use: Seconds after its last use that a file stays, even beyond the limit.
    """

    def __init__(self, limit: int, paths: Callable[[], Iterable[Path]], in_use: float = 0.0) -> None:
        self._limit, self._paths, self._in_use = limit, paths, in_use
        self._unchecked = limit  # bytes that may have been added since the last check: at first, any number

    def add(self, size: int) -> None:
        """Note that so many bytes were added, and remove the least recently used files where they are too many."""
        self._unchecked += size
        if self._unchecked > self._limit // MIN_BLOCKS:
            _trim(self._paths(), self._limit, self._in_use)
            self._unchecked = 0


def _trim(paths: Iterable[Path], limit: int, in_use: float) -> None:
    """Remove the least recently used files until the others hold no more than `limit` bytes."""
    files = []
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:  # another process just removed it
            continue
        files.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in files)
    newest = time.time_ns() - int(in_use * 1e9)
    for used, size, path in sorted(files):
        if total <= limit or used > newest:
            break
        path.unlink(missing_ok=True)
        total -= size
