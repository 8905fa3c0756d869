"""What a phase leaves on disk for the next one: part files of rows and pictures, and the record that commits them.

A bundle appends the pictures it makes to one part file and its rows, which point into it, to one Parquet file. Names
are random: a bundle that is retried writes new parts, and only those that the committed record names are ever read.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from step3vl.data.files import write_durably
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import Image, Pointer, Sample

_SCHEMA = pa.schema([("row", pa.string())])
_GROUP = 1000  # rows a Parquet row group; bounds what a bundle holds in memory
_RECORD = "done.json"


class PictureParts:
    """Pictures appended to one new part file in `folder`, which is made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"pictures-{uuid.uuid4().hex}.bin"
        self._file: BinaryIO | None = None
        self._offset = 0

    def stage(self, picture: Image) -> Image:
        """The picture with its bytes at rest; one that already points somewhere is left where it is."""
        if picture.data is None:
            return picture
        if self._file is None:
            self._file = self._path.open("xb", buffering=1 << 20)
        pointer = Pointer(path=str(self._path), offset=self._offset, size=len(picture.data))
        self._offset += self._file.write(picture.data)
        return picture.pointed(pointer)

    def close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def sample_row(sample: Sample, parts: PictureParts) -> dict[str, Any]:
    """A sample as a row, its pictures staged."""
    return sample.model_copy(update={"images": tuple(parts.stage(picture) for picture in sample.images)}).to_row()


def letter_row(letter: DeadLetter, parts: PictureParts) -> dict[str, Any]:
    return letter.model_dump(mode="json")


class _StageBundle(beam.DoFn):
    def __init__(self, folder: Path, name: str, to_row: Callable[[Any, PictureParts], dict[str, Any]]) -> None:
        self._folder = folder
        self._name = name
        self._to_row = to_row

    def start_bundle(self) -> None:
        self._pictures = PictureParts(self._folder)
        self._path = self._folder / f"{self._name}-{uuid.uuid4().hex}.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[str] = []

    def process(self, element: Any) -> None:
        row = self._to_row(element, self._pictures)
        self._rows.append(json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
        if len(self._rows) == _GROUP:
            self._write()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, _SCHEMA)
        self._writer.write_table(pa.table({"row": self._rows}, schema=_SCHEMA))
        self._rows = []

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._pictures.close()
        if self._rows:
            self._write()
        if self._writer is not None:
            self._writer.close()
            end = GlobalWindow()
            yield WindowedValue(str(self._path), end.max_timestamp(), [end])


class StageRows(beam.PTransform):
    """Leave elements on disk as rows of JSON in Parquet. The output is the paths of the parts, one a bundle."""

    def __init__(self, folder: Path, name: str, to_row: Callable[[Any, PictureParts], dict[str, Any]]) -> None:
        super().__init__(f"Stage {name}")
        self._bundle = _StageBundle(folder, name, to_row)

    def expand(self, elements: Any) -> Any:
        return elements | beam.ParDo(self._bundle)


def read_rows(parts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows of staged parts."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=_GROUP):
                for row in batch.column("row").to_pylist():
                    yield json.loads(row)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Stage rows from one process under a name of the caller's choice."""
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for row in rows]
    pq.write_table(pa.table({"row": lines}, schema=_SCHEMA), path)


def digest(*parts: object) -> str:
    """A fingerprint of JSON-able values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """A fingerprint of what a build reads: the name and the content of each file, in any order."""
    entries = []
    for path in sorted(set(paths)):
        with path.open("rb") as file:
            entries.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    return digest(sorted(entries))


class Phase:
    """A restartable piece of a build, in its own folder named by a fingerprint of all that it depends on.

    `result` is None until `commit`; a changed configuration, input or code makes another folder, so nothing stale is
    ever taken up.
    """

    def __init__(self, staging: Path, name: str, fingerprint: str) -> None:
        self.folder = staging / f"{name}-{fingerprint[:20]}"
        self._siblings = f"{name}-*"

    @property
    def result(self) -> dict[str, Any] | None:
        """What the phase committed, or None when it has to run."""
        record = self.folder / _RECORD
        return json.loads(record.read_text()) if record.is_file() else None

    def start(self) -> None:
        """Clear what an earlier attempt, or another configuration, left."""
        for folder in self.folder.parent.glob(self._siblings):
            shutil.rmtree(folder)
        self.folder.mkdir(parents=True)

    def commit(self, result: dict[str, Any]) -> dict[str, Any]:
        write_durably(self.folder / _RECORD, json.dumps(result, sort_keys=True).encode())
        return result
