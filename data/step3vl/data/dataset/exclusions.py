"""Samples of a dataset that must no longer be used: requests in files beside it, which every reader honours.

Each request is a file of its own, numbered and never changed, so that a store needs neither locks nor appends. A
request names URLs, hosts and hashes, and the ids of the samples that matched; the former hold for later builds, too.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from blake3 import blake3
from pydantic import ValidationError

from step3vl.data.config import Config, explain_validation_error
from step3vl.data.errors import UserError
from step3vl.data.storage.store import Store

EXCLUSIONS = "exclusions"  # the folder
FORGOTTEN = "forgotten"
"""Why a ledger says that a sample was dropped which must no longer be used."""

_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_ATTEMPTS = 1000  # numbers that concurrent requests may take


class Exclusion(Config):
    """A request to forget."""

    format: Literal["step3vl-exclusion-1"] = "step3vl-exclusion-1"
    """Name and version of the file's format."""

    requested: str
    """When, in ISO 8601."""

    uris: tuple[str, ...] = ()
    """Sources: the samples of exactly these, and of parts of them that a `#` names."""

    hosts: tuple[str, ...] = ()
    """Internet hosts: the samples of sources on them and on hosts below them."""

    hashes: tuple[str, ...] = ()
    """Ids of samples, or SHA-256 of images: these samples, and those that were made of them."""

    ids: tuple[str, ...] = ()
    """The samples that matched when the request was made."""

    @classmethod
    def of(cls, values: Iterable[str], requested: str) -> Self:
        """A request for URLs, hosts and hashes, told apart by their form.

        Raises:
            UserError: There is none.
        """
        uris: list[str] = []
        hosts: list[str] = []
        hashes: list[str] = []
        for value in values:
            text = value.strip()
            if _HASH.fullmatch(text.lower()):
                hashes.append(text.lower())
            elif _HOST.fullmatch(text.lower()):
                hosts.append(text.lower())
            elif text:
                uris.append(text)
        if not (uris or hosts or hashes):
            raise UserError("nothing to forget: give a URL or other source, a host such as example.org, or a hash")
        return cls(requested=requested, uris=tuple(uris), hosts=tuple(hosts), hashes=tuple(hashes))


class Exclusions:
    """All requests beside a dataset.

    Args:
        requests: In the order in which they were made.
    """

    def __init__(self, requests: Sequence[Exclusion] = ()) -> None:
        self.requests = tuple(requests)
        self._ids = frozenset(id for request in requests for id in (*request.ids, *request.hashes))
        self._uris = frozenset(uri for request in requests for uri in request.uris)
        self._hosts = frozenset(host for request in requests for host in request.hosts)

    def __bool__(self) -> bool:
        return bool(self.requests)

    def __add__(self, other: "Exclusions") -> "Exclusions":
        return Exclusions((*self.requests, *other.requests))

    @cached_property
    def digest(self) -> str:
        """A hash of what is excluded; empty without a request."""
        content = [request.model_dump(mode="json", exclude={"requested"}) for request in self.requests]
        return blake3(json.dumps(content, sort_keys=True).encode()).hexdigest(16) if content else ""

    @property
    def columns(self) -> list[str]:
        """The columns of an index that `keep` reads; none without a request."""
        return ["id", "source"] if self else []

    def covers(self, id: str, source: str) -> bool:
        """Whether a sample is excluded, by what its index row says."""
        return id in self._ids or self._covers_source(source)

    def covers_content(self, row: dict[str, Any]) -> bool:
        """Whether a sample is excluded, by its JSON: itself, what it was made of, or one of its images."""
        source = row["source"]
        hashes = (row["id"], *source.get("parents", ()), *(image["sha256"] for image in row.get("images", ())))
        return not self._ids.isdisjoint(hashes) or self._covers_source(source["uri"])

    def keep(self, rows: pa.RecordBatch | pa.Table) -> np.ndarray:
        """Which rows of an index are not excluded, bool [rows].

        Args:
            rows: With the columns of `columns`.
        """
        if not self:
            return np.ones(len(rows), bool)
        pairs = zip(rows["id"].to_pylist(), rows["source"].to_pylist(), strict=True)
        return np.fromiter((not self.covers(*pair) for pair in pairs), bool, len(rows))

    def _covers_source(self, uri: str) -> bool:
        if uri in self._uris or uri.partition("#")[0] in self._uris:
            return True
        if not self._hosts:
            return False
        try:
            host = urlsplit(uri).hostname or ""
        except ValueError:  # of a malformed address in brackets
            return False
        labels = host.split(".")
        return any(".".join(labels[first:]) in self._hosts for first in range(len(labels)))


def exclusion_path(number: int) -> str:
    """The file of a request, relative to the dataset."""
    return f"{EXCLUSIONS}/{number:06d}.json"


def read_exclusions(files: Store) -> Exclusions:
    """The requests beside a dataset.

    Raises:
        UserError: A file is damaged, or of a newer format: what must be forgotten is never guessed.
        StoreError: The store does not answer.
    """
    requests: list[Exclusion] = []
    while files.exists(path := exclusion_path(len(requests) + 1)):
        try:
            requests.append(Exclusion.model_validate_json(files.read_all(path)))
        except ValidationError as error:
            raise UserError(
                f"{files.url}/{path} cannot be read: {explain_validation_error(error)}; restore it, or upgrade step3vl"
            ) from None
    return Exclusions(requests)


def add_exclusion(files: Store, exclusion: Exclusion) -> str:
    """Write a request under the next number. Returns its path, relative to the dataset. Raises StoreError."""
    data = f"{exclusion.model_dump_json(indent=1)}\n".encode()
    first = len(read_exclusions(files).requests) + 1
    for number in range(first, first + _ATTEMPTS):
        if files.create_new(exclusion_path(number), data):
            return exclusion_path(number)
    raise UserError(f"{files.url}/{EXCLUSIONS} takes no further request: others are written all the time; try again")
