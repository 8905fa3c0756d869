"""How a remote store is used: its options, how often and how long a request is tried, and where copies are kept."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, local
from typing import Any, Self, TypeVar

from pydantic import Field, model_validator
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError
from step3vl.data.storage.cache import MIN_BLOCKS

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Retrying gives the same error; whatever else a store raises (each has its own classes) may be temporary.
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
FINAL = (*ABSENT, FileExistsError, PermissionError, ImportError, TypeError, ValueError)
_LONGEST_PAUSE = 30.0


class StoreConfig(Config):
    """How a remote store is used. Local files ignore it."""

    endpoint: str | None = None
    """URL of the server, for stores with the interface of S3 or Google Cloud Storage that other companies run."""

    anonymous: bool = False
    """Whether requests carry no credentials, as for public buckets of S3, Google Cloud Storage and Azure."""

    profile: str | None = None
    """The profile of AWS's configuration files whose credentials S3 gets."""

    options: dict[str, Any] = Field(default_factory=dict)
    """Further options of the fsspec file system, such as `{"requester_pays": true}`."""

    attempts: int = Field(default=6, ge=1)
    """Attempts of each request."""

    backoff: float = Field(default=0.5, ge=0)
    """Seconds before the second attempt; doubled for each further one, up to 30, with jitter."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds that an attempt may take where the file system is asynchronous (S3, GCS, Azure, HTTP)."""

    cache: Path | None = None
    """Folder for copies, which the processes of a machine may share. Without it every sample is a request."""

    cache_bytes: int = Field(default=16 * 2**30, gt=0)
    """Bytes that the folder may hold."""

    block: int = Field(default=4 * 2**20, gt=0)
    """Bytes that are fetched at once to fill it."""

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.block > self.cache_bytes // MIN_BLOCKS:
            raise ValueError(f"cache_bytes must hold {MIN_BLOCKS} blocks; raise it or lower block")
        return self

    def options_of(self, protocol: str) -> dict[str, Any]:
        """The options of fsspec's file system for a protocol such as `s3`, without fields that it has no use for."""
        options: dict[str, Any] = {}
        if protocol in ("s3", "s3a"):
            options = {"endpoint_url": self.endpoint, "anon": self.anonymous, "profile": self.profile}
        elif protocol in ("gs", "gcs"):
            options = {"endpoint_url": self.endpoint, "token": "anon" if self.anonymous else None}
        elif protocol in ("az", "abfs", "abfss"):
            options = {"anon": self.anonymous}
        return {name: value for name, value in options.items() if value} | self.options


class StoreError(InfrastructureError):
    """A store does not answer, or refuses access. The data may be intact, so a reader must stop, not skip."""


DEFAULT_STORE = StoreConfig()


class RequestCounter:
    """Counts the attempts of requests of a thread, and of those that work for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.count = 0

    def add(self, number: int = 1) -> None:
        with self._lock:
            self.count += number


class _Requests(local):
    """The counter of each thread."""

    def __init__(self) -> None:
        self.counter = RequestCounter()

    def add(self, number: int = 1) -> None:
        self.counter.add(number)

    @contextmanager
    def counted_by(self, counter: RequestCounter) -> Iterator[None]:
        """What this thread does in the block is done for the thread of a counter."""
        previous, self.counter = self.counter, counter
        try:
            yield
        finally:
            self.counter = previous


REQUESTS = _Requests()


def request_count() -> int:
    """Requests to stores that this thread has tried so far; reads and writes of local files are counted alike.

    What other threads of the process do in the meantime, such as another bundle or the renewal of a lease, is theirs.
    """
    return REQUESTS.counter.count


def retried(request: Callable[[], T], config: StoreConfig) -> T:
    """The result of a request to a remote store, tried again with growing pauses while its error may be temporary.

    Raises:
        Exception: That of the last attempt.
        BaseException: Such as a `KeyboardInterrupt`, at once.
    """
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, FINAL)),
        stop=stop_after_attempt(config.attempts),
        wait=wait_exponential_jitter(config.backoff, _LONGEST_PAUSE, jitter=config.backoff),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )

    def attempt() -> T:
        REQUESTS.add()
        return request()

    return retrying(attempt)
