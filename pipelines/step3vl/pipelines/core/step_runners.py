"""Running a step over the records of a fragment, every record accounted for: kept, dropped for a reason, or failed.

What a record causes is its failure, and a dead letter. What the machine causes is tried again, and then raised.
"""

import logging
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from step3vl.data.dataset import DROPPED, DeadLetter, LedgerStep
from step3vl.data.errors import describe_error
from step3vl.data.sample import Sample
from step3vl.data.storage import StoreConfig, use_store
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.deadline import Deadline, WorkerDied
from step3vl.pipelines.core.deadline_child import Failure
from step3vl.pipelines.core.domain import BeamStep, DomainEntry, ModelStep, Step
from step3vl.pipelines.core.steps import Annotator, Dropped, Record, Worker, retry_infrastructure

_log = logging.getLogger(__name__)

T = TypeVar("T")

Finish = Callable[[str, list[Any]], T]
"""Makes of a record's key and outputs what leaves the step; an error is the record's failure."""


class _Function(Protocol):
    """The code of a step, loaded here or in a process of its own."""

    def start(self) -> None: ...
    def call(self, argument: Any, seconds: float) -> Any: ...
    def close(self) -> object: ...


class _Here:
    """A function in this process; it takes no notice of time limits."""

    def __init__(self, load: Callable[[], Callable[[Any], Any]]) -> None:
        self._load = load

    def start(self) -> None:
        self._function = self._load()

    def call(self, argument: Any, seconds: float) -> Any:
        return self._function(argument)

    def close(self) -> None:
        """Nothing to end."""


def _load_worker(
    make: Callable[[Any, StepContext], Worker[Any, Any]], entry: DomainEntry, context: StepContext, name: str
) -> Callable[[Record[Any]], list[Any]]:
    """The function of a worker: the outputs of a record."""
    use_store(context.store)
    worker = make(entry, context)
    worker.setup()

    def process(record: Record[Any]) -> list[Any]:
        # A list, so that a record that fails half way leaves nothing behind.
        return list(worker.process(record, context.rng(name, record.key)))

    return process


def _load_annotator(
    make: Callable[[Any], Annotator[Any, Any]], entry: DomainEntry, store: StoreConfig
) -> Callable[[list[Any]], list[Any]]:
    """The function of an annotator: the annotated values of a batch."""
    use_store(store)
    annotator = make(entry)

    def annotate(values: list[Any]) -> list[Any]:
        annotated = list(annotator(values))
        if len(annotated) != len(values):
            raise ValueError(f"the model made {len(annotated)} values of {len(values)}")
        return annotated

    return annotate


class StepRunner(ABC):
    """Runs a step. `begin` starts the account of a fragment.

    Args:
        name: Of the step in the ledger.
        output: The type of the values that it emits.
        load: Makes the function that the step calls.
        time_limit: Seconds for a record; the function then runs in a process of its own.
    """

    def __init__(
        self, name: str, output: type, load: Callable[[], Callable[[Any], Any]], time_limit: float | None
    ) -> None:
        self.name = name
        self._output = output
        self._seconds = time_limit or 0.0
        self._function: _Function = _Here(load) if time_limit is None else Deadline(load, name)

    def setup(self) -> None:
        """Load what the step needs. Raises what the loading raises."""
        self._function.start()

    def close(self) -> None:
        """End the process of a step with a time limit."""
        self._function.close()

    def begin(self, dead_letter: Callable[[DeadLetter], None]) -> None:
        """Start the account of a fragment, whose dropped and failed records go to `dead_letter`."""
        self._dead_letter = dead_letter
        self._read = self._kept = self._emitted = 0
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._keys: set[str] = set()
        self._paid: defaultdict[str, float] = defaultdict(float)

    @property
    def account(self) -> LedgerStep:
        """What became of the records since `begin`."""
        return LedgerStep(
            name=self.name,
            read=self._read,
            kept=self._kept,
            dropped=dict(self._dropped),
            failed=dict(self._failed),
            emitted=self._emitted,
        )

    @property
    def paid(self) -> dict[str, float]:
        """What the values that a model made since `begin` were paid for elsewhere, such as tokens and their price."""
        return dict(self._paid)

    @abstractmethod
    def run(self, records: Iterable[Record[Any]], finish: Finish[T]) -> Iterator[T]:
        """Pass records through the step, in order.

        Args:
            records: What the step reads.
            finish: Makes what leaves the step of the key and the outputs of a record that is kept.

        Raises:
            InfrastructureError: The machine caused an error, also after retries.
        """

    def replay(self, record: Record[Any]) -> list[Any]:
        """The outputs of a record that is accounted for already; none where it is dropped or now fails.

        Raises:
            InfrastructureError: The machine caused an error, also after retries.
        """
        try:
            outputs: list[Any] = retry_infrastructure(partial(self._alone, record))
        except Dropped:
            return []
        except Exception as error:
            DeadLetter.from_error(error, step=self.name, source=record.key)  # raises what the machine caused
            return []
        return outputs

    def fail(self, dead_letter: DeadLetter) -> None:
        """Account for a record that failed before and cannot be tried again."""
        self._read += 1
        self._failed[dead_letter.error] += 1
        self._dead_letter(dead_letter)

    def _alone(self, argument: Any) -> Any:
        """Call the function for a single record; again if the process ended, which another process may have caused."""
        try:
            return self._function.call(argument, self._seconds)
        except WorkerDied:
            return self._function.call(argument, self._seconds)

    def _account_for(self, record: Record[Any], outputs: Callable[[], list[Any]], finish: Finish[T]) -> Iterator[T]:
        """What leaves the step of a record; nothing if it is dropped or fails."""
        self._read += 1
        try:
            emitted = retry_infrastructure(outputs)
            self._check(emitted)
            result = finish(record.key, emitted)
        except Dropped as drop:
            self._dropped[drop.reason] += 1
            self._dead_letter(DeadLetter(step=self.name, error=DROPPED, reason=drop.reason, source=record.key))
        except Exception as error:
            # Whatever a record can raise is that record's failure and is counted, never swallowed. What the machine
            # caused is raised here again, and ends the fragment.
            dead_letter = DeadLetter.from_error(error, step=self.name, source=record.key)
            if isinstance(error, Failure):
                dead_letter = dead_letter.model_copy(update={"error": error.name})
            self._failed[dead_letter.error] += 1
            self._dead_letter(dead_letter)
        else:
            self._kept += 1
            self._emitted += len(emitted)
            if self._output is not Sample:
                self._keys.update(output.key for output in emitted)
            yield result

    def _check(self, outputs: Sequence[Any]) -> None:
        """Check the types of a record's outputs, and that no two records of the fragment have one key."""
        if self._output is Sample:
            for output in outputs:
                if not isinstance(output, Sample):
                    raise TypeError(f"{self.name} must emit samples, not {type(output).__name__}")
            return
        keys: set[str] = set()
        for output in outputs:
            if not isinstance(output, Record) or type(output.value) is not self._output:
                actual = type(output.value if isinstance(output, Record) else output).__name__
                raise TypeError(f"{self.name} must emit records of {self._output.__name__}, not {actual}")
            if output.key in self._keys or output.key in keys:
                raise ValueError(f"{self.name} emits two records with the key {output.key!r}")
            keys.add(output.key)


class _WorkerRunner(StepRunner):
    def run(self, records: Iterable[Record[Any]], finish: Finish[T]) -> Iterator[T]:
        for record in records:
            yield from self._account_for(record, partial(self._alone, record), finish)


class _AnnotatorRunner(StepRunner):
    def __init__(self, step: ModelStep[Any], name: str, load: Callable[[], Callable[[Any], Any]]) -> None:
        super().__init__(name, step.output, load, step.time_limit)
        self._batch = step.batch

    def run(self, records: Iterable[Record[Any]], finish: Finish[T]) -> Iterator[T]:
        remaining = iter(records)
        while batch := list(islice(remaining, self._batch)):
            annotated = self._annotate(batch) if len(batch) > 1 else None
            for index, record in enumerate(batch):
                if annotated is None:
                    outputs = partial(self._annotate_alone, record)
                else:
                    outputs = partial(list, [Record(record.key, annotated[index])])
                yield from self._account_for(record, outputs, partial(self._pay, finish))

    def _pay(self, finish: Finish[T], key: str, outputs: list[Any]) -> T:
        """Add up what the values say that they cost: a model may have a property `paid`, of amounts by name."""
        result = finish(key, outputs)
        for output in outputs:
            for name, amount in getattr(output.value, "paid", {}).items():
                self._paid[name] += amount
        return result

    def _annotate(self, batch: Sequence[Record[Any]]) -> list[Any] | None:
        """The values of a batch; None if it failed, which the single records then tell more of."""
        try:
            values: list[Any] = self._function.call([record.value for record in batch], self._seconds * len(batch))
        except Exception as error:
            _log.warning(
                "%s: a batch of %d failed (%s); trying each alone", self.name, len(batch), describe_error(error)
            )
            return None
        return values

    def _annotate_alone(self, record: Record[Any]) -> list[Any]:
        return [Record(record.key, self._alone([record.value])[0])]


def step_runner(step: Step, entry: DomainEntry, context: StepContext) -> StepRunner:
    """The runner of a step, not yet set up.

    Args:
        step: A step of the entry's domain.
        entry: The configuration.
        context: What the code of the step may ask of.
    """
    name = f"{entry.name}.{step.name}"
    if isinstance(step, BeamStep):
        load = partial(_load_worker, step.worker, entry, context, name)
        return _WorkerRunner(name, step.output, load, step.time_limit)
    return _AnnotatorRunner(step, name, partial(_load_annotator, step.annotator, entry, context.store))
