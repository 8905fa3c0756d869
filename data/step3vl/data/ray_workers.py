"""One function over many tasks on a Ray cluster, as `processes` does it on one machine."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

from step3vl.data.errors import InfrastructureError
from step3vl.data.ray_session import ray_session

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # tasks that wait for each worker
_cpus: int | None = None  # of the cluster that this process works on


@contextmanager
def on_ray(address: str | None) -> Iterator[None]:
    """Within the block, workers are actors of a Ray cluster in place of processes of this machine.

    What they read and write has to be at URLs, or in folders that all machines of the cluster share; so has TMPDIR.

    Args:
        address: The address of a running cluster, or `auto` for that of this machine; None changes nothing.

    Raises:
        UserError: Ray is not installed.
        InfrastructureError: The cluster cannot be joined.
    """
    global _cpus
    if address is None:
        yield
        return
    with ray_session(1, extra="pipelines", address=address):
        import ray

        _cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        try:
            yield
        finally:
            _cpus = None


def cluster_cpus() -> int | None:
    """The CPUs of the cluster that this process works on; None where it works on none."""
    return _cpus


class _Worker:
    """An actor, which holds the function for all its tasks.

    Args:
        folder: What relative paths are relative to.
        function: A reference to the function, in a list, so that it is read when paths are relative to the folder.
    """

    def __init__(self, folder: str, function: list[Any]) -> None:
        import ray

        os.chdir(folder)
        self._function = ray.get(function[0])

    def call(self, task: Any) -> Any:
        return self._function(task)


def map_on_ray(function: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[R]:
    """Yield the result of each task, in the order of the tasks, within a block of `on_ray`.

    Args:
        function: A function of a module, or a `partial` of one, which each worker gets once.
        tasks: The tasks, which are taken one by one as results come.
        workers: Actors, of a CPU each, at most.

    Raises:
        Exception: That of the first task that fails. Tasks that have not begun are dropped.
        InfrastructureError: A worker or its machine was lost.
    """
    import ray
    import ray.exceptions

    left = iter(tasks)
    first = list(islice(left, workers * (1 + _AHEAD)))
    shared, actor = ray.put(function), ray.remote(_Worker).options(num_cpus=1)
    actors = [actor.remote(str(Path.cwd()), [shared]) for _ in range(min(workers, len(first)))]
    turns = cycle(actors)
    try:
        running = deque(next(turns).call.remote(task) for task in first)
        while running:
            result = ray.get(running.popleft())
            running.extend(next(turns).call.remote(task) for task in islice(left, 1))
            yield result
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InfrastructureError(
            f"a worker on the Ray cluster was lost: {reason}; run the same command again"
        ) from error
    finally:
        if ray.is_initialized():
            for worker in actors:
                ray.kill(worker)
