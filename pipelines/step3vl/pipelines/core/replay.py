"""The steps of an entry for a single record: from what a label check recomputes a sample."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from step3vl.data.storage import use_store
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.deadline import Deadline, TimeLimitExceeded
from step3vl.pipelines.core.domain import BeamStep, DomainEntry, Files, ModelStep, Numbers, Step, Unchecked
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.scratch import scratch_folder
from step3vl.pipelines.core.segment import steps_of
from step3vl.pipelines.core.steps import Record

_SECONDS = 60.0  # for a step that has no time limit of its own


class InputFinder:
    """Finds the input files of an entry by the keys of the records that they led to.

    Args:
        entry: Whose inputs are files.
        context: Of its build.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context
        self._files: dict[str, InputFile] | None = None

    def __call__(self, key: str) -> InputFile:
        """The file that leads to a record.

        Raises:
            Unchecked: The entry has none now.
        """
        if self._files is None:
            self._files = {file.key: file for file in self._listed()}
        name, mark = key, "#"
        while name not in self._files and mark:
            name, mark, _ = name.rpartition("#")  # which stands before what a record is called within its file
        file = self._files.get(name)
        if file is None:
            raise Unchecked("no_such_file")
        return file

    def _listed(self) -> Iterator[InputFile]:
        inputs, context = self._entry.inputs(), self._context
        if not isinstance(inputs, Files):
            return
        for source in inputs.sources:
            for pattern in source.files:
                yield from list_pattern(
                    pattern,
                    source.licence,
                    entry=self._entry.name,
                    base=context.base,
                    store=context.store,
                    optional=True,
                )


class Replay:
    """Makes what a step of an entry emitted once more, with the same random numbers, in a process of its own.

    A record has the time that its build gave it: the process is killed when the steps take longer, and the other
    records of that file are not tried again.

    Args:
        entry: Whose records are made.
        context: Of its build.
        output: The type of the values; the steps up to the first that emits it are run.
    """

    def __init__(self, entry: DomainEntry, context: StepContext, output: type) -> None:
        steps = _steps_to(entry, output)
        # What a step keeps under the root of a build, such as the parts of a large file, lies here meanwhile.
        context = replace(context, root=str(scratch_folder("replay")))
        self._chain = Deadline(partial(StepChain, entry, context, output), f"{entry.name} once more")
        self._seconds = sum(step.time_limit or _SECONDS for step in steps)
        self._slow: set[str] = set()

    def __call__(self, key: str) -> Any:
        """The value of a record.

        Args:
            key: Of the record that the last step emitted.

        Raises:
            Unchecked: The entry has no such record now, or it took too long.
        """
        file = key.partition("#")[0]
        if file in self._slow:
            raise Unchecked("time_limit")
        try:
            return self._chain.call(key, self._seconds)
        except TimeLimitExceeded:
            self._slow.add(file)
            raise Unchecked("time_limit") from None


class StepChain:
    """The steps themselves. Takes the key of a record and returns its value; see `Replay` for both."""

    def __init__(self, entry: DomainEntry, context: StepContext, output: type) -> None:
        use_store(context.store)
        self._entry, self._context = entry, context
        self._functions = [_function(step, entry, context) for step in _steps_to(entry, output)]
        self._files = InputFinder(entry, context)
        self._last = ""
        self._origins: dict[str, Record[Any]] = {}
        """Of the last file, by the keys of its records: what the step reads that emits the first record of the key."""
        self._first = 0
        """The number of that step."""

    def __call__(self, key: str) -> Any:
        record = self._input(key)
        first = 0
        if record.key != key:
            if record.key != self._last:
                self._first, self._origins = self._search(record)
                self._last = record.key
            if key not in self._origins:
                raise Unchecked("no_such_record")
            first, record = self._first, self._origins[key]
        for function in self._functions[first:]:
            matching = (emitted for emitted in function(record) if emitted.key == key)
            following = next(matching, None)
            if following is None:
                raise Unchecked("no_such_record")
            record = following
        return record.value

    def _search(self, file: Record[InputFile]) -> tuple[int, dict[str, Record[Any]]]:
        """Which step gives the records of a file the keys that they keep, and what it makes each of.

        The records themselves are not kept: a large file has millions.
        """
        records = [file]
        for number, function in enumerate(self._functions):
            origins: dict[str, Record[Any]] = {}
            following: list[Record[Any]] = []
            for record in records:
                for emitted in function(record):
                    if emitted.key.startswith(f"{file.key}#"):
                        origins.setdefault(emitted.key, record)
                    else:
                        following.append(emitted)
            if origins:
                return number, origins
            records = following
        return 0, {}

    def _input(self, key: str) -> Record[Any]:
        """The input that leads to a record."""
        inputs = self._entry.inputs()
        if isinstance(inputs, Numbers):
            return Record(key, int(key.rpartition("/")[2]))
        file = self._files(key)
        return Record(file.key, file)


def _steps_to(entry: DomainEntry, output: type) -> list[Step]:
    steps = list(steps_of(entry))
    last = next((number for number, step in enumerate(steps) if step.output is output), len(steps) - 1)
    return steps[: last + 1]


def _function(step: Step, entry: DomainEntry, context: StepContext) -> Callable[[Record[Any]], Iterable[Record[Any]]]:
    """What a step makes of a record."""
    if isinstance(step, ModelStep):
        annotator = step.annotator(entry)
        return lambda record: [Record(record.key, each) for each in annotator([record.value])]
    assert isinstance(step, BeamStep)
    worker = step.worker(entry, context)
    worker.setup()
    name = f"{entry.name}.{step.name}"
    return lambda record: worker.process(record, context.rng(name, record.key))
