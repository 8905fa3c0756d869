"""One function over many tasks in processes: in order, bounded, and with the errors of the tasks.

The functions are Python's own, which worker processes find without the folder of the tests.
"""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from step3vl.data.convert import DatasetConfig, read_dataset, to_dataset, to_files
from step3vl.data.dataset import Dataset
from step3vl.data.dataset.combine import merge, split
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.inspect import compare, verify
from step3vl.data.processes import available_cores, map_in_processes, workers_for
from step3vl.data.sample import Sample

PROCESS = "__import__('os').getpid()"


def counted(taken: list[int], stop: int) -> Iterator[str]:
    for number in range(stop):
        taken.append(number)
        yield "x" if number == 13 else str(number)


@pytest.mark.parametrize(
    ("urls", "asked", "workers"),
    [
        (["data", "s3://bucket/out"], None, available_cores()),
        (["data", "s3://bucket/out"], 3, 3),
        (["data", "memory://out"], None, 1),
        (["simplecache::memory://in", "out"], 1, 1),
    ],
)
def test_files_in_memory_are_seen_by_one_process(urls: list[str], asked: int | None, workers: int) -> None:
    assert workers_for(urls, asked) == workers


def test_every_command_refuses_workers_that_would_not_see_the_files(
    build_dataset: Callable[..., Dataset], make_sample: Callable[[int], Sample], tmp_path: Path
) -> None:
    local = build_dataset(tmp_path / "set", [make_sample(number) for number in range(4)])
    url = f"memory://workers/{tmp_path.name}"
    config = DatasetConfig(name="copy", tokenizer=local.tokenizer, image=local.manifest.counting.image)
    copy = f"{url}/copy"
    to_dataset(read_dataset(local), copy, config, {}, workers=None)
    assert not verify(copy).problems
    commands = [
        lambda: to_dataset(read_dataset(local), f"{url}/new", config, {}, workers=2),
        lambda: to_files(read_dataset(Dataset.open(copy)), tmp_path / "files", "openai", workers=2),
        lambda: merge([local, local], f"{url}/new", "new", workers=2),
        lambda: split(Dataset.open(copy), tmp_path / "split", "split", 0.5, workers=2),
        lambda: verify(copy, workers=2),
        lambda: compare(local, Dataset.open(copy), workers=2),
    ]
    for command in commands:
        with pytest.raises(UserError, match=r"memory://\S+ is in the memory of one process.* use 1 worker"):
            command()


def test_a_single_worker_is_this_process() -> None:
    taken: list[int] = []
    results = map_in_processes(int, counted(taken, 5), 1)
    assert next(results) == 0 and taken == [0]
    assert list(map_in_processes(eval, [PROCESS], 1)) == [os.getpid()]


@pytest.mark.parametrize("workers", [1, 2])
def test_garbage_is_collected_less_often_while_tasks_are_done(workers: int) -> None:
    thresholds = gc.get_threshold()
    for during in map_in_processes(eval, ["__import__('gc').get_threshold()"] * 2, workers):
        assert during[0] > thresholds[0]
    assert gc.get_threshold() == thresholds


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
