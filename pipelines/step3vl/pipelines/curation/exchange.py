"""One shuffle of arrays: each shard or part scatters them to partitions, and each partition gathers its own.

Only keys, nodes and distances travel, in arrays of thousands, so that an element of Beam costs next to nothing. Equal
keys fall into one partition, and the number of partitions follows from the amount of data, so that each fits into
memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection, TaggedOutput
from numpy.typing import NDArray

from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.beam import as_text, run_pipeline
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.spilling import SPILL_FOLDER, Place, SpillPacks, is_local, read_places
from step3vl.pipelines.curation.words import U64, mix

Packs = Iterator[tuple[int, NDArray[Any]]]
"""Arrays, and the numbers of the partitions that they go to."""
Gathered = Iterator[tuple[int, NDArray[Any]] | Report]
"""The same, and what is to be reported."""
Scatter = Callable[[int], Packs]
"""What a shard, or a part of the step before, sends to partitions."""
Gather = Callable[[int, NDArray[Any]], Gathered]
"""What a partition makes of all that was sent to it; the order in which it came must not matter."""

_PACKS, _REPORTS = "packs", "reports"
PARTITION_ROWS = 4_000_000  # of a partition, on average: at 16 to 50 bytes


class Exchanged(NamedTuple):
    """What `Exchange` gives: what its partitions scatter, and `Report`s as JSON."""

    packs: PCollection[tuple[int, bytes]]
    reports: PCollection[str]


def partitions_for(rows: int) -> int:
    """Over how many partitions so many rows are dealt."""
    return max(1, -(-rows // PARTITION_ROWS))


def deal(rows: NDArray[Any], keys: U64, partitions: int) -> Packs:
    """Deal rows to partitions by the hash of a key.

    Args:
        rows: Any records.
        keys: Of each row; equal ones go to one partition.
        partitions: Their number.
    """
    numbers = (mix(keys) % np.uint64(partitions)).astype(np.int64)
    yield from split(rows, numbers)


def split(rows: NDArray[Any], numbers: NDArray[np.int64]) -> Packs:
    """Split rows by the number of each one's destination."""
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    for start, size in zip(*groups(numbers), strict=True):
        yield int(numbers[start]), rows[order[start : start + size]]


def distinct(rows: NDArray[Any]) -> NDArray[Any]:
    """Records sorted by their fields, each once; `np.unique` compares them as Python objects."""
    names = rows.dtype.names or ()
    rows = rows[np.lexsort([rows[name] for name in reversed(names)])]
    if len(rows) < 2:
        return rows
    differ = np.any([rows[name][1:] != rows[name][:-1] for name in names], axis=0)
    return rows[np.concatenate([[True], differ])]


def groups(keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs of equal keys begin, and how long they are; the keys are sorted."""
    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return starts, np.diff(starts, append=len(keys))


class Exchange(beam.PTransform):
    """Gather in every partition what the inputs scatter.

    Args:
        dtype: Of the rows that travel.
        gather: What becomes of a partition's rows.
        partitions: Every one of them is gathered, also one without rows.
        staging: Where the rows wait if the runner would hold them in memory.
    """

    def __init__(self, dtype: Any, gather: Gather, partitions: int, staging: Staging) -> None:
        super().__init__()
        self._dtype, self._gather, self._partitions = np.dtype(dtype), gather, partitions
        self._staging = staging

    def expand(self, packs: PCollection[tuple[int, bytes]]) -> Any:  # Exchanged; Beam has no hint for two outputs
        spilled = is_local(packs)
        pairs: Any = tuple[int, Place] if spilled else tuple[int, bytes]
        sent = packs | "spill" >> beam.ParDo(SpillPacks(self._staging)).with_output_types(pairs) if spilled else packs
        nothing = ("", 0, 0) if spilled else b""
        every = [(number, nothing) for number in range(self._partitions)]
        empty = packs.pipeline | "partitions" >> beam.Create(every).with_output_types(pairs)
        gathered = (sent, empty) | beam.Flatten() | beam.GroupByKey()
        gather = beam.ParDo(_Gather(self._dtype, self._gather, self._staging if spilled else None))
        outputs = gathered | "gather" >> gather.with_outputs(_REPORTS, main=_PACKS)
        packs = outputs[_PACKS] | "packs" >> beam.Map(lambda pack: pack).with_output_types(tuple[int, bytes])
        return Exchanged(packs, as_text(outputs, _REPORTS))


class _Gather(beam.DoFn):
    def __init__(self, dtype: np.dtype[Any], gather: Gather, spilled: Staging | None) -> None:
        self._dtype, self._gather, self._spilled = dtype, gather, spilled

    def process(self, group: tuple[int, Iterable[Any]]) -> Iterator[Any]:
        data = read_places(self._spilled.open(), group[1]) if self._spilled else b"".join(group[1])
        rows = np.frombuffer(data, self._dtype)
        for output in self._gather(group[0], rows):
            if isinstance(output, Report):
                yield TaggedOutput(_REPORTS, output.model_dump_json(exclude_defaults=True))
            else:
                yield output[0], output[1].tobytes()


class _Scatter(beam.DoFn):
    def __init__(self, scatter: Scatter) -> None:
        self._scatter = scatter

    def process(self, number: int) -> Iterator[Any]:
        for partition, array in self._scatter(number):
            yield partition, array.tobytes()


def scatter_from(pipeline: beam.Pipeline, inputs: int, scatter: Scatter, label: str) -> PCollection[tuple[int, bytes]]:
    """The packs that numbered inputs scatter.

    Args:
        pipeline: It begins here.
        inputs: How many there are.
        scatter: What each one sends.
        label: Of the transforms.
    """
    numbers = pipeline | f"{label}: inputs" >> beam.Create(range(inputs))
    return numbers | f"{label}: scatter" >> beam.ParDo(_Scatter(scatter)).with_output_types(tuple[int, bytes])


def run_exchanges(
    name: str, flags: Sequence[str], staging: Staging, wire: Callable[[beam.Pipeline, Staging], None]
) -> None:
    """Run a pipeline as `run_pipeline` does, and remove what its exchanges left in files."""
    root = staging.open()
    root.remove_folder(SPILL_FOLDER)  # of a run that was killed
    run_pipeline(name, flags, staging, wire)
    root.remove_folder(SPILL_FOLDER)


class WriteParts:
    """A `Gather` that writes the rows of its partition, sorted and each once, to a file.

    Args:
        staging: The root.
        folder: Of the files, relative to the root.
    """

    def __init__(self, staging: Staging, folder: str) -> None:
        self._staging, self._folder = staging, folder

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        self._staging.open().put(part_path(self._folder, number), distinct(rows).tobytes())
        yield from ()


def part_path(folder: str, number: int) -> str:
    """The file of a part."""
    return f"{folder}/{number:06d}.bin"


def read_part(staging: Staging, folder: str, number: int, dtype: Any) -> NDArray[Any]:
    """The rows of a part."""
    return np.frombuffer(staging.open().read_all(part_path(folder, number)), dtype)
