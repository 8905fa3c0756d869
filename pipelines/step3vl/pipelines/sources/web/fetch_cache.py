"""Images that were fetched, kept under the root of a build: a rebuild makes no request and gets the same bytes.

Addresses are fetched in small batches, each kept as a Parquet table of its own, failures too. The name of the table
follows from the addresses, so an entry that changes otherwise finds it again.
"""

import hashlib
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.errors import InfrastructureError
from step3vl.data.storage import Store, StoreConfig
from step3vl.pipelines.sources.web.fetch import FetchConfig, Fetched, Fetcher

BATCH = 16
"""Addresses that are fetched together; bounds what a worker holds in memory."""

_FOLDER = ".fetched"
_VERSION = 1  # of the tables
_SCHEMA = pa.schema(
    [
        ("asked", pa.string()),
        ("data", pa.large_binary()),
        ("reason", pa.string()),
        ("url", pa.string()),
    ]
)


class FetchCache:
    """Fetches batches of addresses, each once.

    Args:
        config: Limits and manners.
        root: URL of the folder of everything between steps; nothing is kept without one.
        store: How a remote root is used.
    """

    def __init__(self, config: FetchConfig, root: str, store: StoreConfig) -> None:
        self._config = config
        self._fetcher = Fetcher(config)
        self._store = Store(root, store) if root else None

    def fetch(self, urls: Sequence[str]) -> list[Fetched]:
        """The images of addresses, in their order.

        Raises:
            InfrastructureError: The store does not answer, a kept table is damaged, or this machine is offline.
        """
        unique_urls = sorted(set(urls))
        results = self._kept(unique_urls, self._config.attempt)
        if results is None:
            before = self._before(unique_urls)
            missing = [url for url in unique_urls if url not in before or before[url].is_transient]
            results = {**before, **dict(zip(missing, self._fetcher.fetch(missing), strict=True))}
            results = self._keep(unique_urls, results)
        return [results[url] for url in urls]

    def _before(self, urls: Sequence[str]) -> dict[str, Fetched]:
        """What the last attempt before this one has of a batch."""
        for attempt in range(self._config.attempt - 1, -1, -1):
            if (results := self._kept(urls, attempt)) is not None:
                return results
        return {}

    def _path(self, urls: Sequence[str], attempt: int) -> str:
        names = json.dumps([_VERSION, self._config.agent, self._config.max_bytes, *urls])
        digest = hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        return f"{_FOLDER}/{digest[:2]}/{digest}-{attempt}.parquet"

    def _kept(self, urls: Sequence[str], attempt: int) -> dict[str, Fetched] | None:
        if self._store is None:
            return None
        path = self._path(urls, attempt)
        try:
            data = self._store.read_all(path)
        except FileNotFoundError:
            return None
        try:
            rows = pq.read_table(pa.BufferReader(data), page_checksum_verification=True).to_pylist()
            results = {row["asked"]: Fetched(row["data"], row["reason"], row["url"]) for row in rows}
            return {url: results[url] for url in urls}
        except (OSError, pa.ArrowException, KeyError) as error:
            raise InfrastructureError(f"{self._store.absolute(path)} is damaged: {error}; remove it") from error

    def _keep(self, urls: Sequence[str], results: dict[str, Fetched]) -> dict[str, Fetched]:
        """Keep the results of a batch, or return those of a worker that was first."""
        if self._store is None:
            return results
        rows = [{"asked": url, **results[url]._asdict()} for url in urls]
        sink = pa.BufferOutputStream()
        pq.write_table(
            pa.Table.from_pylist(rows, _SCHEMA),
            sink,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        path = self._path(urls, self._config.attempt)
        if self._store.create_new(path, sink.getvalue().to_pybytes()):
            return results
        return self._kept(urls, self._config.attempt) or results
