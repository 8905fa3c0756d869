"""What is directly in a folder, listed in a stream where the file system allows it."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fsspec.asyn import sync

from step3vl.data.storage.file_info import FileInfo, local_info, remote_info
from step3vl.data.storage.store_config import REQUESTS

_PAGE = 1000  # entries, as many as S3 lists in one request


class FolderEntry(NamedTuple):
    """A file or a folder in a folder. `source` is what the file system tells about it."""

    name: str
    is_folder: bool
    source: Any

    def info(self, path: str) -> FileInfo:
        """The information of the file, under a path to be named by. A local file that is gone raises an OSError."""
        if isinstance(self.source, os.DirEntry):
            return local_info(path, self.source.stat())
        return remote_info(path, self.source)


def local_entries(folder: str) -> Iterator[FolderEntry]:
    """What is in a local folder; links are followed. Raises OSError."""
    REQUESTS.add()
    with os.scandir(folder) as scan:
        for entry in scan:
            yield FolderEntry(entry.name, entry.is_dir(), entry)


def remote_entries(
    fs: Any, folder: str, timeout: float, attempt: Callable[[Callable[[], list[Any]]], list[Any]]
) -> Iterator[FolderEntry]:
    """What is in a folder of a remote store. S3 sends its pages one by one; of other stores one folder is in memory.

    Args:
        fs: The file system.
        folder: The path in it.
        timeout: Seconds for a page of S3, which s3fs tries several times.
        attempt: Makes the request of another store, and tries it again.

    Raises:
        FileNotFoundError: There is no such folder. On S3 it is empty.
    """
    if hasattr(fs, "_iterdir"):  # s3fs; its `ls` holds a gigabyte for a million files
        pages = _pages_of_s3(fs, folder, timeout)
    else:
        pages = iter([attempt(lambda: fs.ls(folder, detail=True))])
    for page in pages:
        for entry in page:
            path = entry["name"].rstrip("/")
            if path != folder:  # S3 may hold an empty object that stands for the folder
                yield FolderEntry(path.rpartition("/")[2], entry["type"] == "directory", entry)


def _pages_of_s3(fs: Any, folder: str, timeout: float) -> Iterator[list[dict[str, Any]]]:
    bucket, _, key = folder.partition("/")
    entries = fs._iterdir(bucket, prefix=f"{key}/" if key else "")
    while page := sync(fs.loop, _take, entries, timeout=timeout):
        REQUESTS.add()
        yield page


async def _take(entries: Any) -> list[dict[str, Any]]:
    page: list[dict[str, Any]] = []
    async for entry in entries:
        page.append(entry)
        if len(page) == _PAGE:
            break
    return page
