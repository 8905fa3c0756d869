"""One function over many tasks, in processes or threads, with a bounded number of tasks and results."""

import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from step3vl.data.errors import InfrastructureError

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # tasks that wait for each worker, so that none of them is idle
_function: Callable[[Any], Any]  # of this worker


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_in_processes(function: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[R]:
    """Yield the result of each task, in the order of the tasks.

    Args:
        function: A function of a module, or a `partial` of one, which is pickled once for each worker.
        tasks: The tasks, which are taken and pickled one by one as workers become free.
        workers: Processes; 1 works in this process.

    Raises:
        Exception: That of the first task that fails. Tasks that have not begun are dropped.
        InfrastructureError: A worker was killed.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    left = iter(tasks)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_set_function, initargs=(function,))
    try:
        running: deque[Future[R]] = deque(pool.submit(_call, task) for task in islice(left, workers * (1 + _AHEAD)))
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(_call, task) for task in islice(left, 1))
            yield result
    except BrokenProcessPool:
        raise InfrastructureError(
            f"one of {workers} worker processes was killed, perhaps for lack of memory; run again with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def map_in_threads(function: Callable[[T], R], tasks: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the result of each task, in the order of the tasks; for what waits for a remote store.

    Args:
        function: The function.
        tasks: The tasks, which are taken one by one as threads become free.
        threads: Threads; 1 works in this one.

    Raises:
        Exception: That of the first task that fails. Tasks that have not begun are dropped.
    """
    if threads == 1:
        yield from map(function, tasks)
        return
    left = iter(tasks)
    with ThreadPoolExecutor(threads) as pool:
        running = deque(pool.submit(function, task) for task in islice(left, threads))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(function, task) for task in islice(left, 1))
                yield result
        finally:
            for future in running:
                future.cancel()


def _set_function(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    gc.freeze()  # what was imported is no garbage, and need not be looked at in every collection


def _call(task: Any) -> Any:
    return _function(task)
