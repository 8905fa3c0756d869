"""Failed records, tried again. What became of them is committed beside the fragment that they belong to.

    <fragment>.json           the fragment, which stays as it is, and so does what was made of its rows
    <fragment>.retry-01.json  its failed records, in the first round in which they were tried again, with own rows

The accounts and dead letters of a fragment leave its failed records out as soon as a retry tells of them, so that the
sums over both reconcile. A step before the failed one, whose outputs are kept nowhere, is passed again for the records
that the failed ones were made of; steps are pure functions, so that the failed ones are met under their keys.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.dataset import DROPPED
from step3vl.data.storage import Store
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS, StagedDeadLetter
from step3vl.pipelines.core.fragments import FragmentResult
from step3vl.pipelines.core.step_runners import Finish, StepRunner
from step3vl.pipelines.core.steps import Record

T = TypeVar("T")


def retry_id(fragment: str, number: int) -> str:
    """Names the files of a retry.

    Args:
        fragment: The id of the fragment.
        number: Of the round of retries, from 1.
    """
    return f"{fragment}.retry-{number:02}"


def without_failures(result: FragmentResult) -> FragmentResult:
    """A result without its failed records and its dead letters, of which a retry tells."""
    accounts = tuple(
        step.model_copy(update={"read": step.read - sum(step.failed.values()), "failed": {}})
        for step in result.accounts
    )
    files = {ending: size for ending, size in result.files.items() if ending != DEAD_LETTERS}
    return result.model_copy(update={"accounts": accounts, "files": files})


class Failures:
    """The failed records of a fragment, which are tried again, and its dropped ones, which are not.

    Args:
        store: Of the root.
        path: Of the fragment, or of the last retry of it, relative to the root and without an ending.
    """

    def __init__(self, store: Store, path: str) -> None:
        rows = pq.read_table(pa.BufferReader(store.read_all(f"{path}.{DEAD_LETTERS}"))).to_pylist()
        letters = [StagedDeadLetter.model_validate(row) for row in rows]
        self.dropped = [letter for letter in letters if letter.error == DROPPED]
        failed = [letter for letter in letters if letter.error != DROPPED]
        self._left = {(letter.step, letter.source): letter for letter in failed}
        self._origins = {letter.origin for letter in failed}

    def of(self, records: Iterable[Record[Any]]) -> Iterator[Record[Any]]:
        """The records of the fragment that failed, or that what failed was made of."""
        return (record for record in records if "" in self._origins or _name(record) in self._origins)

    def take(self, step: str, record: Record[Any]) -> bool:
        """Whether a record failed in a step; it is then no longer `left`."""
        return self._left.pop((step, _name(record)), None) is not None

    @property
    def left(self) -> list[StagedDeadLetter]:
        """Those that were not met again."""
        return [*self._left.values()]


def _name(record: Record[Any]) -> str:
    """The key of a record as dead letters spell it, which may be no Unicode."""
    return record.key.encode("utf-8", "backslashreplace").decode()


def run_again(
    steps: Sequence[StepRunner], records: Iterable[Record[Any]], failures: Failures, finish: Finish[T]
) -> Iterator[T]:
    """Pass the failed records of a fragment through the steps of its segment. Only they are accounted for.

    Args:
        steps: Of the segment, each after `begin`.
        records: Of the fragment.
        failures: The failed ones.
        finish: Makes what leaves the last step.
    """
    chosen = failures.of(records)
    if len(steps) == 1:  # so that a model gets batches
        yield from steps[0].run((record for record in chosen if failures.take(steps[0].name, record)), finish)
    else:
        for record in chosen:
            yield from _descend(steps, record, failures, finish, failed=False)
    for step in steps:
        for letter in failures.left:
            if letter.step == step.name:
                step.fail(letter)


def _descend(
    steps: Sequence[StepRunner], record: Record[Any], failures: Failures, finish: Finish[T], *, failed: bool
) -> Iterator[T]:
    """What leaves the last step of a record that failed, or that was made of one that did, or may yet lead to one."""
    step, *following = steps
    failed = failures.take(step.name, record) or failed
    if not following:
        if failed:
            yield from step.run([record], finish)
        return
    outputs = chain.from_iterable(step.run([record], lambda _, emitted: emitted)) if failed else step.replay(record)
    for output in outputs:
        yield from _descend(following, output, failures, finish, failed=failed)
