"""One function over many tasks, in processes or threads, with a bounded number of tasks and results."""

import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.ray_workers import cluster_cpus, map_on_ray
from step3vl.data.storage.files import in_process_memory

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # tasks that wait for each worker, so that none of them is idle
_OBJECTS = 20_000  # new objects between two collections of garbage; Python's own default is 700
_function: Callable[[Any], Any]  # of this worker


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def workers_for(urls: Iterable[str | Path], workers: int | None) -> int:
    """The number of processes that work on files.

    Args:
        urls: The paths and URLs that they read or write.
        workers: The number that was asked for. None is one for each core, in a block of `on_ray` of its cluster; or
            one where only this process sees a file.

    Raises:
        UserError: Several were asked for, and a URL is in the memory of this process.
    """
    private = next((url for url in map(str, urls) if in_process_memory(url)), None)
    if workers is None:
        return 1 if private else cluster_cpus() or available_cores()
    if private and workers > 1:
        raise UserError(
            f"{private} is in the memory of one process, which {workers} workers do not share: use 1 worker"
        )
    return workers


def map_in_processes(function: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[R]:
    """Yield the result of each task, in the order of the tasks.

    Args:
        function: A function of a module, or a `partial` of one, which is pickled once for each worker.
        tasks: The tasks, which are taken and pickled one by one as workers become free.
        workers: Processes, or in a block of `on_ray` its actors; 1 works in this process.

    Raises:
        Exception: That of the first task that fails. Tasks that have not begun are dropped.
        InfrastructureError: A worker was killed.
    """
    if workers == 1:
        with _rare_collections():
            yield from map(function, tasks)
        return
    if cluster_cpus() is not None:
        yield from map_on_ray(function, tasks, workers)
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


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look less often for circles of objects that nothing uses; the tasks make millions of objects and no circles."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _set_function(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    gc.freeze()  # what was imported is no garbage, and need not be looked at in every collection
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


def _call(task: Any) -> Any:
    return _function(task)
