"""The samples of committed datasets as the inputs of a domain: shards are files, and each sample is a record.

Only what `dataset.json` names is read. A shard's samples are found by its index, each is read with one request and
checked by its hash, and its images stay where they are: what is made of them points into the shard.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from xxhash import xxh3_64_hexdigest

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset, Split
from step3vl.data.errors import UserError
from step3vl.data.sample import Pointer, Sample
from step3vl.data.storage import StoreConfig, split_sample
from step3vl.pipelines.core.domain import Files, FileSource
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped

SHARDS = "shards"  # the folder of a dataset's shards
SHARD_FILES = "*.tar"
_LICENCE = "that of each sample"
_COLUMNS = ["id", "source", "task", "offset", "size", "xxh3", "image_offsets", "image_sizes"]


class SampleRef(Config):
    """A sample in a shard of a committed dataset."""

    id: str
    task: str = ""
    at: Pointer
    """Its members in the tar."""
    images: tuple[Pointer, ...]
    """Its encoded images in the tar; only what was read with the sample has hashes."""
    captions: tuple[str, ...] = ()
    """Of other images of the shard, where the sample is a captioned image."""


def shard_files(datasets: Sequence[str]) -> Files:
    """The shards of datasets as the inputs of an entry.

    Args:
        datasets: Folders or URLs, each with its `dataset.json`.
    """
    patterns = tuple(f"{dataset.rstrip('/')}/{SHARDS}/{SHARD_FILES}" for dataset in datasets)
    return Files([FileSource(files=patterns, licence=_LICENCE)])


class ShardReader:
    """Finds the samples of shards. The manifests of the datasets that it met last are kept.

    Args:
        tasks: Shell patterns of tasks; the samples of others are none of the entry's inputs.
        split: Only shards of this split, or of all.
        store: How remote stores are used.
    """

    def __init__(self, tasks: Sequence[str], split: Split | None, store: StoreConfig) -> None:
        self._tasks, self._split, self._store = tasks, split, store
        self._opened: tuple[str, Dataset, dict[str, int]] | None = None

    def samples(self, shard: InputFile) -> Iterator[SampleRef]:
        """The samples of a shard that the entry asks for.

        Raises:
            Dropped: The shard is of another split.
            UserError: It is in no committed dataset, or `dataset.json` does not name it.
            StoreError: The store does not answer.
        """
        folder, _, name = shard.url.rpartition(f"/{SHARDS}/")
        dataset, numbers = self._open(folder)
        number = numbers.get(f"{SHARDS}/{name}")
        if number is None:
            raise UserError(f"{shard.url} is not named in the dataset.json beside it; remove the file")
        if self._split is not None and dataset.manifest.shards[number].split != self._split:
            raise Dropped("other_split")
        for row in dataset.shard_index(number, _COLUMNS).to_pylist():
            if dataset.exclusions.covers(row["id"], row["source"]):
                continue
            if any(fnmatchcase(row["task"], pattern) for pattern in self._tasks):
                yield SampleRef(
                    id=row["id"],
                    task=row["task"],
                    at=Pointer(path=shard.url, offset=row["offset"], size=row["size"], xxh3=f"{row['xxh3']:016x}"),
                    images=tuple(
                        Pointer(path=shard.url, offset=offset, size=size)
                        for offset, size in zip(row["image_offsets"], row["image_sizes"], strict=True)
                    ),
                )

    def _open(self, folder: str) -> tuple[Dataset, dict[str, int]]:
        if self._opened is None or self._opened[0] != folder:
            dataset = Dataset.open(folder, self._store)
            numbers = {info.path: number for number, info in enumerate(dataset.manifest.shards)}
            self._opened = folder, dataset, numbers
        return self._opened[1:]


def read_sample(ref: SampleRef) -> Sample:
    """A sample, whose images point into the shard.

    Raises:
        InfrastructureError: The shard is gone, or its bytes are not those that were committed.
        ValueError: The sample is not valid.
    """
    row, encoded = split_sample(ref.at.read())
    sample = Sample.from_row(row)
    images = [
        image.stored_at(pointer.model_copy(update={"xxh3": xxh3_64_hexdigest(data)}))
        for image, pointer, data in zip(sample.images, ref.images, encoded, strict=True)
    ]
    return sample.model_copy(update={"images": tuple(images)})
