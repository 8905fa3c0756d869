"""A folder of bounded size with copies of remote data, shared by the processes of a machine."""

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from step3vl.data.storage.files import new_file, write_all

logger = logging.getLogger(__name__)

MIN_BLOCKS = 16  # no block is larger than this part of the limit


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
        self._unchecked = limit  # bytes that may have been added since the last check: at first, any number

    def get(self, name: str) -> bytes | None:
        """The block of this name, or None."""
        path = self._path(name)
        try:
            data = path.read_bytes()
            os.utime(path)  # the modification time is the time of the last use
        except FileNotFoundError:  # never there, or another process just removed it
            return None
        return data

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
        self._unchecked += len(data)
        if self._unchecked > self._limit // MIN_BLOCKS:
            trim(self._folder.glob("??/*"), self._limit)
            self._unchecked = 0

    def forget(self, name: str) -> None:
        """Remove a block."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def trim(paths: Iterable[Path], limit: int, in_use: float = 0.0) -> None:
    """Remove the least recently used files until the others hold no more than `limit` bytes.

    Args:
        paths: The files. Their modification times are those of their last use; other processes may remove them.
        limit: In bytes.
        in_use: Seconds after its last use that a file stays, even beyond the limit.
    """
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
