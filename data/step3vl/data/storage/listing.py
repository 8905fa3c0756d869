"""The files that a pattern matches, in any store, found folder by folder."""

import fnmatch
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from step3vl.data.storage.file_info import FileInfo
from step3vl.data.storage.shared_stores import split_url
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import ABSENT, DEFAULT_STORE, StoreConfig

_ANY = "**"
_WILD = re.compile(r"[*?[]")


def list_files(pattern: str, config: StoreConfig = DEFAULT_STORE) -> Iterator[FileInfo]:
    """List the files that a pattern matches, each once, in no particular order, with their absolute paths or URLs.

    The rules are the shell's: `*`, `?` and `[...]` match within a name, `**` matches any folders, and none of them a
    leading dot. Memory is that of the folders that are open, see `Store.entries`.

    Args:
        pattern: An absolute local path or a URL, such as `s3://bucket/scans/**/*.pdf`. Over HTTP it names one file.
        config: How a remote store is used.

    Raises:
        StoreError: The store does not answer, or cannot list files. No match is no error.
    """
    root, path = split_url(pattern)
    parts = [part for part in path.split("/") if part]
    if root.startswith("http"):  # where `?` begins a query
        parts = [path.replace("*", "[*]")] if "*" in path else [path]
    store = Store(root, config)
    if parts:
        yield from _walk(store, parts, "", frozenset({0}))


def _walk(store: Store, parts: list[str], folder: str, states: frozenset[int]) -> Iterator[FileInfo]:
    """The files below a folder that match one of the rests of the pattern, `parts[state:]`."""
    while not states >= (skipped := {n + 1 for n in states if parts[n] == _ANY and n + 1 < len(parts)}):
        states |= skipped  # `**` matches no folder, too
    if len(states) == 1 and not _WILD.search(name := parts[min(states)]):
        path, state = f"{folder}{name}", min(states)
        if state + 1 < len(parts):
            yield from _walk(store, parts, f"{path}/", frozenset({state + 1}))
        else:
            try:
                yield store.info(path)._replace(path=store.absolute(path))
            except ABSENT:
                return
        return
    absolute, files = store.absolute(folder), [parts[state] for state in states if state + 1 == len(parts)]
    for entry in store.entries(folder.rstrip("/")):
        name = entry.name
        if not entry.is_folder:
            for part in files:
                if _expression(part).match(name):
                    break
            else:
                continue
            try:
                info = entry.info(absolute + name)
            except ABSENT:  # removed since, or a link to nothing
                continue
            yield info
            continue
        path = f"{folder}{name}"
        below = {
            state if parts[state] == _ANY else state + 1
            for state in states
            if (parts[state] == _ANY or state + 1 < len(parts)) and _expression(parts[state]).match(name)
        }
        if below and not (store.local and _is_loop(Path(store.path(path)))):
            yield from _walk(store, parts, f"{path}/", frozenset(below))


@lru_cache
def _expression(part: str) -> re.Pattern[str]:
    """What the names match that a part of a pattern matches."""
    expression = "" if part == _ANY else fnmatch.translate(part)
    return re.compile(expression if part.startswith(".") else rf"(?!\.){expression}")


def _is_loop(folder: Path) -> bool:
    """Whether a local folder is a link to a folder that it is in."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
