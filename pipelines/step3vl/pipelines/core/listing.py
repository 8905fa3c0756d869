"""Listing the inputs of all entries in Beam's workers, and dealing them into fragments.

Numbers are cut into blocks. Files go into buckets by their keys, and each bucket is planned by itself: fragments of an
earlier build whose files have not changed are kept, so that new and changed files alone make new ones.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput
from pydantic import TypeAdapter
from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from step3vl.data.storage import file_cache
from step3vl.pipelines.core.accounts import InputTotal, Report, sum_hashes
from step3vl.pipelines.core.beam import as_text
from step3vl.pipelines.core.domain import Numbers
from step3vl.pipelines.core.fragments import bucket_of, load_plan, number_fragments, plan_fragments, save_plan
from step3vl.pipelines.core.inputs import InputFile, file_hash, list_keys
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.core.work_list import Work

_NUMBERS = 250_000  # numbers whose fragments one worker lists; a multiple of a fragment's
_PACK = 500  # files in an element
_FILES = TypeAdapter(list[InputFile])
_PACKS = "packs"
_REPORTS = "reports"
_WORK = "work"


class Listing(NamedTuple):
    """What `ListInputs` gives: text of `Work`, dealt to all workers, and `Report`s of the totals as JSON."""

    work: PCollection[str]
    reports: PCollection[str]


class ListInputs(beam.PTransform):
    """The fragments of the inputs of all entries.

    Args:
        chains: The segments of all entries.
        staging: Where the plans of the buckets are kept.
        fraction: Of the inputs that are used.
        save: Whether the plans are kept for the next build.
    """

    def __init__(self, chains: Chains, staging: Staging, fraction: float, *, save: bool = True) -> None:
        super().__init__()
        self._chains = chains
        self._staging = staging
        self._fraction = fraction
        self._plan = _PlanBucket(chains, staging, save)

    def expand(self, pipeline: PBegin) -> Any:  # Listing; Beam has no hint for several outputs
        counts = number_counts(self._chains, self._fraction)
        entries = pipeline | "entries" >> beam.Create([(number, count) for number, count in counts.items()])
        totals = entries | "count numbers" >> beam.Map(_number_total, self._chains).with_output_types(str)
        numbers = (
            entries
            | beam.FlatMapTuple(_ranges)
            | "deal ranges" >> beam.Reshuffle()
            | beam.FlatMapTuple(_blocks).with_output_types(str)
        )
        files = pipeline | ListFiles(self._chains, self._staging, self._fraction)
        planned = files.packs | beam.GroupByKey() | beam.ParDo(self._plan).with_outputs(_REPORTS, main=_WORK)
        work = (numbers, as_text(planned, _WORK)) | "all inputs" >> beam.Flatten() | "deal" >> beam.Reshuffle()
        reports = (totals, files.reports, as_text(planned, _REPORTS)) | "all totals" >> beam.Flatten()
        return Listing(work, reports)


def number_counts(chains: Chains, fraction: float) -> dict[int, int]:
    """How many numbers each entry that generates reads, by the number of its first segment; at least one."""
    inputs = {numbers[0]: chains.segments[numbers[0]].entry.inputs() for numbers in chains.entries()}
    return {
        number: max(1, round(inputs.count * fraction))
        for number, inputs in inputs.items()
        if isinstance(inputs, Numbers)
    }


def _number_total(element: tuple[int, int], chains: Chains) -> str:
    number, count = element
    entry = chains.segments[number].entry.name
    return Report(inputs={entry: InputTotal(count=count)}).model_dump_json(exclude_defaults=True)


def _ranges(number: int, count: int) -> Iterator[tuple[int, int, int]]:
    for start in range(0, count, _NUMBERS):
        yield number, start, min(start + _NUMBERS, count)


def _blocks(number: int, start: int, stop: int) -> Iterator[str]:
    for fragment in number_fragments(start, stop):
        yield Work(number, fragment).dump()


class FileListing(NamedTuple):
    """What `ListFiles` gives.

    Attributes:
        packs: Packs of `InputFile` as JSON, keyed by first segment and bucket.
        reports: `Report`s with the hashes of the listings, as JSON. A file that two patterns match is in them twice.
    """

    packs: PCollection[tuple[str, str]]
    reports: PCollection[str]


class ListFiles(beam.PTransform):
    """List the input files of all entries.

    Args:
        chains: The segments of all entries.
        staging: Where relative patterns start from.
        fraction: Of the files that are used.
        packs: Whether the files are wanted, and not only the reports.
    """

    def __init__(self, chains: Chains, staging: Staging, fraction: float, *, packs: bool = True) -> None:
        super().__init__()
        self._chains = chains
        self._list = _ListPattern(chains, staging, fraction, packs)

    def expand(self, pipeline: PBegin) -> Any:  # FileListing; Beam has no hint for several outputs
        patterns = file_patterns(self._chains)
        listed = pipeline | "patterns" >> beam.Create(patterns) | "deal patterns" >> beam.Reshuffle()
        outputs = listed | beam.ParDo(self._list).with_outputs(_REPORTS, main=_PACKS)
        packs = outputs[_PACKS] | _PACKS >> beam.Map(tuple).with_output_types(tuple[str, str])
        return FileListing(packs, as_text(outputs, _REPORTS))


class FilePattern(NamedTuple):
    """A pattern of an entry that reads files.

    Attributes:
        number: Of the entry's first segment.
        pattern: A path or a URL.
        licence: Of the files.
        optional: Whether it may match nothing.
    """

    number: int
    pattern: str
    licence: str
    optional: bool


def file_patterns(chains: Chains) -> list[FilePattern]:
    """The patterns of all entries that read files."""
    patterns = []
    for number, *_ in chains.entries():
        inputs = chains.segments[number].entry.inputs()
        if not isinstance(inputs, Numbers):
            for source in inputs.sources:
                patterns += [FilePattern(number, file, source.licence, source.optional) for file in source.files]
    return patterns


class _ListPattern(beam.DoFn):
    def __init__(self, chains: Chains, staging: Staging, fraction: float, packs: bool) -> None:
        self._chains = chains
        self._staging = staging
        self._limit = fraction * 2**64
        self._packs = packs

    def setup(self) -> None:
        self._staging.heartbeats.start()

    def process(self, element: FilePattern) -> Iterator[Any]:
        number, pattern, licence, optional = element
        entry = self._chains.segments[number].entry.name
        packs: dict[int, list[dict[str, Any]]] = {}
        base, store = self._staging.base, self._staging.store
        total = 0
        with self._staging.heartbeats.working(f"listing {pattern}"):
            for key, file in list_keys(pattern, entry=entry, base=base, store=store, optional=optional):
                if xxh3_64_intdigest(key.encode()) >= self._limit:
                    continue
                total += xxh3_128_intdigest(f"{key}\0{file.size}\0{file.version}".encode())
                if not self._packs:
                    continue
                bucket = bucket_of(key)
                pack = packs.setdefault(bucket, [])
                pack.append(
                    {"key": key, "url": file.path, "size": file.size, "version": file.version, "licence": licence}
                )
                if len(pack) == _PACK:
                    yield f"{number}/{bucket}", json.dumps(packs.pop(bucket))
        for bucket, pack in packs.items():
            yield f"{number}/{bucket}", json.dumps(pack)
        report = Report(inputs={entry: InputTotal(listing=sum_hashes([total]))})
        yield TaggedOutput(_REPORTS, report.model_dump_json(exclude_defaults=True))


class _PlanBucket(beam.DoFn):
    """The fragments of the files of a bucket, and their total."""

    def __init__(self, chains: Chains, staging: Staging, save: bool) -> None:
        self._chains = chains
        self._staging = staging
        self._save = save

    def process(self, group: tuple[str, Iterable[str]]) -> Iterator[Any]:
        number, bucket = map(int, group[0].split("/"))
        entry = self._chains.segments[number].entry.name
        files = chain.from_iterable(map(_FILES.validate_json, group[1]))
        store = self._staging.open()
        previous = load_plan(store, entry, bucket)
        plan = plan_fragments(files, previous, entry)
        if self._save and plan != previous:
            save_plan(store, entry, bucket, plan)
        total = InputTotal(count=sum(len(fragment.files) for fragment in plan))
        yield TaggedOutput(_REPORTS, Report(inputs={entry: total}).model_dump_json(exclude_defaults=True))
        for fragment in plan:
            yield Work(number, fragment).dump()


class HashInputs(beam.PTransform):
    """Read every input file; gives `Report`s with the hashes of their contents, as JSON.

    Args:
        chains: The segments of all entries.
        staging: Where relative patterns start from.
        fraction: Of the files that are used.
    """

    def __init__(self, chains: Chains, staging: Staging, fraction: float) -> None:
        super().__init__()
        self._chains = chains
        self._staging = staging
        self._fraction = fraction

    def expand(self, pipeline: PBegin) -> PCollection[str]:
        packs = (pipeline | ListFiles(self._chains, self._staging, self._fraction)).packs
        each = beam.FlatMap(_each_file, self._chains).with_output_types(tuple[str, str])
        dealt = packs | beam.GroupByKey() | each | "deal files" >> beam.Reshuffle()
        return dealt | beam.Map(_hash_file, self._staging).with_output_types(str)


def _each_file(group: tuple[str, Iterable[str]], chains: Chains) -> Iterator[tuple[str, str]]:
    """Name of the entry and file, each file once."""
    key, packs = group
    entry = chains.segments[int(key.split("/")[0])].entry.name
    files = {file["key"]: file for pack in packs for file in json.loads(pack)}
    for file in files.values():
        yield entry, json.dumps(file)


def _hash_file(element: tuple[str, str], staging: Staging) -> str:
    entry, text = element
    file = InputFile.model_validate_json(text)
    path = file_cache().local_path(file.url, file.version, staging.store)
    total = InputTotal(count=1, content=sum_hashes([file_hash(file, path)]))
    return Report(inputs={entry: total}).model_dump_json(exclude_defaults=True)
