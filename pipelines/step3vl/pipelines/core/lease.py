"""A lease on the root of a build, so that two builds do not work there at once.

The holder renews it every few seconds. A lease that was not renewed for minutes is free again, and so is one of a
process of this machine that has ended, however it ended.
"""

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from step3vl.data.config import Config
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.storage import Store
from step3vl.pipelines.core.commits import read_model

LEASE = "lease.json"
INTERVAL = 15.0  # seconds between two renewals
STALE = 180.0  # seconds without a renewal after which the lease is free; the clocks of machines may differ by less


class Holder(Config):
    """Who has a lease; its file."""

    token: str
    host: str
    machine: str
    """Tells machines, their restarts and containers apart, as far as a process number depends on it."""
    process: int
    started: str
    """When the process started, as the kernel counts, which tells it from a later one of the same number."""
    renewed: float
    """Unix time."""

    @classmethod
    def this_process(cls) -> Self:
        """This process, now."""
        return cls(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            machine=_machine(),
            process=os.getpid(),
            started=_started(os.getpid()),
            renewed=time.time(),
        )

    def is_gone(self) -> bool:
        """Whether nobody holds the lease any more."""
        if self.machine == _machine():
            return _started(self.process) != self.started
        return time.time() - self.renewed > STALE


def _machine() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _started(process: int) -> str:
    """When a process started; empty where there is none."""
    with suppress(OSError):
        # The name of the command, in parentheses, may hold anything.
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    if Path("/proc/self/stat").exists():
        return ""
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return "alive"
    return ""


class Lease:
    """Holds the lease of a root in a `with` block.

    Args:
        store: Of the root.

    Raises:
        UserError: On entry: another build holds it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._holder = Holder.this_process()
        self._closed = threading.Event()
        self._lost = False

    def __enter__(self) -> Self:
        for _ in range(3):  # another build may take a free lease first
            if self._store.create_new(LEASE, self._holder.model_dump_json().encode()):
                return self._begin()
            other = read_holder(self._store)
            if other is not None and other.token == self._holder.token:  # the store's answer was lost
                return self._begin()
            if other is not None and not other.is_gone():
                raise UserError(_explain(self._store.url, other))
            if read_holder(self._store) == other:
                self._store.remove(LEASE)
        raise UserError(f"{self._store.url}: other builds start here at the same time; leave it to one of them")

    def _begin(self) -> Self:
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        with suppress(InfrastructureError):
            if not self._lost:
                self._store.remove(LEASE)

    def check(self) -> None:
        """Raises InfrastructureError when another build has taken the lease, as while this machine was suspended."""
        if self._lost:
            raise InfrastructureError(f"another build has taken over {self._store.url}; this one ends")

    def _renew(self) -> None:
        while not self._closed.wait(INTERVAL):
            # A store that does not answer now may answer next time, long before the lease is stale.
            with suppress(InfrastructureError):
                holder = read_holder(self._store)
                if holder is None or holder.token != self._holder.token:
                    self._lost = True
                    return
                renewed = self._holder.model_copy(update={"renewed": time.time()})
                self._store.put(LEASE, renewed.model_dump_json().encode())


def read_holder(store: Store) -> Holder | None:
    """Who has the lease of a root; None where nobody has, or the file is damaged.

    Raises:
        StoreError: The store does not answer.
    """
    return read_model(store, LEASE, Holder)


def _explain(url: str, other: Holder) -> str:
    ago = max(0.0, time.time() - other.renewed)
    return (
        f"{url}: another build, process {other.process} on {other.host}, is at work here (seen {ago:.0f} seconds "
        f"ago); wait for it, or give another root. A build killed on another machine keeps it for {STALE:.0f} seconds"
    )
