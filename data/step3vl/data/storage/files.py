"""Atomic durable writes, and reading of slices of local files."""

import fcntl
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Annotated, BinaryIO, cast

from pydantic import AfterValidator

from step3vl.data.errors import UserError

logger = logging.getLogger(__name__)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # `Path` makes one slash of two


def is_url(path: str | Path) -> bool:
    """Whether this is a URL rather than a local path."""
    return _URL.match(str(path)) is not None


def in_process_memory(path: str | Path) -> bool:
    """Whether this is a URL of fsspec's `memory://`, whose files no other process sees."""
    return str(path).rpartition("::")[2].startswith("memory:/")


def require_local(path: str | Path) -> None:
    """Refuse a URL as the place of a result: only local folders are written to.

    Raises:
        UserError: `path` is a URL; as a path it would become a folder such as `./s3:`.
    """
    match = _URL.match(str(path))
    if match:
        url = f"{match[1]}://{str(path)[match.end() :]}"
        raise UserError(
            f"{url} is not a local path, and results are only written to local folders; write to a folder and copy "
            "it to the store, from where it can be read"
        )


def _local(path: str) -> str:
    try:
        require_local(path)
    except UserError as error:
        raise ValueError(str(error)) from None
    return path


LocalPath = Annotated[str, AfterValidator(_local)]
"""The type of a configuration's field that says where a result is written: a local path, never a URL."""


def write_durably(path: Path, data: bytes) -> None:
    """Write a file atomically: it exists complete or not at all, even when the process is killed."""
    with new_file(path) as file:
        write_all(file, data)


def create_file(path: Path, data: bytes) -> None:
    """Write a new file atomically. Raises FileExistsError when there is one of this name."""
    with new_file(path, replace=False) as file:
        write_all(file, data)


@contextmanager
def new_file(path: Path, *, durable: bool = True, replace: bool = True) -> Iterator[BinaryIO]:
    """Open an unbuffered file for writing, which gets its name at the end of the block; after an error it is removed.

    Args:
        path: The file.
        durable: Whether it survives a power failure.
        replace: Whether a file of this name is replaced; otherwise it raises FileExistsError.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb", buffering=0) as file:
            yield cast(BinaryIO, file)
            if durable:
                os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike a rename it fails where the name is taken
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        _sync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among the threads and processes of this machine. Its file is removed at the end.

    It ends with the process. Who came while the file was being removed may hold another lock of the same name, and
    then does the work twice.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def locked_if_possible(path: Path) -> Iterator[None]:
    """The same, for work that is only done twice without a lock: where the disk refuses it, there is none."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path))
        except OSError as error:
            logger.warning("no lock at %s: %s", path, error)
        yield


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write to an unbuffered file, which may take less than it is given."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _sync_folder(path: Path) -> None:
    """Make renames in a folder survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FileHandle:
    """An open file, closed when the last reference to it is gone."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class SliceReader:
    """Reads slices of local files and keeps up to `max_open` of them open. Threads may share it."""

    def __init__(self, max_open: int = 64) -> None:
        self._max_open = max_open
        self._open: dict[str, FileHandle] = {}
        self._lock = Lock()

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes `start` to `stop`, fewer where the file ends. Raises OSError."""
        handle = self._open.get(path) or self._add(path)
        data = os.pread(handle.number, stop - start, start)
        while len(data) < stop - start and (
            more := os.pread(handle.number, stop - start - len(data), start + len(data))
        ):
            data += more  # Linux returns at most 2 GiB at once
        return data

    def close(self, path: str) -> bool:
        """Close a file, so that the next read opens it again. Returns whether it was open."""
        return self._open.pop(path, None) is not None

    def _add(self, path: str) -> FileHandle:
        handle = FileHandle(path)
        with self._lock:
            while len(self._open) >= self._max_open:
                del self._open[next(iter(self._open))]
            self._open[path] = handle
        return handle
