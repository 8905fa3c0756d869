"""The files of an entry, listed by their patterns.

Workers list, pattern by pattern and folder by folder, so no process ever holds the list of all inputs.
"""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from blake3 import blake3

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.storage import FileInfo, StoreConfig, is_url, list_files

_log = logging.getLogger(__name__)

_WILDCARD = re.compile(r"[*?\[]")


class InputFile(Config):
    """A file that an entry reads."""

    key: str
    """The path as the pattern spells it; names the record."""
    url: str
    """Absolute."""
    size: int
    """In bytes."""
    version: str
    """What changes with the content: the ETag of a store, the modification time of a local file."""
    licence: str


def list_pattern(
    pattern: str, licence: str, *, entry: str, base: str, store: StoreConfig, optional: bool = False
) -> Iterator[InputFile]:
    """The files that match a pattern, in no particular order.

    Args:
        pattern: A path, absolute or relative to `base`, or a URL; `**` matches any folders. The keys of the files are
            spelled as it is: those of a relative pattern are relative.
        licence: Of the files.
        entry: The name of the entry, for the error.
        base: An absolute local folder.
        store: How remote stores are used.
        optional: Whether it may match nothing, which is then a warning.

    Raises:
        UserError: The pattern matches nothing and is not optional, or it matches a file whose name is not Unicode.
        StoreError: The store does not answer.
    """
    for key, file in list_keys(pattern, entry=entry, base=base, store=store, optional=optional):
        yield InputFile(key=key, url=file.path, size=file.size, version=file.version, licence=licence)


def list_keys(
    pattern: str, *, entry: str, base: str, store: StoreConfig, optional: bool = False
) -> Iterator[tuple[str, FileInfo]]:
    """The key, and what the store tells, of each file that `list_pattern` lists; as cheap as millions of them need."""
    spelled, listed = _roots(pattern, base)
    empty = True
    for file in list_files(absolute_pattern(pattern, base), store):
        empty = False
        key = spelled + file.path.removeprefix(listed)
        if not _is_unicode(key):
            raise UserError(f"{entry}: the name of {key!a} is not Unicode; rename the file or narrow {pattern!r}")
        yield key, file
    if empty and optional:
        _log.warning("%s: no file matches %r%s; nothing of it is built", entry, pattern, _from(pattern, base))
    elif empty:
        raise UserError(f"{entry}: no file matches {pattern!r}{_from(pattern, base)}; correct the pattern")


def file_hash(file: InputFile, path: Path) -> int:
    """128 bits of the BLAKE3 hash of a file's key and content. The sum over files does not depend on their order.

    Args:
        file: The file.
        path: Where it is on this machine.

    Raises:
        InfrastructureError: It cannot be read.
    """
    content = blake3()
    try:
        content.update_mmap(path)
    except OSError as error:  # which does not name the file
        raise InfrastructureError(f"{file.url} cannot be read: {error}") from error
    digest = blake3(f"{file.key}\0{content.hexdigest()}".encode()).digest()
    return int.from_bytes(digest[:16], "big")


def absolute_pattern(pattern: str, base: str) -> str:
    """A pattern without regard to the working directory: relative ones start from `base`."""
    return pattern if is_url(pattern) else os.path.normpath(os.path.join(base, pattern))  # noqa: PTH118


def _roots(pattern: str, base: str) -> tuple[str, str]:
    """How the part of a pattern before its first wildcard begins the keys of its files, and their absolute paths."""
    if is_url(pattern):
        return "", ""
    parts = PurePosixPath(pattern).parts
    fixed = [*parts[: next((i for i, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))]]
    spelled, listed = PurePosixPath(*fixed).as_posix(), absolute_pattern(os.path.join(*fixed, ""), base)  # noqa: PTH118
    if spelled == ".":
        return "", listed.rstrip("/") + "/"
    return spelled.rstrip("/"), listed.rstrip("/")


def _is_unicode(name: str) -> bool:
    """Whether a name can be written; Linux allows any bytes in one, which Python shows as lone surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from(pattern: str, base: str) -> str:
    return "" if is_url(pattern) or pattern.startswith("/") else f" from {base}"
