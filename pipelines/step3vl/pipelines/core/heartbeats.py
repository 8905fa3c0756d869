"""The heartbeats of workers: files under the root, by which the watchdog of the driver knows that they live.

<root>/heartbeats/<attempt>/<worker>.json     rewritten every few seconds as long as the worker lives
                            cancelled         written by the driver: what is left of the attempt ends itself
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from step3vl.data.errors import InfrastructureError
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig

_log = logging.getLogger(__name__)

INTERVAL = 4.0  # seconds between two heartbeats of a worker
CANCELLED = "cancelled"
_DRIVEN: set[str] = set()  # attempts of which this process is the driver, and no worker


class Heartbeat(NamedTuple):
    """What a worker reports."""

    host: str
    process: int
    work: list[str]
    """What it is working on."""


@dataclass(frozen=True)
class Heartbeats:
    """Where the workers of one pipeline report. It travels to them with the pipeline.

    Attributes:
        url: The folder of the attempt; empty where nobody watches, and nothing is written.
        store: How a remote store is used.
    """

    url: str = ""
    store: StoreConfig = DEFAULT_STORE

    def start(self) -> None:
        """Report from this process until it ends. Called by whatever works in a worker; the first call counts."""
        if self.url and self.url not in _DRIVEN:
            _reporter(self)

    @contextmanager
    def working(self, work: str) -> Iterator[None]:
        """Name what this process works on until the block ends."""
        if not self.url or self.url in _DRIVEN:
            yield
            return
        reporter = _reporter(self)
        reporter.work[work] += 1
        try:
            yield
        finally:
            reporter.work[work] -= 1

    def open(self) -> Store:
        """The folder, with few attempts: the next heartbeat is the better retry."""
        timeout = min(self.store.timeout, INTERVAL)
        return Store(self.url, self.store.model_copy(update={"attempts": 2, "timeout": timeout, "cache": None}))


NO_HEARTBEATS = Heartbeats()


class _Reporter:
    """Writes the heartbeats of this process from a thread, and ends the process when the attempt was cancelled."""

    def __init__(self, heartbeats: Heartbeats) -> None:
        self.work: Counter[str] = Counter()
        self._store = heartbeats.open()
        self._host, self._process = socket.gethostname(), os.getpid()
        self._name = f"{self._host}-{self._process}-{uuid.uuid4().hex[:8]}.json"
        threading.Thread(target=self._run, name="heartbeats", daemon=True).start()

    def _run(self) -> None:
        count = 0
        while True:
            # A store that refuses may answer next time, and the driver does not count what it cannot read either.
            with suppress(InfrastructureError):
                self._report(count)
                self._end_if_cancelled()
            count += 1
            time.sleep(INTERVAL)

    def _report(self, count: int) -> None:
        work = [work for work, number in list(self.work.items()) if number]
        beat = {"host": self._host, "process": self._process, "work": work, "count": count}
        self._store.put(self._name, json.dumps(beat).encode())

    def _end_if_cancelled(self) -> None:
        """A worker of a cancelled job waits forever for another bundle, or works on for nobody."""
        with suppress(FileNotFoundError):
            self._store.read_all(CANCELLED)
            _log.error("the driver cancelled this attempt; the worker ends")
            os._exit(1)


_REPORTERS: dict[str, _Reporter] = {}
_LOCK = threading.Lock()


def _reporter(heartbeats: Heartbeats) -> _Reporter:
    with _LOCK:
        if heartbeats.url not in _REPORTERS:
            _REPORTERS[heartbeats.url] = _Reporter(heartbeats)
        return _REPORTERS[heartbeats.url]


def new_heartbeats(root: str, store: StoreConfig) -> Heartbeats:
    """The heartbeats of a new attempt, of which this process is the driver.

    Args:
        root: URL of the folder of everything between steps.
        store: How a remote store is used.
    """
    heartbeats = Heartbeats(f"{root}/heartbeats/{uuid.uuid4().hex[:16]}", store)
    _DRIVEN.add(heartbeats.url)
    return heartbeats
