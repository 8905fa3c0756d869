"""What a curation leaves beside its dataset: its report, and the evidence of each sample that it dropped or masked."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.storage import Store

REPORT = "curation.json"
EVIDENCE = "evidence"  # the folder
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


def evidence_part(number: int, count: int) -> str:
    """The path of a part of the table of evidence, relative to the dataset."""
    return f"{EVIDENCE}/{number:05d}-of-{count:05d}.parquet"


def evidence_tables(files: Store, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The parts of the table of evidence, in order; none where nothing was curated.

    Args:
        files: Store of the dataset.
        columns: That are read; None for all.
    """
    for part in sorted(files.names(EVIDENCE, ".parquet")):
        data = files.read_all(f"{EVIDENCE}/{part}")
        yield pq.read_table(pa.BufferReader(data), columns=None if columns is None else list(columns))
