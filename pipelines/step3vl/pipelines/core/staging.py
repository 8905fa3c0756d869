"""What a step leaves on disk for the next one: part files of rows and images, and the record that commits them.

A bundle appends the images it makes to one part file and its rows, which point into it, to one Parquet file. Names
are random: a bundle that is retried writes new parts, and only those that the committed record names are ever read.
"""

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.utils.windowed_value import WindowedValue
from pydantic import BaseModel, Field

from step3vl.data.config import Config
from step3vl.data.dataset import ImagePartWriter, LedgerStep
from step3vl.data.sample import Sample
from step3vl.data.storage import write_durably
from step3vl.pipelines.core.beam import at_end
from step3vl.pipelines.core.steps import Record

_log = logging.getLogger(__name__)

T = TypeVar("T")

STAGING_VERSION = 1  # of the part files and of `StepResult`
_SCHEMA = pa.schema([("row", pa.string())])
_GROUP = 1000  # rows a Parquet row group; bounds what a bundle holds in memory
_RECORD = "done.json"


def _dump(row: object) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def dump_model(model: BaseModel, images: ImagePartWriter | None = None) -> str:
    """A row of a pydantic model that holds no image bytes."""
    return _dump(model.model_dump(mode="json"))


def dump_sample(sample: Sample, images: ImagePartWriter) -> str:
    """A row of a sample, its images staged."""
    staged = tuple(images.stage(image) for image in sample.images)
    return _dump(sample.model_copy(update={"images": staged}).to_row())


def load_sample(row: str) -> Sample:
    """The sample that `dump_sample` staged."""
    return Sample.from_row(json.loads(row))


class _StageBundle(beam.DoFn):
    def __init__(self, folder: Path, name: str, dump: Callable[[Any, ImagePartWriter], str]) -> None:
        self._folder = folder
        self._name = name
        self._dump = dump

    def start_bundle(self) -> None:
        self._images = ImagePartWriter(self._folder / f"images-{uuid.uuid4().hex}.bin")
        self._path = self._folder / f"{self._name}-{uuid.uuid4().hex}.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[str] = []

    def process(self, element: Any) -> None:
        self._rows.append(self._dump(element, self._images))
        if len(self._rows) == _GROUP:
            self._write()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, _SCHEMA)
        self._writer.write_table(pa.table({"row": self._rows}, schema=_SCHEMA))
        self._rows = []

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._images.close()
        if self._rows:
            self._write()
        if self._writer is not None:
            self._writer.close()
            yield at_end(str(self._path))


class StageRows(beam.PTransform):
    """Write elements to part files in `folder`. The output is the paths of the parts, one a bundle.

    Args:
        folder: Of the step.
        name: Begins the names of the part files.
        dump: Makes the row of an element, with its images staged.
    """

    def __init__(self, folder: Path, name: str, dump: Callable[[T, ImagePartWriter], str]) -> None:
        super().__init__(f"Stage {name}")
        self._bundle = _StageBundle(folder, name, dump)

    def expand(self, elements: PCollection[Any]) -> PCollection[str]:
        return elements | beam.ParDo(self._bundle)


def read_rows(parts: Iterable[str], load: Callable[[str], T]) -> Iterator[T]:
    """The elements of staged parts, each parsed by `load`."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=_GROUP):
                yield from map(load, batch.column("row").to_pylist())


class ReadRecords(beam.PTransform):
    """The `KeyedRow`s of staged parts, as `Record`s named by their keys."""

    def __init__(self, parts: Iterable[str], load: Callable[[str], Any]) -> None:
        super().__init__()
        self._parts = list(parts)
        self._load = load

    def expand(self, pipeline: PBegin) -> PCollection[Record]:
        load = self._load
        return (
            pipeline
            | beam.Create(self._parts)
            | beam.FlatMap(lambda part: [Record(row.key, row) for row in read_rows([part], load)])
        )


def write_rows(path: Path, rows: Iterable[str]) -> None:
    """Write dumped rows to one part with a fixed name, for a step that one process runs."""
    pq.write_table(pa.table({"row": list(rows)}, schema=_SCHEMA), path)


def digest(*values: object) -> str:
    """A fingerprint of JSON-able values, in which the order of keys counts: random choices follow it."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()


class StepResult(Config):
    """What a staged step committed."""

    accounts: tuple[LedgerStep, ...] = ()
    """The ledger of the step and of the steps before it."""
    dead_letters: tuple[str, ...] = ()
    """Parts of `DeadLetter`s."""
    parts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Parts of the rows of each entry of the corpus."""
    producers: tuple[str, ...] = ()
    """The ledger's steps whose kept records are the rows."""
    files: dict[str, int] = Field(default_factory=dict)
    """Every staged file that the rows need, those of earlier steps included, and its size."""


class StagedStep:
    """A restartable step of a build, in its own folder named by a fingerprint of all that it depends on.

    A changed configuration, input or version means another folder, so nothing out of date is ever reused.
    """

    def __init__(self, staging: Path, name: str, fingerprint: str) -> None:
        self.folder = staging / f"{name}-{fingerprint[:20]}"

    @property
    def result(self) -> StepResult | None:
        """What the step committed, or None when it has to run, also because a file that it left is gone or cut."""
        record = self.folder / _RECORD
        if not record.is_file():
            return None
        result = StepResult.model_validate_json(record.read_bytes())
        for name, size in result.files.items():
            path = Path(name)
            if not path.is_file() or path.stat().st_size != size:
                _log.warning("%s was lost; %s runs again", path, self.folder.name)
                return None
        return result

    def start(self) -> None:
        """Clear what an attempt that did not commit left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def commit(self, result: StepResult) -> StepResult:
        """Record the result with the files in the step's folder, beside those of earlier steps in `result`."""
        left = {str(path): path.stat().st_size for path in sorted(self.folder.iterdir()) if path.name != _RECORD}
        result = result.model_copy(update={"files": {**result.files, **left}})
        write_durably(self.folder / _RECORD, result.model_dump_json().encode())
        return result
