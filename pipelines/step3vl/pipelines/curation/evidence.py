"""What a curation leaves beside its dataset: its report, and the evidence of each sample that it dropped or masked."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.storage import Store

REPORT = "curation.json"
EVIDENCE = "evidence"  # the folder
_ROW_GROUP = 4096
EVIDENCE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("dataset", pa.string()),
        pa.field("step", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("matched_id", pa.string()),  # the sample that decided
        pa.field("matched_dataset", pa.string()),
        pa.field("similarity", pa.float32()),  # of the texts
        pa.field("phash", pa.uint8()),  # the largest distances of images
        pa.field("pdq", pa.uint16()),
        pa.field("value", pa.float32()),  # what a filter measured
        pa.field("limit", pa.float32()),
        pa.field("detail", pa.string()),  # where and what; how a benchmark item begins
    ]
)


def read_report(dataset: Dataset) -> dict[str, Any]:
    """What a curation reports beside its dataset: figures, and the URLs of the datasets that it read.

    Raises:
        UserError: The dataset was not curated.
    """
    if not dataset.files.exists(REPORT):
        raise UserError(f"{dataset.url} was not curated: {REPORT} is missing; its ledger by step is all there is")
    report: dict[str, Any] = json.loads(dataset.files.read_all(REPORT))
    return report


def evidence_part(number: int, count: int) -> str:
    """The path of a part of the table of evidence, relative to the dataset."""
    return f"{EVIDENCE}/{number:05d}-of-{count:05d}.parquet"


def write_evidence(files: Store, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a part of the table of evidence, by the ids of its samples, so that one is found by a look at the ranges.

    Args:
        files: Store of the dataset.
        path: As `evidence_part` gives it.
        rows: With the columns of `EVIDENCE_SCHEMA`; those that are missing are null.
    """
    rows = sorted(rows, key=lambda row: str(row["id"]))
    columns = {name: [row.get(name) for row in rows] for name in EVIDENCE_SCHEMA.names}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, EVIDENCE_SCHEMA), sink, row_group_size=_ROW_GROUP)
    files.put(path, sink.getvalue())


def read_evidence(files: Store, path: str, columns: Sequence[str]) -> pa.Table:
    """Columns of a part of the table of evidence.

    Args:
        files: Store of the dataset.
        path: As `evidence_part` gives it.
        columns: That are read.
    """
    return pq.read_table(pa.BufferReader(files.read_all(path)), columns=list(columns))


def evidence_tables(files: Store, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Columns of the parts of the table of evidence, in order; none where nothing was curated."""
    for part in sorted(files.names(EVIDENCE, ".parquet")):
        yield read_evidence(files, f"{EVIDENCE}/{part}", columns)


def evidence_of(files: Store, id: str) -> Iterator[dict[str, Any]]:
    """The evidence of a sample. Of each part only the rows are read among which its id may be.

    Args:
        files: Store of the dataset.
        id: Of the sample.
    """
    if not files.exists(REPORT):  # it was not curated; over HTTP the folder could not be listed
        return
    for part in sorted(files.names(EVIDENCE, ".parquet")):
        with pq.ParquetFile(files.open_ranges(f"{EVIDENCE}/{part}")) as file:
            column = file.schema_arrow.get_field_index("id")
            for number in range(file.metadata.num_row_groups):
                statistics = file.metadata.row_group(number).column(column).statistics
                if statistics is None or not statistics.has_min_max or statistics.min <= id <= statistics.max:
                    table = file.read_row_group(number)
                    yield from table.filter(pc.equal(table["id"], id)).to_pylist()


def amount(value: float) -> str:
    """A measured value or its limit, for people: large ones without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
