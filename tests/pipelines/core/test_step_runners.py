"""What a record causes is its failure; what the machine causes is tried again, and ends the step."""

import errno
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import pytest

from step3vl.data.config import Config
from step3vl.data.dataset import DROPPED, DeadLetter, LedgerStep
from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Sample
from step3vl.pipelines.core import steps
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, GeneratedEntry, ModelStep
from step3vl.pipelines.core.step_runners import step_runner
from step3vl.pipelines.core.steps import Dropped, Record


class NumbersEntry(GeneratedEntry):
    """Numbers."""

    domain: Literal["numbers"] = "numbers"


class Number(Config):
    """A value."""

    value: int


class Larger(Number):
    """Another type of value."""


ENTRY = NumbersEntry(name="n", count=10)
Outcome = tuple[list[Any], LedgerStep, list[DeadLetter]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_PAUSE", 0.0)


@pytest.fixture
def run(context: StepContext) -> Callable[..., Outcome]:
    """What leaves a step that is given ten numbers, the step's account, and its dead letters."""

    def run(step: BeamStep[Any] | ModelStep[Any], finish: Callable[[str, list[Any]], Any] | None = None) -> Outcome:
        dead_letters: list[DeadLetter] = []
        runner = step_runner(step, ENTRY, context)
        runner.setup()
        runner.begin(dead_letters.append)
        records = (Record(f"n/{number}", Number(value=number)) for number in range(10))
        emitted = list(runner.run(records, finish or (lambda key, outputs: outputs)))
        return [output for outputs in emitted for output in outputs], runner.account, dead_letters

    return run


def worker_step(emit: Callable[[Record[Number]], Iterator[Any]], output: type = Number) -> BeamStep[Any]:
    class Worker:
        def setup(self) -> None:
            """Nothing to load."""

        def process(self, record: Record[Number], rng: random.Random) -> Iterator[Any]:
            yield from emit(record)

    return BeamStep("step", 1, lambda entry, context: Worker(), output)


def failing(make: Callable[[], Exception], times: int = 99) -> BeamStep[Any]:
    """A step that raises at record 3, as often as it is told to."""
    raised: list[Exception] = []

    def emit(record: Record[Number]) -> Iterator[Record[Number]]:
        yield record
        if record.value.value == 3 and len(raised) < times:
            raised.append(make())
            raise raised[-1]

    return worker_step(emit)


@pytest.mark.parametrize(
    "error",
    [
        lambda: FileNotFoundError(errno.ENOENT, "No such file or directory", "/staging/part.bin"),
        lambda: FileNotFoundError("/staging/part.bin"),
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EIO, "Input/output error"),
        lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        lambda: MemoryError(),
        lambda: InfrastructureError("the store does not answer"),
    ],
)
def test_an_error_of_the_machine_ends_the_step_and_names_the_record(
    run: Callable[..., Outcome], error: Callable[[], Exception]
) -> None:
    with pytest.raises(InfrastructureError, match=r"step n\.step stopped at n/3: "):
        run(failing(error))


def test_an_error_of_the_machine_that_passes_is_retried(run: Callable[..., Outcome]) -> None:
    outputs, account, dead_letters = run(failing(lambda: OSError(errno.EIO, "Input/output error"), times=2))
    assert account == LedgerStep(name="n.step", read=10, kept=10, emitted=10)
    assert [record.key for record in outputs] == [f"n/{number}" for number in range(10)]
    assert dead_letters == []


@pytest.mark.parametrize("error", [OSError("image file is truncated"), ValueError("no number"), KeyError("x")])
def test_an_error_of_a_record_is_a_failed_record_that_emits_nothing(
    run: Callable[..., Outcome], error: Exception
) -> None:
    name = type(error).__name__
    outputs, account, (dead_letter,) = run(failing(lambda: error))
    assert account == LedgerStep(name="n.step", read=10, kept=9, emitted=9, failed={name: 1})
    assert "n/3" not in {record.key for record in outputs}
    assert dead_letter == DeadLetter(step="n.step", error=name, reason=str(error), source="n/3")


def test_a_dropped_record_emits_nothing_and_says_why(run: Callable[..., Outcome]) -> None:
    _, account, (dead_letter,) = run(failing(lambda: Dropped("unwanted")))
    assert account == LedgerStep(name="n.step", read=10, kept=9, emitted=9, dropped={"unwanted": 1})
    assert dead_letter == DeadLetter(step="n.step", error=DROPPED, reason="unwanted", source="n/3")


def test_a_record_may_emit_any_number_of_records(run: Callable[..., Outcome]) -> None:
    def emit(record: Record[Number]) -> Iterator[Record[Number]]:
        for copy in range(record.value.value):
            yield Record(f"{record.key}/{copy}", record.value)

    outputs, account, _ = run(worker_step(emit))
    assert account == LedgerStep(name="n.step", read=10, kept=10, emitted=45)
    assert len(outputs) == 45


@pytest.mark.parametrize(
    ("output", "emitted", "error", "reason"),
    [
        (Number, Number(value=1), "TypeError", "n.step must emit records of Number, not Number"),
        (Number, Record("k", 1), "TypeError", "n.step must emit records of Number, not int"),
        (Number, Record("k", Larger(value=1)), "TypeError", "n.step must emit records of Number, not Larger"),
        (Sample, Record("k", Number(value=1)), "TypeError", "n.step must emit samples, not Record"),
        (Number, Record("n/3", Number(value=1)), "ValueError", "n.step emits two records with the key 'n/3'"),
    ],
)
def test_what_a_step_must_not_emit_is_the_records_failure(
    run: Callable[..., Outcome], output: type, emitted: object, error: str, reason: str
) -> None:
    def emit(record: Record[Number]) -> Iterator[Any]:
        if record.value.value == 4:
            yield emitted
        elif output is Number:
            yield record

    _, account, (dead_letter,) = run(worker_step(emit, output))
    assert account.failed == {error: 1}
    assert (dead_letter.source, dead_letter.reason) == ("n/4", reason)


def test_what_cannot_leave_the_step_is_the_records_failure(run: Callable[..., Outcome]) -> None:
    def finish(key: str, outputs: list[Any]) -> list[Any]:
        if key == "n/5":
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return outputs

    outputs, account, _ = run(worker_step(lambda record: iter([record])), finish)
    assert account == LedgerStep(name="n.step", read=10, kept=9, emitted=9, failed={"UnicodeEncodeError": 1})
    assert len(outputs) == 9


def model_step(annotate: Callable[[Sequence[Number]], Sequence[Larger]]) -> ModelStep[Any]:
    return ModelStep("step", 1, lambda entry: annotate, Larger, batch=4)


def larger(values: Sequence[Number]) -> list[Larger]:
    return [Larger(value=value.value + 100) for value in values]


def test_a_model_is_given_batches_and_keys_stay(run: Callable[..., Outcome]) -> None:
    sizes = []

    def annotate(values: Sequence[Number]) -> list[Larger]:
        sizes.append(len(values))
        return larger(values)

    outputs, account, _ = run(model_step(annotate))
    assert outputs == [Record(f"n/{number}", Larger(value=number + 100)) for number in range(10)]
    assert account == LedgerStep(name="n.step", read=10, kept=10, emitted=10)
    assert sizes == [4, 4, 2]


def test_a_batch_that_fails_is_tried_one_by_one(run: Callable[..., Outcome]) -> None:
    def annotate(values: Sequence[Number]) -> list[Larger]:
        if 5 in [value.value for value in values]:
            raise RuntimeError("out of memory on the GPU" if len(values) > 1 else "cannot read 5")
        return larger(values)

    outputs, account, (dead_letter,) = run(model_step(annotate))
    assert account == LedgerStep(name="n.step", read=10, kept=9, emitted=9, failed={"RuntimeError": 1})
    assert [record.value.value for record in outputs] == [number + 100 for number in range(10) if number != 5]
    assert dead_letter.reason == "cannot read 5"


def test_a_model_that_returns_too_few_values_fails_the_records(run: Callable[..., Outcome]) -> None:
    _, account, dead_letters = run(model_step(lambda values: larger(values)[:-1]))
    assert account == LedgerStep(name="n.step", read=10, kept=0, emitted=0, failed={"ValueError": 10})
    assert dead_letters[0].reason == "the model made 0 values of 1"


def test_an_error_of_the_machine_in_a_model_ends_the_step(run: Callable[..., Outcome]) -> None:
    def annotate(values: Sequence[Number]) -> list[Larger]:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(InfrastructureError, match=r"step n\.step stopped at n/0: ConnectionResetError"):
        run(model_step(annotate))
