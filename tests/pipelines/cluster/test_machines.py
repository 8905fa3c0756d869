"""What the tests of this folder stand on: workers that share nothing but a store, and faults on the way to it."""

import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COUNTS = {word: ["1"] * 36 for word in ("apple", "pear")}


@pytest.fixture
def arguments(cluster: Any, request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """The command that counts words in a folder of the test's own."""

    def arguments(faulty: bool = False, **changed: Any) -> list[str]:
        values = {
            "beam": cluster.beam_options,
            "store": cluster.store_options(faulty),
            "url": f"s3://corpus/{request.node.name.replace('[', '-').rstrip(']')}",
            "hidden": str(ROOT / "pyproject.toml"),
            "seconds": [0, 0],
            "limits": {"lost_after": 10, "job_server_timeout": 300},
        }
        return [sys.executable, str(HERE / "word_count.py"), json.dumps(values | changed)]

    return arguments


def result(output: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The counts, and the workers that counted."""
    counts = json.loads(output.splitlines()[-1])
    return counts, [json.loads(worker) for worker in counts.pop("workers")]


def check_isolation(cluster: Any, workers: list[dict[str, Any]]) -> None:
    for worker in workers:
        assert not Path(worker["folder"]).is_relative_to(ROOT)
        assert worker["sees"] is not cluster.isolated
        assert worker["host"].startswith("worker-") is cluster.isolated


def test_the_job_service_runs_a_pipeline_on_a_worker_that_shares_nothing(
    cluster: Any, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    counts, workers = result(cluster.run(*arguments(), log=tmp_path / "log"))
    assert counts == COUNTS
    check_isolation(cluster, workers)


def test_a_job_service_in_the_driver_runs_a_pipeline_on_two_machines_through_a_faulty_store(
    cluster: Any, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = arguments(faulty=True, beam=cluster.driver_options, seconds=[0.5, 0])
    counts, workers = result(cluster.run(*command, log=tmp_path / "log"))
    assert counts == COUNTS
    check_isolation(cluster, workers)
    assert len({(worker["host"], worker["process"]) for worker in workers}) == 2
    assert {fault.split()[0] for fault in cluster.faults()} == {"refuse", "cut", "delay", "lose"}


def test_a_pipeline_may_take_longer_than_the_deadline_that_beam_gives_job_services(
    cluster: Any, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = arguments(seconds=[0, 8], limits={"lost_after": 10, "job_server_timeout": 6})
    counts, _ = result(cluster.run(*command, log=tmp_path / "log"))
    assert counts == COUNTS


def start(cluster: Any, command: list[str], log: Path) -> tuple[Any, psutil.Process]:
    """A driver whose worker has begun to work, and the worker."""
    while cluster.workers():  # those of the pipeline before
        time.sleep(0.1)
    folder = json.loads(command[-1])["url"].removeprefix("s3:/")
    read, heartbeats = (8, 3) if json.loads(command[-1])["seconds"][1] else (0, 2)
    driver = cluster.start(*command, log=log)
    while True:
        assert driver.poll() is None, log.read_text()
        requests = [line for line in cluster.requests() if folder in line]
        reads = [number for number, line in enumerate(requests) if "GET" in line and ".txt" in line]
        beats = [line for line in requests[reads[-1] if reads else 0 :] if "PUT" in line and "/heartbeats/" in line]
        if len(reads) >= read and len(beats) >= heartbeats:
            return driver, cluster.workers()[0]
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        # Beam notices only if the bundle was to send something back; otherwise its job service waits forever.
        pytest.param([30, 0], r"a Beam worker was lost: it was killed .*; it worked on \d\.txt", id="first-step"),
        pytest.param([0, 300], r"was silent for \d+ seconds while it worked on counts\.json", id="last-step"),
    ],
)
def test_a_killed_worker_ends_the_attempt(
    cluster: Any, arguments: Callable[..., list[str]], tmp_path: Path, seconds: list[float], error: str
) -> None:
    log = tmp_path / "log"
    driver, worker = start(cluster, arguments(seconds=seconds), log)
    worker.kill()
    killed = time.monotonic()
    assert driver.wait(60) == 1
    assert time.monotonic() - killed < 40
    message = log.read_text().strip().splitlines()[-1]
    assert re.search(error, message) and message.endswith("fix the cause and run the same command again")


def test_an_interrupt_of_the_driver_ends_its_workers(
    cluster: Any, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    driver, _ = start(cluster, arguments(seconds=[300, 0]), tmp_path / "log")
    for process in [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]:
        process.send_signal(signal.SIGINT)
    driver.wait(30)
    deadline = time.monotonic() + 20
    while cluster.workers():
        assert time.monotonic() < deadline
        time.sleep(0.1)
