"""Runs fragments through the steps of a segment. It knows no engine: Beam, Ray and a plain loop call it alike.

Running a fragment is idempotent: the names of its files follow from its records, so an attempt that is repeated, here
or elsewhere at the same time, writes the same bytes to the same names.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import InfrastructureError, UserError, describe_error
from step3vl.data.sample import Image
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig, StoreError
from step3vl.pipelines.core.accounts import sum_hashes
from step3vl.pipelines.core.commits import read_commit
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.fragment_writer import FragmentWriter, StagedDeadLetter
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, RowRange
from step3vl.pipelines.core.inputs import file_hash
from step3vl.pipelines.core.pointers import absolute
from step3vl.pipelines.core.retry import Failures, retry_id, run_again, without_failures
from step3vl.pipelines.core.rows import load_model, map_images, read_rows
from step3vl.pipelines.core.segment import Segment
from step3vl.pipelines.core.step_runners import Finish, StepRunner, step_runner
from step3vl.pipelines.core.steps import Record, retry_infrastructure

T = TypeVar("T")


class SegmentRunner:
    """Runs fragments of a segment in this process; what the steps need is loaded once. One thread uses it at a time.

    Args:
        segment: The steps.
        root: URL of the folder of everything between steps.
        base: The absolute folder that relative patterns start from.
        store: How remote stores are used.
    """

    def __init__(self, segment: Segment, root: str, base: str, store: StoreConfig = DEFAULT_STORE) -> None:
        self._segment = segment
        self._store = Store(root.rstrip("/"), store)
        self._context = StepContext(segment.seed, base, store, root.rstrip("/"))
        self._steps: list[StepRunner] | None = None

    def setup(self) -> None:
        """Load what the steps need, once; `run` calls it when it first has work to do.

        Raises:
            UserError: The entry names what does not exist.
            InfrastructureError: A step cannot be loaded for another reason, such as a model that is missing.
        """
        if self._steps is not None:
            return
        steps = [step_runner(step, self._segment.entry, self._context) for step in self._segment.steps]
        for step in steps:
            try:
                step.setup()
            except UserError:
                raise
            except Exception as error:
                raise InfrastructureError(f"{step.name} cannot be loaded: {describe_error(error)}") from error
        self._steps = steps

    def committed(self, fragment: Fragment) -> FragmentResult | None:
        """The result of a fragment that is committed and whose files are in place.

        Raises:
            StoreError: The store does not answer.
        """
        return read_commit(self._store, self._segment.path(fragment.id), FragmentResult)

    def run(self, fragment: Fragment) -> FragmentResult:
        """Work on a fragment and commit it; one that is committed already is returned at once.

        Raises:
            InfrastructureError: The machine caused an error, also after retries; nothing was committed.
        """
        if (result := self.committed(fragment)) is not None:
            return result
        self.setup()
        # What a step met, it has tried again already.
        return retry_infrastructure(lambda: self._work(fragment, fragment.id), StoreError)

    def run_with_retries(self, fragment: Fragment) -> list[FragmentResult]:
        """Work on a fragment, and then on its failed records where a round of retries asks for it; see `retry`.

        Returns:
            The results of both, whose sums are the account of the fragment.

        Raises:
            InfrastructureError: As `run`.
        """
        return self._with_retries(fragment, self.run(fragment), work=True)

    def committed_with_retries(self, fragment: Fragment) -> list[FragmentResult]:
        """The same of a fragment that is committed; empty for another one. Raises StoreError."""
        result = self.committed(fragment)
        return [] if result is None else self._with_retries(fragment, result, work=False)

    def _with_retries(self, fragment: Fragment, result: FragmentResult, *, work: bool) -> list[FragmentResult]:
        results = [result]
        for number in range(result.round + 1, self._segment.retries + 1):
            last = results[-1]
            if not last.has_failures:
                break
            id = retry_id(fragment.id, number)
            retry = read_commit(self._store, self._segment.path(id), FragmentResult)
            if retry is None and work and number == self._segment.retries:
                self.setup()
                again = partial(self._work, fragment, id, self._segment.path(last.id))
                retry = retry_infrastructure(again, StoreError)
            if retry is not None:
                results[-1:] = [without_failures(last), retry]
        return results

    def close(self) -> None:
        """End the processes of steps with a time limit."""
        for step in self._steps or ():
            step.close()
        self._steps = None

    def _work(self, fragment: Fragment, id: str, failed: str = "") -> FragmentResult:
        """Work on a fragment, and commit it.

        Args:
            fragment: Its records.
            id: Under which it is committed.
            failed: Path of the result whose failed records alone are worked on; empty for all.
        """
        steps = self._steps
        assert steps is not None
        started, path = time.monotonic(), self._segment.path(id)
        with cpu_time() as cpu_seconds, FragmentWriter(self._store, path, self._segment.output) as writer:
            self._read_bytes = 0 if failed else sum(file.size for file in fragment.files)
            files = () if failed else fragment.files
            content = sum_hashes(file_hash(file, self._context.local_path(file)) for file in files)
            records = self._noted(self._records(fragment))
            for step in steps:
                step.begin(lambda letter: writer.write_dead_letter(letter, self._origin(letter)))
            if failed:
                failures = Failures(self._store, failed)
                for letter in failures.dropped:
                    writer.write_dead_letter(letter, letter.origin)
                outputs = run_again(steps, records, failures, writer.prepare)
            else:
                outputs = _run(steps, records, writer.prepare)
            for prepared in outputs:
                writer.write(prepared)
            result = FragmentResult(
                id=id,
                rows=0,
                round=self._segment.retries,
                accounts=tuple(step.account for step in steps),
                content=content if files else "",
                paid={name: round(amount, 9) for step in steps for name, amount in step.paid.items()},
                seconds=round(time.monotonic() - started, 3),
                cpu_seconds=round(cpu_seconds(), 3),
                read_bytes=self._read_bytes,
            )
            return writer.commit(result)

    def _noted(self, records: Iterator[Record[Any]]) -> Iterator[Record[Any]]:
        """Records, of which the one that is worked on is noted: dead letters name it."""
        for record in records:
            self._key = record.key
            yield record

    def _origin(self, dead_letter: DeadLetter) -> str:
        """The key of the fragment's record that a failed or dropped one was made of."""
        assert self._steps is not None
        if len(self._steps) == 1:
            return dead_letter.source  # a model has read the others of its batch by now
        if isinstance(dead_letter, StagedDeadLetter):
            return dead_letter.origin
        return self._key.encode("utf-8", "backslashreplace").decode()

    def _records(self, fragment: Fragment) -> Iterator[Record[Any]]:
        if fragment.numbers is not None:
            name = self._segment.entry.name
            return (Record(f"{name}/{number}", number) for number in range(*fragment.numbers))
        if fragment.rows is not None:
            return self._staged(fragment.rows)
        return (Record(file.key, file) for file in fragment.files)

    def _staged(self, rows: RowRange) -> Iterator[Record[Any]]:
        model = self._segment.reads
        assert model is not None

        def locate(image: Image) -> Image:
            if image.at is not None:
                self._read_bytes += image.at.size
            return absolute(image, self._store.url)

        for row in read_rows(self._store, f"{rows.path}.parquet", rows.start, rows.stop):
            yield Record(row["key"], map_images(load_model(model, row["value"]), locate))


def _run(steps: Sequence[StepRunner], records: Iterable[Record[Any]], finish: Finish[T]) -> Iterator[T]:
    """Pass records through steps, one after the other; each leaves the last step before the next one is read."""
    *before, last = steps
    for step in before:
        records = chain.from_iterable(step.run(records, lambda _, outputs: outputs))
    return last.run(records, finish)
