"""One function over many tasks in processes: in order, bounded, and with the errors of the tasks.

The functions are Python's own, which worker processes find without the folder of the tests.
"""

import os
from collections.abc import Iterator

import pytest

from step3vl.data.errors import InfrastructureError
from step3vl.data.processes import map_in_processes

PROCESS = "__import__('os').getpid()"


def counted(taken: list[int], stop: int) -> Iterator[str]:
    for number in range(stop):
        taken.append(number)
        yield "x" if number == 13 else str(number)


def test_a_single_worker_is_this_process() -> None:
    taken: list[int] = []
    results = map_in_processes(int, counted(taken, 5), 1)
    assert next(results) == 0 and taken == [0]
    assert list(map_in_processes(eval, [PROCESS], 1)) == [os.getpid()]


def test_results_are_in_order_and_tasks_are_taken_as_workers_become_free() -> None:
    taken: list[int] = []
    results = map_in_processes(eval, [*counted(taken, 13), PROCESS], 2)
    *numbers, process = results
    assert numbers == list(range(13)) and process != os.getpid()


def test_the_error_of_a_task_is_raised_and_no_more_are_taken() -> None:
    taken: list[int] = []
    results = map_in_processes(int, counted(taken, 1000), 2)
    assert next(results) == 0
    assert len(taken) == 7, "three for each worker, and the next"
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(results)
    assert len(taken) < 30


def test_a_killed_worker_is_the_machines_fault() -> None:
    with pytest.raises(InfrastructureError, match="2 worker processes was killed"):
        list(map_in_processes(eval, ["__import__('os')._exit(9)"], 2))
