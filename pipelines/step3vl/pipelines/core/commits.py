"""JSON files under the root: what a build remembers, and the records that commit fragments."""

import logging
from typing import TypeVar

from pydantic import BaseModel, Field

from step3vl.data.config import Config
from step3vl.data.storage import Store

_log = logging.getLogger(__name__)

COMMIT_REQUESTS = 2
"""Besides those for its files, a fragment or a shard costs the look for its record, and the writing of it."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Commit(Config):
    """What is written last of a fragment, which is then committed."""

    files: dict[str, int] = Field(default_factory=dict)
    """By ending (`bin`, `parquet`, `dead.parquet`): size in bytes. Whoever reads of a file checks hashes in it."""


CommitT = TypeVar("CommitT", bound=Commit)


def read_model(store: Store, path: str, model: type[ModelT]) -> ModelT | None:
    """What a JSON file holds; None where there is none, or one that is damaged or of another version.

    Raises:
        StoreError: The store does not answer.
    """
    try:
        return model.model_validate_json(store.read_all(path))
    except (FileNotFoundError, ValueError):
        return None


def read_commit(store: Store, path: str, model: type[CommitT]) -> CommitT | None:
    """The record of a fragment that is committed and whose files are in place; otherwise None.

    Args:
        store: Of the root.
        path: Of the fragment, relative to the root and without an ending.
        model: Of the record.

    Raises:
        StoreError: The store does not answer.
    """
    try:
        commit = model.model_validate_json(store.read_all(f"{path}.json"))
    except FileNotFoundError:
        return None
    except ValueError:
        _log.warning("%s.json was damaged; the fragment runs again", path)
        return None
    for ending, size in commit.files.items():
        if not _has_size(store, f"{path}.{ending}", size):
            _log.warning("%s.%s was lost; the fragment runs again", path, ending)
            return None
    return commit


def _has_size(store: Store, path: str, size: int) -> bool:
    try:
        return store.size(path) == size
    except FileNotFoundError:
        return False
