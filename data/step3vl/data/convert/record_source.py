"""What is converted, in parts that any process can convert: the records of files, the samples of a dataset."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from step3vl.data.convert.chunks import CHUNK, Chunk, first_records
from step3vl.data.convert.formats import FORMATS
from step3vl.data.convert.image_loader import open_image_folder
from step3vl.data.convert.records import CONVERT_STEP, RecordDefaults, convert_records
from step3vl.data.convert.source_files import find_source
from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.dataset.manifest import Split
from step3vl.data.processes import map_in_threads
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

ReadSample = Sample | DeadLetter

_SAMPLES = 256  # of a chunk, at most
_REQUESTS = 16  # samples of a remote dataset that are read at a time


class SampleSource:
    """Samples and dead letters, in parts.

    Args:
        parts: The parts in order, each small enough for memory.
        convert: Yields the samples of a part and counts, by its dotted name, each field that one of them did not use.
            It is called in any process, and pickled as the parts are.
        urls: The paths and URLs that it reads.
    """

    def __init__(
        self,
        parts: Iterator[Any],
        convert: Callable[[Any, Counter[str]], Iterator[ReadSample]],
        urls: tuple[str, ...] = (),
    ) -> None:
        self.parts, self.convert, self.urls = parts, convert, urls
        self.unused: Counter[str] = Counter()
        """The samples in which a field was not used, of the parts that were converted."""

    @classmethod
    def of(cls, samples: Iterable[ReadSample]) -> "SampleSource":
        """Samples that are made already."""
        left = iter(samples)
        return cls(iter(lambda: list(islice(left, _SAMPLES)), []), _ready)

    def __iter__(self) -> Iterator[ReadSample]:
        return chain.from_iterable(self.convert(part, self.unused) for part in self.parts)


def _ready(samples: list[ReadSample], unused: Counter[str]) -> Iterator[ReadSample]:
    return iter(samples)


def read_records(
    source: str | Path,
    format_name: str,
    defaults: RecordDefaults,
    *,
    limit: int | None = None,
    store: StoreConfig = DEFAULT_STORE,
) -> SampleSource:
    """Read the records of a source.

    Args:
        source: Path, pattern or URL, see `find_source`.
        format_name: A key of `FORMATS`.
        defaults: What the records do not say.
        limit: Read only so many records.
        store: How a remote store is used.

    Returns:
        Samples and dead letters in the order of the records.

    Raises:
        UserError: There is nothing to read.
    """
    kind = FORMATS[format_name]
    folder, files = find_source(source, kind.suffixes, store)
    chunks: Iterator[Chunk] = chain.from_iterable(map(kind.read, files))
    if limit is not None:
        chunks = first_records(chunks, limit)
    images = str(defaults.images or folder) if kind.names_files else None
    urls = (str(source),) if images is None else (str(source), images)
    return SampleSource(chunks, partial(_convert_chunk, format_name, defaults, images, store), urls)


def _convert_chunk(
    format_name: str,
    defaults: RecordDefaults,
    images: str | None,
    store: StoreConfig,
    chunk: Chunk,
    unused: Counter[str],
) -> Iterator[ReadSample]:
    folder = None if images is None else open_image_folder(images, store)
    return convert_records(chunk.records(), FORMATS[format_name].to_sample, defaults, folder, unused)


class _Place(NamedTuple):
    """Where a sample of a dataset is."""

    id: str
    shard: int
    offset: int
    size: int


def read_dataset(
    dataset: Dataset, split: Split | None = None, task: str | None = None, limit: int | None = None
) -> SampleSource:
    """Read the samples of a dataset in the order of its shards; damaged ones become dead letters.

    Args:
        dataset: The dataset.
        split: Only this split.
        task: Only tasks that match this shell pattern.
        limit: Read only so many samples.
    """
    batches = dataset.index_batches(["id", "offset", "size"], split=split, task=task)
    rows = chain.from_iterable(batch.to_pylist() for batch in batches)
    places = (_Place(row["id"], row["shard"], row["offset"], row["size"]) for row in islice(rows, limit))
    return SampleSource(_parts(places), partial(_read_places, dataset), (dataset.url,))


def _parts(places: Iterator[_Place]) -> Iterator[list[_Place]]:
    part: list[_Place] = []
    size = 0
    for place in places:
        part.append(place)
        size += place.size
        if size >= CHUNK or len(part) == _SAMPLES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _read_places(dataset: Dataset, places: list[_Place], unused: Counter[str]) -> Iterator[ReadSample]:
    return map_in_threads(partial(_read_sample, dataset), places, 1 if dataset.files.local else _REQUESTS)


def _read_sample(dataset: Dataset, place: _Place) -> ReadSample:
    try:
        return dataset.read(place.shard, place.offset, place.size)
    except DamagedSample as error:
        return DeadLetter.from_error(error, step=CONVERT_STEP, source=place.id)
