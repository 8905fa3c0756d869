"""Stores of absolute paths and URLs: one for each file system, shared by the code of a process."""

import os
import re
from collections.abc import Sequence
from threading import Lock

from step3vl.data.storage.slices import FileSlice, Slice
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/]*)/?(.*)", re.DOTALL)

_lock = Lock()
_stores: dict[str, Store] = {}
_config = DEFAULT_STORE


def use_store(config: StoreConfig) -> None:
    """Set how this process uses the stores of absolute paths and URLs where nothing else is said."""
    global _config
    _config = config


def split_url(url: str) -> tuple[str, str]:
    """The file system of an absolute path or URL, `/` or such as `s3://bucket`, and the path in it."""
    if url.startswith("file://"):
        url = url.removeprefix("file://")
    match = _URL.fullmatch(url)
    if match:
        return match[1], match[2]
    return "/", os.path.abspath(url).lstrip("/")  # noqa: PTH100 # `Path` keeps `..`


def store_of(url: str, config: StoreConfig | None = None) -> tuple[Store, str]:
    """The shared store that a path or URL is in, and the path in the store.

    Args:
        url: A local path or URL of a file.
        config: How the store is used; by default as `use_store` set it.
    """
    config = config or _config
    root, path = split_url(url)
    with _lock:
        store = _stores.get(root)
        if store is None or store.config != config:
            store = _stores[root] = Store(root, config)
    return store, path


def read_slices(slices: Sequence[Slice], config: StoreConfig | None = None) -> list[bytes]:
    """Read slices of files that absolute paths or URLs name, as `Store.read_many` does, whose errors it raises.

    Args:
        slices: Any `FileSlice`s or `Pointer`s.
        config: How the stores are used; by default as `use_store` set it.

    Returns:
        The bytes of each slice, in the order of the slices.
    """
    groups: dict[Store, list[tuple[int, FileSlice]]] = {}
    for number, part in enumerate(slices):
        store, path = store_of(part.path, config)
        groups.setdefault(store, []).append((number, FileSlice(path, part.offset, part.size, part.xxh3)))
    parts = [b""] * len(slices)
    for store, members in groups.items():
        for (number, _), data in zip(members, store.read_many([part for _, part in members]), strict=True):
            parts[number] = data
    return parts
