"""Workers of Beam's Python job service, watched from the driver through the store of the build.

Where that job service is another process, it may wait forever for a worker that was killed, or that a pool was to
start and did not: it neither checks that workers live nor runs a bundle again. So each worker writes a heartbeat under
the root, and the driver cancels the job when one stops. Flink, Spark and Dataflow replace workers themselves and are
not watched; workers of a job service in the driver's own process are watched by `beam_workers`.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.runner import PipelineResult

from step3vl.data.errors import AGAIN, InfrastructureError
from step3vl.data.storage import Store, StoreConfig
from step3vl.pipelines.core.beam_workers import engine_failure
from step3vl.pipelines.core.heartbeats import (
    CANCELLED,
    INTERVAL,
    NO_HEARTBEATS,
    Heartbeat,
    Heartbeats,
    new_heartbeats,
)

_log = logging.getLogger(__name__)

LOST_AFTER = 30.0  # seconds without a heartbeat after which a worker counts as lost
START_LIMIT = 50.0  # seconds in which the worker of a job has to report
_ADVICE = f"the attempt was cancelled and what was committed is kept: {AGAIN}"


def heartbeats_for(options: PipelineOptions, root: str, store: StoreConfig) -> Heartbeats:
    """Where the workers of a new pipeline report; `NO_HEARTBEATS` unless a Python job service elsewhere runs it.

    Args:
        options: Beam's. A job service that they name must answer.
        root: URL of the folder of everything between steps.
        store: How a remote store is used.
    """
    runner = (options.view_as(StandardOptions).runner or "").rpartition(".")[2]
    portable = options.view_as(PortableOptions)
    if runner != "PortableRunner" or portable.job_endpoint in (None, "", "embed"):
        return NO_HEARTBEATS
    if portable.environment_type == "LOOPBACK" or not _is_python_service(portable.job_endpoint):
        return NO_HEARTBEATS  # the worker is the driver itself, or the engine replaces workers
    return new_heartbeats(root, store)


def _is_python_service(endpoint: str) -> bool:
    """Whether a job service is Beam's Python one, the only one that describes no options of its own."""
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        return not service.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest()).options


@contextmanager
def watch_job(result: PipelineResult, heartbeats: Heartbeats) -> Iterator[None]:
    """Cancel a job when a worker is lost or none starts.

    Args:
        result: Of the job that was started; waited for inside the block.
        heartbeats: Where its workers report; without them nothing is watched.

    Raises:
        InfrastructureError: A worker was lost or none started; names it and what it worked on.
    """
    if not heartbeats.url:
        yield
        return
    watch = _JobWatch(result, heartbeats)
    try:
        yield
    except BaseException as error:  # an interrupt of the driver ends its workers too
        watch.close()
        watch.cancel()
        reason = watch.reason or watch.explain(error)
        if reason is None:
            raise
        raise InfrastructureError(f"{reason}; {_ADVICE}") from error
    else:
        watch.close()
        with suppress(InfrastructureError):
            heartbeats.open().remove_folder("")


class _JobWatch:
    """Looks at the heartbeats of a job from a thread."""

    def __init__(self, result: PipelineResult, heartbeats: Heartbeats) -> None:
        self.reason: str | None = None
        self._result = result
        self._store = heartbeats.open()
        self._observer = Observer()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch_job", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def explain(self, error: BaseException) -> str | None:
        """What happened when the job service itself noticed that a worker was lost."""
        reason = engine_failure(error)
        work: list[str] = []
        if reason is not None:
            with suppress(InfrastructureError):
                work = [work for _, beat in read_heartbeats(self._store).values() for work in beat.work]
        return f"{reason}; it worked on {', '.join(work)}" if work else reason

    def _run(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(INTERVAL):
            now = time.monotonic()
            elapsed, last = now - last, now
            try:
                beats = read_heartbeats(self._store)
            except InfrastructureError as error:
                _log.warning("the heartbeats of the workers cannot be read: %s", error)
                continue
            # A driver that was stopped for a while must not count the pause.
            self.reason = self._observer.look(beats, min(elapsed, 2 * INTERVAL))
            if self.reason is not None:
                self.cancel()
                return

    def cancel(self) -> None:
        """End the job for the driver and, at their next heartbeat, the workers that are left of it."""
        with suppress(InfrastructureError):
            self._store.put(CANCELLED, b"")
        with suppress(grpc.RpcError):  # a job service that is gone has ended `wait_until_finish` itself
            self._result.cancel()  # its state CANCELLED ends `wait_until_finish`; the job itself hangs on


def read_heartbeats(store: Store) -> dict[str, tuple[int, Heartbeat]]:
    """The last heartbeat of every worker of an attempt, and its number.

    Raises:
        StoreError: The store does not answer.
    """
    beats = {}
    for name in store.names("", ".json"):
        beat = json.loads(store.read_all(name))
        beats[name] = (beat["count"], Heartbeat(beat["host"], beat["process"], beat["work"]))
    return beats


class Observer:
    """Decides from successive looks at the heartbeats whether a job waits for a worker that will not answer."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._counts: dict[str, int] = {}
        self._silent: dict[str, float] = {}

    def look(self, beats: Mapping[str, tuple[int, Heartbeat]], elapsed: float) -> str | None:
        """What is wrong, or None.

        Args:
            beats: The number and the content of each worker's last heartbeat.
            elapsed: Seconds since the last look.
        """
        for name, (count, beat) in beats.items():
            self._silent[name] = self._silent[name] + elapsed if self._counts.get(name) == count else 0.0
            self._counts[name] = count
            if self._silent[name] >= LOST_AFTER:
                work = f" while it worked on {', '.join(beat.work)}" if beat.work else ""
                return (
                    f"a Beam worker, process {beat.process} on {beat.host}, was silent for {self._silent[name]:.0f} "
                    f"seconds{work}: it was killed (out of memory?), or its machine or its way to the store is gone"
                )
        self._waited += elapsed
        if beats or self._waited < START_LIMIT:
            return None
        return f"no Beam worker started within {self._waited:.0f} seconds; the log of the worker pool says why"
