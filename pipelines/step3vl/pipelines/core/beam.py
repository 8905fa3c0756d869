"""Beam: running a worker over records with every record accounted for, and pipelines on runners known to be right.

The counts leave a step as a collection, one `LedgerStep` a bundle, because Beam's metrics may count a retried bundle
twice. So the ledger of a build is exact: read = kept + dropped by reason + failed by error.
"""

import builtins
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from step3vl.data.dataset import DROPPED, DeadLetter, LedgerStep
from step3vl.data.errors import RESUME, InfrastructureError, UserError, describe_error, is_infrastructure_error
from step3vl.data.storage import write_durably
from step3vl.pipelines.core.beam_workers import watch_workers
from step3vl.pipelines.core.steps import Dropped, Record, Worker, retry_infrastructure, rng_for

T = TypeVar("T")

_KEPT = "kept"
_ACCOUNTS = "accounts"
_DEAD_LETTERS = "dead_letters"
_REFUSED = {
    "DaskRunner": "it silently loses tagged outputs and whole branches",
    "PrismRunner": "it refuses exception handling and downloads its binary at run time",
    "DirectRunner": "it first tries to download and run Prism",
}


# The line that ends a traceback, in what runners wrap it in.
_RAISED = re.compile(
    r"^(?:Pipeline .*? failed in state \w+: )?(?:RuntimeError: )*([A-Za-z_][\w.]*(?:Error|Exception))(?:: (.*))?$",
    re.MULTILINE,
)
_WHILE_RUNNING = re.compile(r" ?\[while running '[^']*'\]")
# The errors that they log with a traceback are raised as well.
_REPEATED_LOGS = ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker")


class StepOutputs(NamedTuple, Generic[T]):
    """What leaves the step `name`: its outputs, its accounts, and the records that it failed on or dropped."""

    name: str
    kept: PCollection[T]
    accounts: PCollection[LedgerStep]
    dead_letters: PCollection[DeadLetter]


class _RunWorker(beam.DoFn):
    def __init__(self, step: str, worker: Worker[Any, Any], seed: int) -> None:
        self._step = step
        self._worker = worker
        self._seed = seed

    def setup(self) -> None:
        self._worker.setup()

    def start_bundle(self) -> None:
        self._read = self._kept = 0
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def process(self, record: Record) -> Iterator[Any]:
        self._read += 1
        try:
            outputs = retry_infrastructure(lambda: self._outputs(record))
        except Dropped as drop:
            self._dropped[drop.reason] += 1
            dead_letter = DeadLetter(step=self._step, error=DROPPED, reason=drop.reason, source=record.key)
            yield TaggedOutput(_DEAD_LETTERS, dead_letter)
        except Exception as error:
            # Whatever a record can raise is that record's failure and is counted, never swallowed. What the machine
            # caused is raised here again, and ends the pipeline.
            dead_letter = DeadLetter.from_error(error, step=self._step, source=record.key)
            self._failed[type(error).__name__] += 1
            yield TaggedOutput(_DEAD_LETTERS, dead_letter)
        else:
            self._kept += 1
            yield from outputs

    def _outputs(self, record: Record) -> list[Any]:
        """A list, so that a record that fails half way leaves nothing behind."""
        return list(self._worker.process(record, rng_for(self._seed, self._step, record.key)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        account = LedgerStep(
            name=self._step, read=self._read, kept=self._kept, dropped=dict(self._dropped), failed=dict(self._failed)
        )
        yield TaggedOutput(_ACCOUNTS, at_end(account))


def at_end(value: object) -> WindowedValue:
    """A value as `finish_bundle` must yield it."""
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])


class RunStep(beam.PTransform):
    """Run a worker over a collection of `Record`s and account for each. Applying it gives `StepOutputs`.

    Args:
        step: The step's name in the ledger; with the seed and a record's key it seeds the record's random numbers.
        worker: The step's logic.
        seed: Of the corpus.
    """

    def __init__(self, step: str, worker: Worker[Any, Any], seed: int) -> None:
        super().__init__(step)
        self._step = step
        self._worker = worker
        self._seed = seed

    def expand(self, records: PCollection[Record]) -> Any:  # Beam has no hint for several outputs
        run = beam.ParDo(_RunWorker(self._step, self._worker, self._seed))
        outputs = records | run.with_outputs(_DEAD_LETTERS, _ACCOUNTS, main=_KEPT)
        return StepOutputs(self._step, outputs[_KEPT], outputs[_ACCOUNTS], outputs[_DEAD_LETTERS])


class NumberRecords(beam.PTransform):
    """`count` records numbered from 0, for workers that generate their input. Keys are `{name}/{number}`."""

    BLOCK = 250  # records a split: enough splits to spread, few enough that splitting costs nothing

    def __init__(self, name: str, count: int) -> None:
        super().__init__()
        self._name = name
        self._count = count

    def expand(self, pipeline: PBegin) -> PCollection[Record]:
        blocks = [(start, min(start + self.BLOCK, self._count)) for start in range(0, self._count, self.BLOCK)]
        name = self._name
        return (
            pipeline
            | "blocks" >> beam.Create(blocks)
            | "spread" >> beam.Reshuffle()
            | "number" >> beam.FlatMap(lambda block: [Record(f"{name}/{i}", i) for i in range(*block)])
        )


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's own flags as options.

    Raises:
        UserError: The runner is known to lose records, or a flag is not written as one.
    """
    options = PipelineOptions(list(flags))
    for flag in flags:
        if not flag.startswith("--"):
            raise UserError(f"beam_options: {flag!r} is not a Beam option; write it as --name=value")
    runner = (options.view_as(StandardOptions).runner or "").rpartition(".")[2]
    if runner in _REFUSED:
        raise UserError(
            f"beam_options: {runner} is refused because {_REFUSED[runner]}; leave --runner out to run in this process"
        )
    return options


def run_pipeline(name: str, flags: Sequence[str], wire: Callable[[beam.Pipeline], None]) -> None:
    """Build a pipeline with `wire` and wait for its end.

    Raises:
        InfrastructureError: The machine caused the end.
        UserError: A worker found a mistake in the configuration.
        RuntimeError: The pipeline ended otherwise in another state than DONE.
    """
    options = beam_options(flags)
    pipeline = beam.Pipeline(runner=options.view_as(StandardOptions).runner or FnApiRunner(), options=options)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    for logger in _REPEATED_LOGS:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    watch_workers()
    wire(pipeline)
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:
        raise _explain(name, error) from error
    if state not in (None, "DONE"):
        raise RuntimeError(f"the Beam pipeline {name} ended as {state}")


def _explain(name: str, error: Exception) -> Exception:
    """The error that ended a pipeline, in one line if it is the machine's or the user's.

    Workers may be other processes, so runners hand on the text of a traceback; its last line is the error.
    """
    if is_infrastructure_error(error):
        return InfrastructureError(f"{name}: {describe_error(error)}; {RESUME}")
    matches = _RAISED.findall(str(error))
    if not matches:
        return error
    qualified, message = matches[-1]
    message = " ".join(_WHILE_RUNNING.sub("", message).split()) or qualified
    type_name = qualified.rpartition(".")[2]
    builtin = getattr(builtins, type_name, None) if qualified == type_name else None
    if isinstance(builtin, type) and issubclass(builtin, OSError | MemoryError):
        return InfrastructureError(f"{name}: {type_name}: {message}; {RESUME}")
    if qualified == "step3vl.data.errors.UserError":
        return UserError(message)
    if qualified.startswith("step3vl.") and type_name in ("InfrastructureError", "StoreError"):
        return InfrastructureError(f"{message}; {RESUME}")
    return error


def flatten(collections: Iterable[PCollection[T]], label: str, pipeline: beam.Pipeline) -> PCollection[T]:
    """`beam.Flatten` that also takes no collection at all."""
    return tuple(collections) | label >> beam.Flatten(pipeline=pipeline)


def _write_json(values: list[Any], path: Path) -> None:
    write_durably(path, json.dumps(values).encode())


class CollectJson(beam.PTransform):
    """Write a small collection as one JSON list: how a pipeline reports to the process that started it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Collect {path.name}")
        self._path = path

    def expand(self, values: PCollection[Any]) -> PCollection[None]:
        return values | beam.combiners.ToList() | beam.Map(_write_json, self._path)
