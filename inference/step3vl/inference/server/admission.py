"""Admission control: a bounded number of concurrent requests, and a queue that is fair between API keys."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from step3vl.inference.server.errors import ApiError

RETRY_AFTER = 1  # seconds; queues move quickly, and clients add their own backoff


class Admission:
    """Hands out `limit` slots. A freed slot is given to the queued key with the fewest running requests, and in turn
    between keys that have equally many.

    When the queue is full, a request of a key that has few queued requests replaces the newest queued request of the
    key that has most; so a flood from one key is refused to that key and not to the others.

    Args:
        limit: Requests that run at the same time.
        queue: Requests that may wait for a slot.
    """

    def __init__(self, limit: int, queue: int):
        self._free = limit
        self._queue = queue
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # keys in the order in which they are served

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        Raises:
            ApiError: 429 when the queue is full.
        """
        await self._acquire(key)
        try:
            yield
        finally:
            self._release(key)

    async def _acquire(self, key: str) -> None:
        if self._free:
            self._free -= 1
            self._running[key] += 1
            return
        if self.waiting >= self._queue:
            self._make_room(key)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(key)  # the slot was handed over in the same moment
            else:
                self._dequeue(key, waiter)
            raise

    def _make_room(self, key: str) -> None:
        busiest = max(self._waiting, key=lambda other: len(self._waiting[other]), default=key)
        if len(self._waiting.get(busiest, ())) <= len(self._waiting.get(key, ())) + 1:
            raise _queue_full()
        newest = self._waiting[busiest][-1]
        self._dequeue(busiest, newest)
        if not newest.done():
            newest.set_exception(_queue_full())

    def _release(self, key: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        while self._waiting:
            next_key = min(self._waiting, key=lambda other: self._running[other])
            waiters = self._waiting.pop(next_key)
            waiter = waiters.popleft()
            if waiters:
                self._waiting[next_key] = waiters  # to the end: among equals the next slot is another key's
            if not waiter.done():  # its client may have disconnected in this very moment
                self._running[next_key] += 1
                waiter.set_result(None)
                return
        self._free += 1

    def _dequeue(self, key: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiting.get(key)
        if waiters and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[key]


def _queue_full() -> ApiError:
    return ApiError(429, "too many requests are waiting; try again", code="queue_full", retry_after=RETRY_AFTER)
