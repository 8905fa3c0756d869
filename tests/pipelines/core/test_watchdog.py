"""A worker of Beam's Python job service that is lost, or does not start, ends the attempt."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
)
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import InfrastructureError
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.beam import run_pipeline
from step3vl.pipelines.core.heartbeats import INTERVAL, NO_HEARTBEATS, Heartbeat, Heartbeats
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.watchdog import (
    LOST_AFTER,
    START_LIMIT,
    Observer,
    heartbeats_for,
    read_heartbeats,
)

BEAT = Heartbeat("worker-1", 7, ["pages/open-3f/00000000-00000250"])


def test_a_worker_that_stays_silent_is_lost_and_named_with_its_work() -> None:
    observer = Observer()
    looks = [observer.look({"a.json": (1, BEAT)}, INTERVAL) for _ in range(20)]
    reason = next(filter(None, looks))
    assert "process 7 on worker-1" in reason and "while it worked on pages/open-3f/00000000-00000250" in reason
    assert LOST_AFTER <= looks.index(reason) * INTERVAL < LOST_AFTER + INTERVAL


def test_no_worker_at_all_is_noticed_at_the_limit() -> None:
    observer = Observer()
    looks = [observer.look({}, INTERVAL) for _ in range(20)]
    reason = next(filter(None, looks))
    assert "no Beam worker started" in reason
    assert START_LIMIT <= (looks.index(reason) + 1) * INTERVAL < START_LIMIT + INTERVAL


@given(st.lists(st.integers(0, int(LOST_AFTER / INTERVAL) - 2), min_size=1, max_size=30))
def test_a_worker_whose_heartbeats_come_late_is_not_lost(pauses: list[int]) -> None:
    observer = Observer()
    for count, pause in enumerate(pauses):
        for _ in range(pause + 1):
            assert observer.look({"a.json": (count, BEAT)}, INTERVAL) is None


def test_both_limits_end_an_attempt_within_a_minute() -> None:
    assert max(LOST_AFTER + INTERVAL, START_LIMIT) + 2 * INTERVAL < 60


@pytest.mark.parametrize(
    "flags",
    [
        ("--runner=PortableRunner", "--job_endpoint=embed"),  # in the driver's process: see beam_workers
        ("--runner=PortableRunner", "--job_endpoint=localhost:8099", "--environment_type=LOOPBACK"),  # the same
        ("--runner=FlinkRunner",),
        ("--direct_num_workers=2",),
        (),
    ],
)
def test_a_job_service_in_the_driver_and_other_engines_are_not_watched(flags: tuple[str, ...]) -> None:
    assert heartbeats_for(PipelineOptions(list(flags)), "s3://corpus/staging", DEFAULT_STORE) == NO_HEARTBEATS


class FlinkJobServer(beam_job_api_pb2_grpc.JobServiceServicer):
    """Describes options of its own, as all job servers in Java do."""

    def DescribePipelineOptions(self, request: Any, context: Any) -> Any:
        option = beam_job_api_pb2.PipelineOptionDescriptor(name="number_of_execution_retries")
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=[option])


def test_of_job_services_elsewhere_only_that_in_python_is_watched(job_service: str) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("localhost:0")
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(FlinkJobServer(), server)
    server.start()
    urls = []
    for endpoint in (f"localhost:{port}", job_service):
        options = PipelineOptions(["--runner=PortableRunner", f"--job_endpoint={endpoint}"])
        urls.append(heartbeats_for(options, "s3://corpus/staging", DEFAULT_STORE).url)
    assert urls[0] == "" and urls[1].startswith("s3://corpus/staging/heartbeats/")
    server.stop(0)


def test_a_process_reports_that_it_lives_and_what_it_works_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.pipelines.core.heartbeats.INTERVAL", 0.02)
    heartbeats = Heartbeats(str(tmp_path / "heartbeats"))
    heartbeats.start()
    heartbeats.start()
    with heartbeats.working("pages/1"), heartbeats.working("pages/2"):
        time.sleep(0.3)
        (working,) = read_heartbeats(heartbeats.open()).values()
    time.sleep(0.3)
    (idle,) = read_heartbeats(heartbeats.open()).values()
    assert working[1].work == ["pages/1", "pages/2"] and idle[1].work == []
    assert idle[0] > working[0]


def test_nothing_is_written_where_nobody_watches_and_by_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_service: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options = PipelineOptions(["--runner=PortableRunner", f"--job_endpoint={job_service}"])
    for heartbeats in (NO_HEARTBEATS, heartbeats_for(options, str(tmp_path / "root"), DEFAULT_STORE)):
        heartbeats.start()
        with heartbeats.working("pages/1"):
            pass
    assert not (tmp_path / "root").exists() and not (tmp_path / "heartbeats").exists()


class IdlePool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """A pool that promises a worker and starts none."""

    def StartWorker(self, request: Any, context: Any) -> Any:
        return beam_fn_api_pb2.StartWorkerResponse()


@pytest.fixture
def idle_pool() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("localhost:0")
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(IdlePool(), server)
    server.start()
    yield f"localhost:{port}"
    server.stop(0)


@pytest.fixture
def job_service(tmp_path: Path) -> Iterator[str]:
    """Beam's own, in a process of its own."""
    port = tmp_path / "port"
    module = "apache_beam.runners.portability.local_job_service_main"
    service = subprocess.Popen([sys.executable, "-m", module, f"--port_file={port}"], stderr=subprocess.DEVNULL)
    while not port.exists():
        assert service.poll() is None
        time.sleep(0.05)
    yield f"localhost:{port.read_text()}"
    service.kill()
    service.wait()


def count(folder: Path, *flags: str) -> None:
    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        _ = pipeline | beam.Create([1]) | beam.Map(lambda value: value + 1)

    run_pipeline("numbers", ("--runner=PortableRunner", *flags), Staging(str(folder), str(folder)), wire)


@pytest.mark.slow
def test_a_pool_that_starts_no_worker_ends_the_attempt(
    tmp_path: Path, job_service: str, idle_pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.pipelines.core.watchdog.INTERVAL", 0.2)
    monkeypatch.setattr("step3vl.pipelines.core.watchdog.START_LIMIT", 2.0)
    start = time.monotonic()
    pool = ("--environment_type=EXTERNAL", f"--environment_config={idle_pool}")
    with pytest.raises(InfrastructureError, match=r"no Beam worker started within 2 seconds; .*run the same command"):
        count(tmp_path, f"--job_endpoint={job_service}", *pool)
    assert time.monotonic() - start < 30


@pytest.mark.slow
def test_a_pool_that_refuses_connections_ends_the_attempt(tmp_path: Path, job_service: str) -> None:
    pool = ("--environment_type=EXTERNAL", "--environment_config=localhost:9")
    with pytest.raises(InfrastructureError):
        count(tmp_path, f"--job_endpoint={job_service}", *pool)
