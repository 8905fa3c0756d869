"""Beam: pipelines on runners known to be right, what they report, and what ended them, in one line."""

import builtins
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import Environment

from step3vl.data.errors import AGAIN, RESUME, InfrastructureError, UserError, describe_error, is_infrastructure_error
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.beam_workers import engine_failure, kill_workers, watch_workers
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.watchdog import heartbeats_for, watch_job

V = TypeVar("V", bound=PipelineOptions)

_REFUSED = {
    "DaskRunner": "it silently loses tagged outputs and whole branches",
    "PrismRunner": "it refuses exception handling and downloads its binary at run time",
    "DirectRunner": "it first tries to download and run Prism",
}
_NO_DEADLINE = 10**8  # seconds; Beam gives this deadline to the stream of a job's states, so it ends the job
_CONNECT = 30.0  # seconds in which a job service has to answer

# The line that ends a traceback, in what runners wrap it in.
_RAISED = re.compile(
    r"^(?:Pipeline .*? failed in state \w+: )?(?:RuntimeError: )*([A-Za-z_][\w.]*(?:Error|Exception))(?:: (.*))?$",
    re.MULTILINE,
)
_WHILE_RUNNING = re.compile(r" ?\[while running '[^']*'\]")
# The errors that they log with a traceback are raised as well.
_REPEATED_LOGS = ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker")


class Options(PipelineOptions):
    """Beam's options with one view of each kind, for Beam takes several at each transform, and parses its flags again.

    All views share their values, so that one is as good as several.
    """

    def __init__(self, flags: list[str]) -> None:
        super().__init__(flags)
        self.__dict__["_views"] = {}  # Beam's options have no other attributes than flags

    def view_as(self, cls: type[V]) -> V:
        """The options of one kind."""
        views: dict[type[PipelineOptions], Any] = self.__dict__["_views"]
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: V = views[cls]
        return view


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's own flags as options.

    Raises:
        UserError: The runner is known to lose records, or a flag is not written as one.
    """
    options = Options(list(flags))
    for flag in flags:
        if not flag.startswith("--"):
            raise UserError(f"beam_options: {flag!r} is not a Beam option; write it as --name=value")
    if _runner_name(options) in _REFUSED:
        name = _runner_name(options)
        raise UserError(
            f"beam_options: {name} is refused because {_REFUSED[name]}; leave --runner out to run in this process"
        )
    portable = options.view_as(PortableOptions)
    if not any(flag.replace("-", "_").startswith("__job_server_timeout") for flag in flags):
        portable.job_server_timeout = _NO_DEADLINE
    return options


def _runner_name(options: PipelineOptions) -> str:
    return (options.view_as(StandardOptions).runner or "").rpartition(".")[2]


def run_pipeline(
    name: str, flags: Sequence[str], staging: Staging, wire: Callable[[beam.Pipeline, Staging], None]
) -> None:
    """Build a pipeline with `wire` and wait for its end.

    Args:
        name: Of the pipeline, for errors.
        flags: Beam's own options.
        staging: Where the build keeps its work.
        wire: Applies the transforms. It gets the pipeline, and `staging` as its workers need it.

    Raises:
        InfrastructureError: The machine caused the end.
        UserError: A worker found a mistake in the configuration.
        RuntimeError: The pipeline ended otherwise in another state than DONE.
    """
    options = beam_options(flags)
    runner = _runner(options)
    heartbeats = heartbeats_for(options, staging.root, staging.store)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    for logger in _REPEATED_LOGS:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    watch_workers()
    pipeline = beam.Pipeline(runner=runner, options=options)
    wire(pipeline, staging._replace(heartbeats=heartbeats))
    try:
        result = pipeline.run()
        with watch_job(result, heartbeats):
            state = result.wait_until_finish()
    except Exception as error:
        raise _explain(name, error) from error
    except BaseException:  # a KeyboardInterrupt: this process could not end before its workers do
        kill_workers()
        raise
    if state not in (None, "DONE"):
        raise RuntimeError(f"the Beam pipeline {name} ended as {state}")


def _runner(options: PipelineOptions) -> Any:
    """The runner of the options, by default this process with its own workers or those of the options."""
    portable = options.view_as(PortableOptions)
    if portable.job_endpoint not in (None, "", "embed"):
        _require_service(portable.job_endpoint)
    if name := options.view_as(StandardOptions).runner:
        return name
    if portable.environment_type not in (None, "", "LOOPBACK"):
        return FnApiRunner(default_environment=Environment.from_options(portable))
    return FnApiRunner()


def _require_service(endpoint: str) -> None:
    """Raises InfrastructureError when no job service answers; Beam would wait as long as for the job itself."""
    channel = grpc.insecure_channel(endpoint)
    try:
        grpc.channel_ready_future(channel).result(timeout=_CONNECT)
    except grpc.FutureTimeoutError:
        raise InfrastructureError(
            f"no job service answers at --job_endpoint={endpoint} within {_CONNECT:g} seconds; start it, or correct "
            "the address"
        ) from None
    finally:
        channel.close()


def _explain(name: str, error: Exception) -> Exception:
    """The error that ended a pipeline, in one line if it is the machine's or the user's.

    Workers may be other processes, so runners hand on the text of a traceback; its last line is the error.
    """
    if reason := engine_failure(error):
        return InfrastructureError(f"{name}: {reason}; {RESUME}")
    text = _WHILE_RUNNING.sub("", str(error))
    if isinstance(error, UserError) and not isinstance(error, InfrastructureError):
        return UserError(text)
    if is_infrastructure_error(error):
        described = text if isinstance(error, InfrastructureError) else f"{name}: {describe_error(error)}"
        return InfrastructureError(_with_advice(_WHILE_RUNNING.sub("", described)))
    matches = _RAISED.findall(text)
    if not matches:
        return error
    qualified, message = matches[-1]
    message = " ".join(message.split()) or qualified
    type_name = qualified.rpartition(".")[2]
    builtin = getattr(builtins, type_name, None) if qualified == type_name else None
    if isinstance(builtin, type) and issubclass(builtin, OSError | MemoryError):
        return InfrastructureError(f"{name}: {type_name}: {message}; {RESUME}")
    if qualified in ("step3vl.data.errors.UserError", "step3vl.pipelines.core.domain.MissingProgramError"):
        return UserError(message)
    if qualified.startswith("step3vl.") and type_name in ("InfrastructureError", "StoreError"):
        return InfrastructureError(_with_advice(message))
    return error


def _with_advice(message: str) -> str:
    return message if AGAIN in message else f"{message}; {RESUME}"


def as_text(outputs: Any, tag: str) -> PCollection[str]:
    """A tagged output whose elements are text; Beam infers no type for it, and so no coder."""
    return outputs[tag] | tag >> beam.Map(str).with_output_types(str)


class _MergeReports(beam.CombineFn):
    """Reports as JSON to their sum as JSON."""

    def create_accumulator(self) -> str:
        return Report().model_dump_json()

    def add_input(self, accumulator: str, element: str) -> str:
        return self.merge_accumulators([accumulator, element])

    def add_inputs(self, accumulator: str, elements: Iterable[str]) -> str:
        return self.merge_accumulators([accumulator, *elements])

    def merge_accumulators(self, accumulators: Iterable[str]) -> str:
        return Report.merge(map(Report.model_validate_json, accumulators)).model_dump_json()

    def extract_output(self, accumulator: str) -> str:
        return accumulator


class WriteReport(beam.PTransform):
    """Add up reports and write the sum: how a pipeline tells the process that started it what became of the records.

    Args:
        staging: Where it is written.
        path: Relative to the root.
    """

    def __init__(self, staging: Staging, path: str) -> None:
        super().__init__()
        self._staging = staging
        self._path = path

    def expand(self, reports: PCollection[str]) -> PCollection[None]:
        merged = reports | beam.CombineGlobally(_MergeReports())
        return merged | "write" >> beam.Map(_put, self._staging, self._path)


class WriteList(beam.PTransform):
    """Write a small collection of JSON texts as one sorted list, such as the shards of a dataset.

    Args:
        staging: Where it is written.
        path: Relative to the root.
    """

    def __init__(self, staging: Staging, path: str) -> None:
        super().__init__()
        self._staging = staging
        self._path = path

    def expand(self, values: PCollection[str]) -> PCollection[None]:
        listed = values | beam.combiners.ToList() | beam.Map(lambda texts: json.dumps(sorted(texts)))
        return listed | "write" >> beam.Map(_put, self._staging, self._path)


def _put(text: str, staging: Staging, path: str) -> None:
    staging.open().put(path, text.encode())


def read_report(staging: Staging, path: str) -> Report:
    """What `WriteReport` wrote."""
    return Report.model_validate_json(staging.open().read_all(path))


def read_list(staging: Staging, path: str) -> Iterator[str]:
    """What `WriteList` wrote."""
    yield from json.loads(staging.open().read_all(path))
