"""The index of a shard is the same bytes however it is written."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from step3vl.data.dataset.index import SCHEMA, IndexWriter


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"{number * 7919:032x}",
        "domain": "d",
        "task": f"d.t{number % 5}",
        "kind": "document",
        "source": f"file{number % 1000}.pdf#{number}",
        "licence": "CC0-1.0",
        "offset": number * 512,
        "size": 512,
        "xxh3": number * 2654435761 % 2**64,
        "json_size": number % 300,
        "image_offsets": [number] * (number % 3),
        "image_sizes": [1] * (number % 3),
        "image_widths": [2] * (number % 3),
        "image_heights": [3] * (number % 3),
        "text_tokens": number % 100,
        "image_tokens": 0,
    }


@pytest.mark.parametrize("count", [0, 1, 4096, 5000, 65_537])
def test_index_written_row_by_row_equals_that_of_the_whole_table(count: int) -> None:
    writer = IndexWriter()
    for number in range(count):
        writer.add(row(number))
    table = pa.Table.from_pylist([row(number) for number in range(count)], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=1 << 16, write_page_checksum=True)
    assert writer.finish() == sink.getvalue().to_pybytes()
