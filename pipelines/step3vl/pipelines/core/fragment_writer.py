"""The files of a fragment, written in a stream; each is visible when it is complete, and the commit record comes last.

A record is prepared first, which fails for values that cannot be written, and then written, which fails only for the
machine's reasons: so a failed record leaves no row behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Self, cast

import pyarrow as pa
from pydantic import BaseModel
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import describe_error
from step3vl.data.sample import Image, Pointer, Sample
from step3vl.data.storage import Store, StoreError, request_count
from step3vl.data.storage.files import write_all
from step3vl.pipelines.core.blocks import pack_sample
from step3vl.pipelines.core.commits import COMMIT_REQUESTS
from step3vl.pipelines.core.fragments import FragmentResult
from step3vl.pipelines.core.pointers import relative
from step3vl.pipelines.core.rows import (
    EncodedRow,
    RowWriter,
    arrow_schema,
    encode_row,
    map_images,
    model_row,
    record_row,
    record_schema,
)
from step3vl.pipelines.core.samples import texts_of
from step3vl.pipelines.core.steps import Record

PART, ROWS, DEAD_LETTERS = "bin", "parquet", "dead.parquet"  # endings

SAMPLE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # of the record that became the sample
        ("id", pa.string()),
        ("kind", pa.string()),
        ("domain", pa.string()),
        ("task", pa.string()),
        ("row", pa.string()),  # the JSON row of the block
        ("offset", pa.int64()),  # of the block, see `blocks`, in the part file
        ("size", pa.int64()),
        ("xxh3", pa.uint64()),  # XXH3 (64 bits) of the block
    ]
)


class StagedDeadLetter(DeadLetter):
    """A dead letter as a fragment keeps it."""

    origin: str = ""
    """Key of the fragment's record that the record was made of; empty in fragments of earlier versions."""


@dataclass
class Prepared:
    """The outputs of a record, ready to be written.

    Attributes:
        end: Where the part file ends after them.
        blocks: Bytes to append to the part file.
        rows: Rows to write.
        text_bytes: Of the texts of samples.
    """

    end: int
    blocks: list[bytes] = field(default_factory=list)
    rows: list[EncodedRow] = field(default_factory=list)
    text_bytes: int = 0

    def append(self, block: bytes) -> tuple[int, int]:
        """Add a block. Returns its offset in the part file, and its size."""
        offset = self.end
        self.blocks.append(block)
        self.end += len(block)
        return offset, len(block)


class FragmentWriter:
    """Writes the files of a fragment. Use it in a `with` block; what is not committed in it leaves no file.

    Args:
        store: Of the root.
        path: Of the fragment, relative to the root and without an ending.
        output: The type of the rows: `Sample`, or the model of the values of records.
    """

    def __init__(self, store: Store, path: str, output: type[BaseModel]) -> None:
        self._store, self._path, self._output = store, path, output
        self._schema = SAMPLE_SCHEMA if output is Sample else record_schema(output)
        self._text_bytes = 0
        self._end = 0  # of the part file
        self._requests = request_count()

    def __enter__(self) -> Self:
        self._files: dict[str, _OpenFile] = {}
        self._stack = ExitStack()
        with self._file_errors():
            self._rows = RowWriter(self._open(ROWS), self._schema)
        self._dead_letters: RowWriter | None = None
        return self

    def __exit__(self, *error: Any) -> None:
        for file in self._files.values():
            file.discarded = True  # a Parquet writer completes its file also when it is forgotten
        self._stack.__exit__(*error)  # after an error, removes what was written

    def prepare(self, key: str, outputs: Sequence[Any]) -> Prepared:
        """Check and encode the outputs of a record.

        Args:
            key: Of the record.
            outputs: `Record`s or samples, as the output type says.

        Raises:
            Exception: An output cannot be written, such as text that is not Unicode.
        """
        prepared = Prepared(self._end)
        for output in outputs:
            if isinstance(output, Sample):
                row = self._sample_row(key, output, prepared)
                prepared.text_bytes += sum(len(text.encode()) for text in texts_of(output))
            else:
                row = self._record_row(output, prepared)
            prepared.rows.append(encode_row(row))
        return prepared

    def _sample_row(self, key: str, sample: Sample, prepared: Prepared) -> dict[str, Any]:
        block = pack_sample(sample, self._store.url)
        offset, size = prepared.append(block.data)
        return {
            "key": key,
            "id": sample.id,
            "kind": sample.kind,
            "domain": sample.domain,
            "task": sample.task,
            "row": block.row,
            "offset": offset,
            "size": size,
            "xxh3": xxh3_64_intdigest(block.data),
        }

    def _record_row(self, record: Record[BaseModel], prepared: Prepared) -> dict[str, Any]:
        def stage(image: Image) -> Image:
            if image.data is None:
                return relative(image, self._store.url)
            offset, size = prepared.append(image.data)
            xxh3 = xxh3_64_hexdigest(image.data)
            return image.stored_at(Pointer(path=f"{self._path}.{PART}", offset=offset, size=size, xxh3=xxh3))

        return record_row(record.key, map_images(record.value, stage))

    def write(self, prepared: Prepared) -> None:
        """Write the outputs of a record. Raises StoreError."""
        with self._file_errors():
            if prepared.blocks:
                part = self._open(PART)
                for block in prepared.blocks:
                    part.write(block)
                self._end = prepared.end
            for row in prepared.rows:
                self._rows.add(row)
        self._text_bytes += prepared.text_bytes

    def write_dead_letter(self, dead_letter: DeadLetter, origin: str) -> None:
        """Write the account of a record that was dropped or failed.

        Args:
            dead_letter: The account.
            origin: Key of the fragment's record that the record was made of.

        Raises:
            StoreError: It cannot be written.
        """
        staged = StagedDeadLetter(**{**dead_letter.model_dump(), "origin": origin})
        with self._file_errors():
            if self._dead_letters is None:
                self._dead_letters = RowWriter(self._open(DEAD_LETTERS), arrow_schema(StagedDeadLetter))
            self._dead_letters.add(encode_row(model_row(staged)))

    def commit(self, result: FragmentResult) -> FragmentResult:
        """Complete the files, and write the commit record.

        Args:
            result: Without what the writer knows itself.

        Returns:
            The result that was committed.

        Raises:
            StoreError: Nothing is committed.
        """
        with self._file_errors():
            self._rows.close()
            if self._dead_letters is not None:
                self._dead_letters.close()
            self._stack.close()
            requests = request_count() - self._requests
            files = {ending: file.size for ending, file in self._files.items()}
            result = result.model_copy(
                update={
                    "rows": self._rows.rows,
                    "files": files,
                    "text_bytes": self._text_bytes,
                    "written_bytes": sum(files.values()),
                    "requests": requests + COMMIT_REQUESTS,
                }
            )
            self._store.put(f"{self._path}.json", result.model_dump_json().encode())
        return result

    def _open(self, ending: str) -> BinaryIO:
        if ending not in self._files:
            # Not durable, for speed. A machine that loses power may lose it, but its size is checked before the
            # fragment counts as committed, and whoever reads of it checks hashes.
            file = self._stack.enter_context(self._store.create(f"{self._path}.{ending}", durable=False))
            self._files[ending] = _OpenFile(file)
        return cast(BinaryIO, self._files[ending])

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        """What the operating system raises becomes a `StoreError`, as what a remote store raises is already."""
        try:
            yield
        except (OSError, MemoryError) as error:
            raise StoreError(f"{self._store.url}/{self._path} cannot be written: {describe_error(error)}") from error


class _OpenFile:
    """A file open for writing that knows its size, as Parquet's writer takes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.closed = False
        self.discarded = False

    def write(self, data: Any) -> int:
        if self.discarded:
            return len(data)
        self.size += memoryview(data).nbytes
        write_all(self._file, data)
        return len(data)

    def flush(self) -> None:
        """Nothing: the file is read only when it is complete."""

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""
