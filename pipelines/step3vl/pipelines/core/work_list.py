"""What travels between the pipelines of a build: fragments, in Parquet files under the root.

A list is a folder with one file for each bucket, and the bucket of a fragment follows from the fragment. So a retried
bundle writes the same bytes to the same names, and a later build replaces every file.

    <root>/control/<list>/00.parquet ... 63.parquet
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from step3vl.pipelines.core.fragments import BUCKETS, Fragment, bucket_of
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_buckets import read_bucket, write_bucket


class Work(NamedTuple):
    """A fragment, and the number of the segment that has to work on it.

    As an element of a pipeline it is text, whose coder is the same on every runner.
    """

    segment: int
    fragment: Fragment

    def dump(self) -> str:
        """The element of a pipeline."""
        return f"{self.segment} {self.fragment.dump()}"

    @classmethod
    def load(cls, text: str) -> Self:
        """The inverse of `dump`."""
        number, _, fragment = text.partition(" ")
        return cls(int(number), Fragment.model_validate_json(fragment))


class WriteWorkLists(beam.PTransform):
    """Write (name of a list, fragment as JSON) to the work lists.

    Args:
        staging: Where they are.
        names: Of every list; a list without fragments is written too.
    """

    def __init__(self, staging: Staging, names: Sequence[str]) -> None:
        super().__init__()
        self._staging = staging
        self._names = list(names)

    def expand(self, fragments: PCollection[tuple[str, str]]) -> PCollection[None]:
        buckets = [(f"{name}/{bucket}", "") for name in self._names for bucket in range(BUCKETS)]
        pairs = tuple[str, str]
        every = fragments.pipeline | "buckets" >> beam.Create(buckets).with_output_types(pairs)
        keyed = fragments | beam.MapTuple(
            lambda name, fragment: (f"{name}/{bucket_of(fragment)}", fragment)
        ).with_output_types(pairs)
        return (every, keyed) | beam.Flatten() | beam.GroupByKey() | beam.Map(_write, self._staging)


def _write(group: tuple[str, Iterable[str]], staging: Staging) -> None:
    key, fragments = group
    name, _, bucket = key.rpartition("/")
    write_bucket(staging.open(), name, int(bucket), (fragment for fragment in fragments if fragment))


class ReadWorkLists(beam.PTransform):
    """The fragments of work lists as text of `Work`, dealt to all workers.

    Args:
        staging: Where the lists are.
        lists: Name of each list, and the number of the segment that works on its fragments.
    """

    def __init__(self, staging: Staging, lists: Sequence[tuple[str, int]]) -> None:
        super().__init__()
        self._staging = staging
        self._lists = list(lists)

    def expand(self, pipeline: PBegin) -> PCollection[str]:
        buckets = [(name, segment, bucket) for name, segment in self._lists for bucket in range(BUCKETS)]
        staging = self._staging

        def read(name: str, segment: int, bucket: int) -> Iterator[str]:
            for fragment in read_bucket(staging.open(), name, bucket):
                yield f"{segment} {fragment}"

        return (
            pipeline
            | beam.Create(buckets)
            | "deal buckets" >> beam.Reshuffle()
            | beam.FlatMapTuple(read).with_output_types(str)
            | "deal fragments" >> beam.Reshuffle()
        )
