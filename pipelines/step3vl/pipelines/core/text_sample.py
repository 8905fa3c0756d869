"""Texts for a tokenizer to be trained on: all of a small corpus, a sample of a large one that one machine can hold."""

import io
import json
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection
from xxhash import xxh3_64_intdigest

from step3vl.data.sample import Sample
from step3vl.pipelines.core.fragments import BUCKETS
from step3vl.pipelines.core.samples import texts_of
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.tokens import read_sample_rows
from step3vl.pipelines.core.work_buckets import put_passing
from step3vl.pipelines.core.work_list import Work

_SCHEMA = pa.schema([("text", pa.string())])


class WriteTexts(beam.PTransform):
    """Write the texts of a fraction of all samples, chosen by the hashes of their ids, where `read_texts` finds them.

    Args:
        staging: Where the samples are.
        fraction: Of the samples.
        seed: Of the corpus.
    """

    def __init__(self, staging: Staging, fraction: float, seed: int) -> None:
        super().__init__()
        self._staging = staging
        self._fraction = fraction
        self._seed = seed

    def expand(self, work: PCollection[str]) -> PCollection[None]:
        pairs = tuple[int, str]
        every = [(bucket, "[]") for bucket in range(BUCKETS)]
        buckets = work.pipeline | "buckets" >> beam.Create(every).with_output_types(pairs)
        texts = work | beam.FlatMap(_texts, self._staging, self._fraction, self._seed).with_output_types(pairs)
        return (buckets, texts) | beam.Flatten() | beam.GroupByKey() | beam.Map(_write, self._staging)


def _texts(element: str, staging: Staging, fraction: float, seed: int) -> Iterator[tuple[int, str]]:
    rows = Work.load(element).fragment.rows
    assert rows is not None
    packs: dict[int, list[str]] = {}
    with staging.heartbeats.working(f"texts of {rows.path}"):
        for row in read_sample_rows(staging, rows.path, ("id", "row")):
            rank = xxh3_64_intdigest(f"{seed} {row['id']}".encode())
            if rank < fraction * 2**64:
                pack = packs.setdefault(rank % BUCKETS, [])
                pack += texts_of(Sample.from_row(json.loads(row["row"])))
    for bucket, pack in packs.items():
        yield bucket, json.dumps(pack)


def _write(group: tuple[int, Iterable[str]], staging: Staging) -> None:
    bucket, packs = group
    texts = sorted(text for pack in packs for text in json.loads(pack))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": texts}, schema=_SCHEMA), buffer, compression="zstd")
    put_passing(staging.open(), _path(bucket), buffer.getvalue())


def read_texts(staging: Staging) -> Iterator[str]:
    """The texts that `WriteTexts` wrote."""
    store = staging.open()
    for bucket in range(BUCKETS):
        table = pq.read_table(pa.BufferReader(store.read_all(_path(bucket))))
        yield from table.column("text").to_pylist()


def _path(bucket: int) -> str:
    return f"control/texts/{bucket:02d}.parquet"
