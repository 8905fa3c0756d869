"""Runs fragments through the steps of a segment. It knows no engine: Beam, Ray and a plain loop call it alike.

Running a fragment is idempotent: the names of its files follow from its records, so an attempt that is repeated, here
or elsewhere at the same time, writes the same bytes to the same names.
"""

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from step3vl.data.errors import InfrastructureError, UserError, describe_error
from step3vl.data.sample import Image
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig, StoreError
from step3vl.pipelines.core.accounts import sum_hashes
from step3vl.pipelines.core.commits import read_commit
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.fragment_writer import FragmentWriter
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, RowRange
from step3vl.pipelines.core.inputs import file_hash
from step3vl.pipelines.core.pointers import absolute
from step3vl.pipelines.core.rows import load_model, map_images, read_rows
from step3vl.pipelines.core.segment import Segment
from step3vl.pipelines.core.step_runners import StepRunner, step_runner
from step3vl.pipelines.core.steps import Record, retry_infrastructure


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
        return retry_infrastructure(lambda: self._work(fragment), StoreError)

    def close(self) -> None:
        """End the processes of steps with a time limit."""
        for step in self._steps or ():
            step.close()
        self._steps = None

    def _work(self, fragment: Fragment) -> FragmentResult:
        assert self._steps is not None
        started, path = time.monotonic(), self._segment.path(fragment.id)
        with cpu_time() as cpu_seconds, FragmentWriter(self._store, path, self._segment.output) as writer:
            self._read_bytes = sum(file.size for file in fragment.files)
            content = sum_hashes(file_hash(file, self._context.local_path(file)) for file in fragment.files)
            records: Iterable[Record[Any]] = self._records(fragment)
            *steps, last = self._steps
            for step in self._steps:
                step.begin(writer.write_dead_letter)
            for step in steps:
                records = chain.from_iterable(step.run(records, lambda _, outputs: outputs))
            for prepared in last.run(records, writer.prepare):
                writer.write(prepared)
            result = FragmentResult(
                id=fragment.id,
                rows=0,
                accounts=tuple(step.account for step in self._steps),
                content=content if fragment.files else "",
                paid={name: round(amount, 9) for step in self._steps for name, amount in step.paid.items()},
                seconds=round(time.monotonic() - started, 3),
                cpu_seconds=round(cpu_seconds(), 3),
                read_bytes=self._read_bytes,
            )
            return writer.commit(result)

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
