"""Reading ahead: many requests in flight, in threads, and results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, Generic, TypeVar

from step3vl.data.storage.store_config import REQUESTS

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

REQUESTS_IN_FLIGHT = 16
"""Threads of a pool, which wait for stores."""

_MOST_TASKS = 32  # that are begun at a time
_MOST_KEYS = 256  # of results that nobody has asked for yet


class RequestPool:
    """Threads for requests that wait for a store. They end with the process, even in the middle of a request.

    Those of `concurrent.futures` would be waited for: with a store that does not answer, for minutes.
    """

    def __init__(self, threads: int = REQUESTS_IN_FLIGHT) -> None:
        self._limit, self._threads = threads, 0
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._lock = Lock()

    def submit(self, function: Callable[[T], R], task: T) -> "Future[R]":
        """Begin a task. Its requests count as those of this thread."""
        future: Future[R] = Future()
        counter = REQUESTS.counter

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                with REQUESTS.counted_by(counter):
                    future.set_result(function(task))
            except BaseException as error:  # whoever asks for the result gets it
                future.set_exception(error)

        self._tasks.put(work)
        with self._lock:
            if not self._idle.acquire(blocking=False) and self._threads < self._limit:
                self._threads += 1
                Thread(target=self._run, name="read-ahead", daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except Empty:
                self._idle.release()
                task = self._tasks.get()
            if task is None:
                return
            task()

    def close(self) -> None:
        """Let the threads end after what they are doing. Tasks that have not begun are to be cancelled before."""
        for _ in range(self._limit):
            self._tasks.put(None)


@lru_cache(maxsize=1)
def _pool(process: int) -> RequestPool:
    """The pool of a process: a fork has none of its parent's threads."""
    return RequestPool()


def read_ahead(
    tasks: Iterable[T], begin: Callable[[T], Sequence["Future[R] | None"]], size: Callable[[T], int], limit: int
) -> Iterator[tuple[T, Sequence["Future[R] | None"]]]:
    """Begin the reads of tasks before they are needed, and hand them over in order.

    The first task is handed over at once, and from then on more and more tasks are begun before it is their turn.

    Args:
        tasks: What to read; taken one by one as there is room.
        begin: Begins the reads of a task.
        size: Bytes that a task reads.
        limit: Bytes of the tasks that are begun at a time; a larger one is by itself.

    Yields:
        Each task with its reads. What one of them raises, it raises when it is asked for its result.
    """
    source = iter(tasks)
    waiting: deque[tuple[T, Sequence[Future[R] | None], int]] = deque()
    held, most = 0, 1
    failure: Exception | None = None
    try:
        while True:
            try:
                task = next(source)
            except StopIteration:
                break
            except Exception as error:  # of a task whose turn has not come
                failure = error
                break
            count = size(task)
            while waiting and (held + count > limit or len(waiting) == most):
                ready, reads, freed = waiting.popleft()
                held, most = held - freed, min(2 * most, _MOST_TASKS)
                yield ready, reads
            waiting.append((task, begin(task), count))
            held += count
        while waiting:
            ready, reads, _ = waiting.popleft()
            yield ready, reads
        if failure is not None:
            raise failure
    finally:
        for _, reads, _ in waiting:
            for read in reads:
                if read is not None:
                    read.cancel()


class Prefetched(Generic[K, R]):
    """Results of a function that is called ahead for keys that will be needed. Threads may share it.

    Args:
        load: The function.
    """

    def __init__(self, load: Callable[[K], R]) -> None:
        self._load = load
        self._pending: dict[K, Future[R]] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._load,)

    def expect(self, keys: Iterable[K]) -> None:
        """Begin to load what is not being loaded yet."""
        with self._lock:
            for key in keys:
                while len(self._pending) >= _MOST_KEYS:
                    self._pending.pop(next(iter(self._pending))).cancel()
                if key not in self._pending:
                    self._pending[key] = _pool(os.getpid()).submit(self._load, key)

    def get(self, key: K) -> R:
        """The result of a key, and forget it. Raises what the function raises."""
        with self._lock:
            pending = self._pending.pop(key, None)
        return self._load(key) if pending is None else pending.result()
