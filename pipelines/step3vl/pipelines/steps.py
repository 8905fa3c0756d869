"""What happens to one record: it is kept, dropped for a reason, or dead of an error; and every one is counted.

A domain writes a `Worker`: a plain object that turns one record into outputs and knows no engine. `RunStep` runs it in
Beam. The counts come out as a collection (metrics of a retried bundle may be counted twice), one `Step` a bundle, so
that the ledger of the build adds up exactly: read = kept + dropped by reason + dead by error.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from step3vl.data.ledger import DROPPED, DeadLetter, Step

_LETTERS = "letters"
_ACCOUNTS = "accounts"
_KEPT = "kept"


class Dropped(Exception):
    """Raised by a worker that does not want a record. `reason` is a short word that the ledger counts by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Record(NamedTuple):
    """A source record: `key` names it uniquely in its step, for its random numbers and for its dead letter."""

    key: str
    value: Any


class Worker(Protocol):
    """The logic of a step."""

    def setup(self) -> None:
        """Load what the step needs; called once in each worker process or thread."""

    def process(self, record: Record, rng: random.Random) -> Iterable[Any]:
        """The outputs of one record, a pure function of the record and the random numbers.

        Raises `Dropped` when the record is unwanted; any other exception makes it a dead letter.
        """


class Outcome(NamedTuple):
    """The three collections that leave a step: outputs, `Step` accounts, and `DeadLetter`s (drops included)."""

    kept: Any
    accounts: Any
    letters: Any


def rng_for(*names: object) -> random.Random:
    """Random numbers that depend on the names alone, so neither order nor the number of workers matters."""
    digest = hashlib.blake2b("\0".join(map(str, names)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


class _Run(beam.DoFn):
    def __init__(self, step: str, worker: Worker, seed: int) -> None:
        self._step = step
        self._worker = worker
        self._seed = seed

    def setup(self) -> None:
        self._worker.setup()

    def start_bundle(self) -> None:
        self._read = self._kept = 0
        self._dropped: Counter[str] = Counter()
        self._dead: Counter[str] = Counter()

    def process(self, record: Record) -> Iterator[Any]:
        self._read += 1
        try:
            # A list, so that a record that fails half way leaves nothing behind.
            outputs = list(self._worker.process(record, rng_for(self._seed, self._step, record.key)))
        except Dropped as drop:
            self._dropped[drop.reason] += 1
            letter = DeadLetter(step=self._step, error=DROPPED, reason=drop.reason, source=record.key)
            yield beam.pvalue.TaggedOutput(_LETTERS, letter)
        except Exception as error:
            # Whatever a record can raise is that record's failure and is counted, never swallowed.
            name = type(error).__name__
            self._dead[name] += 1
            letter = DeadLetter(step=self._step, error=name, reason=str(error), source=record.key)
            yield beam.pvalue.TaggedOutput(_LETTERS, letter)
        else:
            self._kept += 1
            yield from outputs

    def finish_bundle(self) -> Iterator[WindowedValue]:
        account = Step(
            name=self._step, read=self._read, kept=self._kept, dropped=dict(self._dropped), dead=dict(self._dead)
        )
        end = GlobalWindow()
        yield beam.pvalue.TaggedOutput(_ACCOUNTS, WindowedValue(account, end.max_timestamp(), [end]))


class RunStep(beam.PTransform):
    """Run a worker over a collection of `Record`s and account for each. Applying it gives an `Outcome`."""

    def __init__(self, step: str, worker: Worker, seed: int) -> None:
        super().__init__(f"{step}")
        self._step = step
        self._worker = worker
        self._seed = seed

    def expand(self, records: Any) -> Any:
        tags = beam.ParDo(_Run(self._step, self._worker, self._seed)).with_outputs(_LETTERS, _ACCOUNTS, main=_KEPT)
        outputs = records | tags
        return Outcome(outputs[_KEPT], outputs[_ACCOUNTS], outputs[_LETTERS])


class BuildNumbered(beam.PTransform):
    """The composite of a domain that makes its input up: `count` numbers through a worker, as step `{name}.build`."""

    def __init__(self, name: str, count: int, worker: Worker, seed: int) -> None:
        super().__init__(name)
        self._name = name
        self._count = count
        self._worker = worker
        self._seed = seed

    def expand(self, pipeline: Any) -> Outcome:
        return (
            pipeline
            | NumberRecords(self._name, self._count)
            | RunStep(f"{self._name}.build", self._worker, self._seed)
        )


class NumberRecords(beam.PTransform):
    """`count` records numbered from 0, for builders that make their input up. Keys are `{name}/{number}`."""

    BLOCK = 250  # records a split: enough splits to spread, few enough that splitting costs nothing

    def __init__(self, name: str, count: int) -> None:
        super().__init__()
        self._name = name
        self._count = count

    def expand(self, pipeline: Any) -> Any:
        blocks = [(start, min(start + self.BLOCK, self._count)) for start in range(0, self._count, self.BLOCK)]
        name = self._name
        return (
            pipeline
            | "blocks" >> beam.Create(blocks)
            | "spread" >> beam.Reshuffle()
            | "number" >> beam.FlatMap(lambda block: [Record(f"{name}/{i}", i) for i in range(*block)])
        )
