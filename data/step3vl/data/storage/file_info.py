"""The size of a file, and a version of its content, from what file systems tell without reading it."""

import os
import stat
from datetime import datetime
from typing import Any, NamedTuple

# The names under which stores list what changes with the content of a file, the best first.
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "generation"),
    *("LastModified", "last_modified", "Last-Modified", "mtime", "modified", "updated", "created"),
)


class FileInfo(NamedTuple):
    """A file.

    Attributes:
        path: As the function that returns it says: relative to a store, or absolute.
        size: In bytes.
        version: Changes with the content: the ETag of a store, the modification time of a local file in nanoseconds.
            Empty where the store tells neither.
    """

    path: str
    size: int
    version: str


def local_info(path: str, status: os.stat_result) -> FileInfo:
    """The information of a local file. Raises IsADirectoryError for a folder."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{path} is a folder")
    return FileInfo(path, status.st_size, str(status.st_mtime_ns))


def remote_info(path: str, entry: dict[str, Any]) -> FileInfo:
    """The information of a file from fsspec's entry for it. Raises IsADirectoryError for a folder."""
    if entry["type"] == "directory":
        raise IsADirectoryError(f"{path} is a folder")
    version = next((entry[name] for name in _VERSIONS if entry.get(name)), "")
    if isinstance(version, datetime):  # some file systems list a number where they tell a date of a single file
        version = version.timestamp()
    return FileInfo(path, int(entry["size"]), str(version).strip('"'))
