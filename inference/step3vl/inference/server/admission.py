"""Who is answered next: a bounded number of requests at once, and a queue that is fair between keys."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from step3vl.inference.server.errors import ApiError

RETRY_AFTER = 1  # seconds; queues move quickly, and clients add their own backoff


class Admission:
    """Hands out `limit` places. A freed place goes to the waiting key that has the fewest, in turn where equal.

    When all `queue` waiting places are taken, a request of a key with few of them takes the place of the youngest
    request of the key with most; so a flood from one key is refused to that key and not to the others.
    """

    def __init__(self, limit: int, queue: int):
        self._free = limit
        self._queue = queue
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # keys in the order of their turns

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def place(self, key: str) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises ApiError 429 when the queue is full."""
        await self._enter(key)
        try:
            yield
        finally:
            self._leave(key)

    async def _enter(self, key: str) -> None:
        if self._free:
            self._free -= 1
            self._running[key] += 1
            return
        if self.waiting >= self._queue:
            self._make_room(key)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave(key)  # the turn came in the same moment
            else:
                self._forget(key, turn)
            raise

    def _make_room(self, key: str) -> None:
        most = max(self._waiting, key=lambda other: len(self._waiting[other]), default=key)
        if len(self._waiting.get(most, ())) <= len(self._waiting.get(key, ())) + 1:
            raise _full()
        youngest = self._waiting[most][-1]
        self._forget(most, youngest)
        if not youngest.done():
            youngest.set_exception(_full())

    def _leave(self, key: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        while self._waiting:
            next_key = min(self._waiting, key=lambda other: self._running[other])
            turns = self._waiting.pop(next_key)
            turn = turns.popleft()
            if turns:
                self._waiting[next_key] = turns  # to the end: among equals the next turn is another key's
            if not turn.done():  # its client may have left in this very moment
                self._running[next_key] += 1
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(key)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[key]


def _full() -> ApiError:
    return ApiError(429, "too many requests are waiting; try again", code="queue_full", retry_after=RETRY_AFTER)
