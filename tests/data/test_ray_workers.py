"""The commands on datasets on a Ray cluster: the bytes and errors that processes give."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from step3vl.data.convert import DatasetConfig, read_dataset, to_dataset
from step3vl.data.dataset import Dataset
from step3vl.data.dataset.combine import merge, split
from step3vl.data.errors import InfrastructureError
from step3vl.data.inspect import compare, verify
from step3vl.data.processes import map_in_processes, workers_for
from step3vl.data.ray_session import ray_session
from step3vl.data.ray_workers import on_ray
from step3vl.data.sample import Sample

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster of two CPUs, on which the tests work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        with ray_session(2, extra="pipelines") as address, on_ray(address):
            yield


def test_results_are_in_the_order_of_their_tasks_and_errors_are_those_of_the_tasks() -> None:
    assert workers_for(["data"], None) == 2
    results = map_in_processes(eval, ["__import__('os').getpid()", *map(str, range(20))], 2)
    assert next(results) != os.getpid() and list(results) == list(range(20))
    with pytest.raises(NameError, match="name 'x' is not defined"):
        list(map_in_processes(eval, ["1", "x", "2"], 2))


def test_a_worker_that_ends_is_an_error_of_the_machine() -> None:
    with pytest.raises(InfrastructureError, match="run the same command again"):
        list(map_in_processes(eval, ["__import__('os')._exit(9)"], 2))


def test_datasets_are_the_same_bytes(
    build_dataset: Callable[..., Dataset],
    make_sample: Callable[[int], Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(12)])
    monkeypatch.chdir(tmp_path)
    config = DatasetConfig(name="copy", tokenizer=built.tokenizer, image=built.manifest.counting.image, shards=2)
    for workers in (None, 1):  # actors; this process
        to_dataset(read_dataset(built), f"copy {workers}", config, {}, workers=workers)
        merge([built, Dataset.open(f"copy {workers}")], f"merged {workers}", "merged", workers=workers)
        split(Dataset.open(f"merged {workers}"), f"split {workers}", "split", 0.5, workers=workers)
    for name in ("copy", "merged", "split"):
        assert not verify(f"{name} None", workers=None).problems
        hashes = [
            [shard.blake3 for shard in Dataset.open(f"{name} {workers}").manifest.shards] for workers in (None, 1)
        ]
        assert hashes[0] == hashes[1]
    assert compare(built, Dataset.open("merged None"), workers=None) == compare(
        built, Dataset.open("merged 1"), workers=1
    )
