"""A worker process that cannot start ends the pipeline, with its log."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.portability.fn_api_runner.worker_handlers import ControlConnection

from step3vl.data.errors import InfrastructureError
from step3vl.pipelines.core.beam import WriteList, run_pipeline
from step3vl.pipelines.core.beam_workers import _Watch
from step3vl.pipelines.core.staging import Staging

PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


def add_up(folder: Path, flags: tuple[str, ...]) -> None:
    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        numbers = pipeline | beam.Create(range(20)) | beam.Reshuffle() | beam.Map(lambda value: f"{value + 1:02}")
        _ = numbers | WriteList(staging, "numbers.json")

    run_pipeline("numbers", flags, Staging(str(folder), str(folder)), wire)


def start_with(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every Beam worker process begin with this code."""
    (folder / "sitecustomize.py").write_text(
        f"import os, sys, time\nif 'CONTROL_API_SERVICE_DESCRIPTOR' in os.environ:\n    {code}\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
def test_worker_processes_run_a_pipeline(tmp_path: Path) -> None:
    add_up(tmp_path, PROCESSES)
    assert json.loads((tmp_path / "numbers.json").read_text()) == [f"{number:02}" for number in range(1, 21)]


def test_a_worker_that_ends_at_its_start_ends_the_pipeline_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_with(tmp_path, "print('no module named fastavro', file=sys.stderr); os._exit(3)", monkeypatch)
    start = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"worker process ended early.*no module named fastavro") as raised:
        add_up(tmp_path, PROCESSES)
    assert time.monotonic() - start < 60 and "\n" not in str(raised.value)
    assert not (tmp_path / "numbers.json").exists()


def test_a_worker_that_never_connects_ends_the_pipeline_at_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.pipelines.core.beam_workers.START_TIMEOUT", 1.0)
    start_with(tmp_path, "time.sleep(600)", monkeypatch)
    start = time.monotonic()
    with pytest.raises(InfrastructureError, match="did not start within 1 seconds"):
        add_up(tmp_path, PROCESSES)
    assert time.monotonic() - start < 60


class IdlePool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """A pool that promises a worker and starts none."""

    def StartWorker(self, request: Any, context: Any) -> Any:
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:
        return beam_fn_api_pb2.StopWorkerResponse()


@pytest.mark.slow
def test_a_pool_that_starts_no_worker_ends_the_pipeline_of_a_portable_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.pipelines.core.beam_workers.START_TIMEOUT", 1.0)
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("localhost:0")
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(IdlePool(), server)
    server.start()
    flags = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    start = time.monotonic()
    with pytest.raises(InfrastructureError, match="did not start within 1 seconds"):
        add_up(tmp_path, (*flags, f"--environment_config=localhost:{port}"))
    assert time.monotonic() - start < 60
    server.stop(0)


def test_a_worker_whose_connection_is_lost_answers_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = ControlConnection()
    connection.set_input(iter(()))  # a stream that ends at once, as that of a worker that was killed
    watch = _Watch(SimpleNamespace(control_conn=connection), lambda: None)  # type: ignore[arg-type]
    future = connection.push(beam_fn_api_pb2.InstructionRequest())
    assert future is not None
    assert (
        "InfrastructureError: a Beam worker was lost: it was killed (out of memory?)" in future.get(timeout=30).error
    )
    watch.close()


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
import apache_beam as beam
from step3vl.pipelines.core.beam import run_pipeline
from step3vl.pipelines.core.staging import Staging

def stop(*_):
    raise KeyboardInterrupt

def work(number, folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(120)

def wire(pipeline, staging):
    _ = pipeline | beam.Create([1, 2]) | beam.Reshuffle() | beam.Map(work, sys.argv[1])

signal.signal(signal.SIGTERM, stop)
run_pipeline("slow", sys.argv[2:], Staging(sys.argv[1], sys.argv[1]), wire)
"""


@pytest.mark.slow
def test_an_interrupt_of_the_driver_ends_worker_processes_in_the_middle_of_their_work(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(tmp_path), *PROCESSES], stderr=subprocess.PIPE)
    while not (workers := [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]):
        assert driver.poll() is None
        time.sleep(0.1)
    driver.terminate()
    _, errors = driver.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors and driver.returncode != 0
    assert not any(psutil.pid_exists(worker) for worker in workers)
