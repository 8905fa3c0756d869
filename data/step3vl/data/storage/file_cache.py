"""Local copies of remote files, for libraries that need a file: a folder of bounded size for all processes."""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from step3vl.data.storage.cache import FolderBound
from step3vl.data.storage.files import locked, new_file, write_all
from step3vl.data.storage.shared_stores import store_of
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import ABSENT, StoreConfig, StoreError

_LIMIT = 8 * 2**30  # bytes
_IN_USE = 300.0  # seconds after its last use that a file stays: its user may not have opened it yet
_BLOCK = 8 * 2**20  # bytes that are fetched at once


class FileCache:
    """Copies of files, each complete or not at all. The least recently used ones are removed first.

    Args:
        folder: The folder, which the processes of a machine may share.
        limit: Bytes that it may hold. Files that were used in the last minutes stay beyond it, and each process checks
            the size only after it has added a sixteenth of it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._bound = FolderBound(limit, folder.iterdir, _IN_USE)  # what killed processes left, too

    def local_path(self, url: str, version: str, config: StoreConfig | None = None) -> Path:
        """The path of a file on this machine: its own if it is local, otherwise that of a copy, fetched once.

        Args:
            url: Absolute path or URL of the file.
            version: Its version as it was listed, see `FileInfo`.
            config: How the store is used; by default as `use_store` set it.

        Raises:
            StoreError: The store does not answer, or the file is gone or no longer the one that was listed.
        """
        store, path = store_of(url, config)
        if store.local:
            _check(store, path, version)
            return Path(store.path(path))
        name = hashlib.blake2b(f"{url}\n{version}".encode(), digest_size=16).hexdigest()
        copy = self._folder / f"{name}{Path(path).suffix}"
        if not _touch(copy):
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder / f".{name}.lock"):
                fetched_elsewhere = _touch(copy)  # by another process meanwhile
                size = 0 if fetched_elsewhere else _download(store, path, version, copy)
            self._bound.add(size)
        return copy


@cache
def file_cache() -> FileCache:
    """The cache of this machine's user: 8 GiB in a folder below TMPDIR."""
    return FileCache(Path(tempfile.gettempdir()) / f"step3vl-files-{os.getuid()}", _LIMIT)


def _touch(path: Path) -> bool:
    """Note the use of a file. Returns whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _check(store: Store, path: str, version: str) -> int:
    """The size of a file. Raises StoreError unless it is there in this version."""
    try:
        info = store.info(path)
    except ABSENT:
        raise StoreError(f"{store.absolute(path)} is gone since it was listed") from None
    if info.version != version:
        raise StoreError(f"{store.absolute(path)} was changed since it was listed")
    return info.size


def _download(store: Store, path: str, version: str, copy: Path) -> int:
    """Fetch a file. Returns its size."""
    size = _check(store, path, version)
    with new_file(copy, durable=False) as file:
        for start in range(0, size, _BLOCK):
            write_all(file, store.part(path, start, min(start + _BLOCK, size)))
        if file.tell() != size:
            raise StoreError(f"{store.absolute(path)} was not read completely")
        _check(store, path, version)
    return size
