"""The logic of a step, which knows no engine: a worker keeps a record, drops it for a reason, or fails on it."""

import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from step3vl.data.errors import describe_error, is_infrastructure_error

_log = logging.getLogger(__name__)

RETRIES = 2  # of what the machine failed at
RETRY_PAUSE = 1.0  # seconds before the first retry, doubled for the second

T = TypeVar("T")
ValueT = TypeVar("ValueT")
InputT = TypeVar("InputT")
OutputT_co = TypeVar("OutputT_co", covariant=True)
ReadT_contra = TypeVar("ReadT_contra", contravariant=True)
AnnotatedT_co = TypeVar("AnnotatedT_co", covariant=True)


class Dropped(Exception):
    """Raised by a worker that does not want a record.

    Args:
        reason: A short word that the ledger counts by.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Record(NamedTuple, Generic[ValueT]):
    """An input of a step. `key` is unique in the step: it seeds the record's random numbers and names a failed one."""

    key: str
    value: ValueT


class Worker(Protocol[InputT, OutputT_co]):
    """The logic of a step."""

    def setup(self) -> None:
        """Load what the step needs; called once in each worker process or thread."""

    def process(self, record: Record[InputT], rng: random.Random) -> Iterable[OutputT_co]:
        """The outputs of one record, a pure function of the record and the random numbers.

        Raises:
            Dropped: The record is unwanted. Any other exception makes it a failed record, unless the machine caused
                it (`is_infrastructure_error`): then the record is processed again, and at last the step ends.
        """


class Annotator(Protocol[ReadT_contra, AnnotatedT_co]):
    """A model, loaded. It makes one value of each value of a batch, in order."""

    def __call__(self, values: Sequence[ReadT_contra], /) -> Sequence[AnnotatedT_co]:
        """What the model makes of a batch. An error is pinned down by calling it again with single values."""


def retry_infrastructure(call: Callable[[], T], errors: type[Exception] = Exception) -> T:
    """Call a function, and again after errors that the machine causes. The last error is raised.

    Args:
        call: The function.
        errors: Only after errors of this type.
    """
    for attempt in range(RETRIES):
        try:
            return call()
        except Exception as error:
            if not isinstance(error, errors) or not is_infrastructure_error(error):
                raise
            _log.warning("%s; retrying", describe_error(error))
            time.sleep(RETRY_PAUSE * 2**attempt)
    return call()


def rng_for(*names: object) -> random.Random:
    """Random numbers that depend on the names alone, so neither order nor the number of workers matters."""
    digest = hashlib.blake2b("\0".join(map(str, names)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))
