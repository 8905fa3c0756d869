"""A folder of bounded size with copies of what was read from a distant store, shared by the processes of a machine."""

import logging
import os
import uuid
from pathlib import Path

logger = logging.getLogger(__name__)

PIECES = 16  # no piece is larger than this part of the limit


class Cache:
    """Pieces of files by name; a name must say which content it means, for nothing here ever becomes stale.

    A piece is there whole or not at all. When more than `limit` bytes lie in the folder, those used longest ago go.
    Each process looks at the whole folder only after it has added a sixteenth of the limit, so P of them may exceed it
    by P sixteenths for a while.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._unseen = limit  # what may have come since the folder was looked at: at first, anything

    def get(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            data = path.read_bytes()
            os.utime(path)  # the order of use is kept in the time of change
        except FileNotFoundError:  # never there, or another process just removed it
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep a piece, unless it is larger than a sixteenth of the limit or the disk will not take it."""
        if len(data) > self._limit // PIECES:
            return
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            logger.warning("no copy was kept in %s: %s", self._folder, error)
            return
        self._unseen += len(data)
        if self._unseen > self._limit // PIECES:
            self._trim()

    def forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _trim(self) -> None:
        found = []
        for path in self._folder.glob("??/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # removed by another process meanwhile
                continue
            found.append((status.st_mtime_ns, status.st_size, path))
        held = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if held <= self._limit:
                break
            path.unlink(missing_ok=True)
            held -= size
        self._unseen = 0
