"""Beam's worker processes, watched: a worker that does not start, or ends early, ends the pipeline with its log.

Beam's own handlers of processes and of external worker pools wait without a limit for a worker to connect.
"""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    ExternalWorkerHandler,
    GrpcWorkerHandler,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker

from step3vl.pipelines.core.scratch import scratch_folder

START_TIMEOUT = 50.0  # seconds until a worker has to be connected
_END_TIMEOUT = 5.0  # seconds for a worker without a connection to end; one in the middle of a bundle would complete it
_INTERVAL = 0.2
_LOG_LINES = 12  # the last lines of a worker's log that the error quotes
_LOST = "a Beam worker was lost: it was killed (out of memory?), or its machine is gone"
_UNAVAILABLE = re.compile(r'status = StatusCode\.UNAVAILABLE\s+details = "(.*?)"$', re.MULTILINE)  # of gRPC
_ERROR = "step3vl.data.errors.InfrastructureError"  # as a traceback ends, see `beam.run_pipeline`


class _Watch:
    """Answers all that a pipeline asks of a worker with an error, once the worker has failed.

    Args:
        handler: Of the worker.
        failure: What went wrong with it, or None; called repeatedly.
    """

    def __init__(self, handler: GrpcWorkerHandler, failure: Callable[[], str | None]) -> None:
        self._handler = handler
        self._failure = failure
        self._deadline = time.monotonic() + START_TIMEOUT
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="watch_worker", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        reason: str | None = None
        while not self._closed.wait(_INTERVAL):
            reason = reason or self._failure() or self._lost()
            if reason is not None:
                self._answer_all(f"{_ERROR}: {reason}")

    def _lost(self) -> str | None:
        """Why there is no connection to the worker, or None while there is one or there is time to make one."""
        connection = self._handler.control_conn  # Beam has no public names for its state
        if connection._state != BeamFnControlServicer.UNSTARTED_STATE:
            return None if connection._read_thread.is_alive() else _LOST
        if time.monotonic() < self._deadline:
            return None
        return f"a Beam worker did not start within {START_TIMEOUT:g} seconds"

    def _answer_all(self, error: str) -> None:
        for identity, future in list(self._handler.control_conn._futures_by_id.items()):
            if not future.is_done():
                future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=identity, error=error))


class _WatchedProcess(SubprocessSdkWorkerHandler):
    """A worker process whose output goes to a log."""

    def __init__(self, command: bytes, *arguments: Any) -> None:
        self._folder = scratch_folder("beam-worker")
        self._pid, self._output = self._folder / "pid", self._folder / "log"
        wrapped = f'echo $$ > "{self._pid}"; exec {command.decode()} > "{self._output}" 2>&1'
        super().__init__(wrapped.encode(), *arguments)

    def start_worker(self) -> None:
        worker = SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )

        def run() -> None:
            with suppress(RuntimeError):  # an exit code that is not 0; the watch sees that the process ended
                worker.run()

        _processes.add(self)
        self.worker_thread = threading.Thread(name="run_worker", target=run)
        self.worker_thread.start()
        self._watch = _Watch(self, self._failure)

    def _failure(self) -> str | None:
        if self.worker_thread.is_alive():
            return None
        lines = self._output.read_text(errors="replace").splitlines() if self._output.is_file() else []
        tail = " | ".join(line.strip() for line in lines[-_LOG_LINES:] if line.strip())
        return f"a Beam worker process ended early; its log ends with: {tail or '(nothing)'}"

    def close(self) -> None:
        self._watch.close()
        super().close()

    def stop_worker(self) -> None:
        if self.control_conn._input is not None:  # one that never connected would not end by itself
            self.worker_thread.join(_END_TIMEOUT)
        self.kill()
        super().stop_worker()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the process in the middle of its work, if it still runs."""
        if self.worker_thread.is_alive() and self._pid.is_file():
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(self._pid.read_text()), signal.SIGKILL)


_processes: WeakSet[_WatchedProcess] = WeakSet()


def kill_workers() -> None:
    """Kill the worker processes of this process: nobody waits any more for what they work on."""
    for process in list(_processes):
        process.kill()


class _WatchedExternal(ExternalWorkerHandler):
    """A worker that a pool starts; the log is the pool's."""

    def start_worker(self) -> None:
        super().start_worker()
        self._watch = _Watch(self, lambda: None)

    def close(self) -> None:
        self._watch.close()
        super().close()


def engine_failure(error: BaseException) -> str | None:
    """What happened when a worker, a pool or a job service is gone, for which Beam raises errors of its own."""
    text = str(error)
    if unavailable := _UNAVAILABLE.search(text):
        return f"a job service or a worker pool of Beam does not answer: {unavailable[1]}"
    return _LOST if "Channel closed prematurely" in text else None


def watch_workers() -> None:
    """Make a job service of Beam in this process use the watched handlers; `watchdog` watches those elsewhere."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(_WatchedProcess)
    WorkerHandler.register_environment(common_urns.environments.EXTERNAL.urn, beam_runner_api_pb2.ExternalPayload)(
        _WatchedExternal
    )
