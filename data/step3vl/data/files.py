"""Files that are there whole or not at all, whenever the process that writes them is killed; and reading of slices."""

import os
from pathlib import Path
from threading import Lock


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole file so that it is either there complete or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Handle:
    """An open file, closed when nobody refers to it any longer."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class Slices:
    """Reads slices of local files, of which it keeps some open. Threads may share it."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._open: dict[str, _Handle] = {}
        self._lock = Lock()

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Fewer bytes where the file ends. Raises OSError."""
        handle = self._open.get(path) or self._keep(path)
        data = os.pread(handle.number, stop - start, start)
        while len(data) < stop - start and (
            more := os.pread(handle.number, stop - start - len(data), start + len(data))
        ):
            data += more  # Linux hands out 2 GiB at once
        return data

    def _keep(self, path: str) -> _Handle:
        handle = _Handle(path)
        with self._lock:
            while len(self._open) >= self._most:
                del self._open[next(iter(self._open))]
            self._open[path] = handle
        return handle
