"""The shards that a curation reads, numbered: a sample is a node, the number of its shard and its row in it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset, Exclusions, Split
from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig

Nodes = NDArray[np.uint64]

_ROW_BITS = np.uint64(28)  # 268 million samples of a shard, and 2**36 shards
_OPEN = 16  # manifests that a worker keeps


class InputShard(Config):
    """A shard of a dataset that is curated, or of an earlier one."""

    dataset: str
    """URL of the dataset."""
    number: int
    """Of the shard in its dataset."""
    split: Split
    blake3: str
    """Of the tar."""
    earlier: bool
    """Whether its samples are only compared with, and never written."""


class Inputs(NamedTuple):
    """The datasets, earlier ones first, and all their shards in order."""

    datasets: tuple[Dataset, ...]
    shards: tuple[InputShard, ...]

    @classmethod
    def open(cls, urls: Sequence[str], against: Sequence[str], store: StoreConfig) -> Self:
        """Open datasets.

        Args:
            urls: Of the datasets that are curated.
            against: Of the earlier ones.
            store: How remote stores are used.

        Raises:
            UserError: One is not there or is given twice, or they were counted with different tokenizers or sizes.
        """
        datasets = [Dataset.open(url.rstrip("/"), store) for url in (*against, *urls)]
        first = datasets[len(against)]
        fingerprints: dict[str, str] = {}
        for dataset in datasets:
            if dataset.fingerprint in fingerprints:
                raise UserError(
                    f"{dataset.url} has the shards of {fingerprints[dataset.fingerprint]}; give each dataset once"
                )
            fingerprints[dataset.fingerprint] = dataset.url
        for dataset in datasets[len(against) :]:
            mine, other = dataset.manifest.counting, first.manifest.counting
            if (mine.tokenizer_sha256, mine.image) != (other.tokenizer_sha256, other.image):
                raise UserError(
                    f"{dataset.url} has token counts for another tokenizer or other image sizes than {first.url}: "
                    "convert it with those of the other first"
                )
        shards = [
            InputShard(
                dataset=dataset.url, number=number, split=info.split, blake3=info.blake3, earlier=order < len(against)
            )
            for order, dataset in enumerate(datasets)
            for number, info in enumerate(dataset.manifest.shards)
        ]
        return cls(tuple(datasets), tuple(shards))

    @property
    def exclusions(self) -> Exclusions:
        """What any of the datasets must forget: it comes back from none of the others."""
        return sum((dataset.exclusions for dataset in self.datasets), Exclusions())


def nodes_of(shard: int, rows: NDArray[np.integer]) -> Nodes:
    """The nodes of rows of a shard."""
    return np.uint64(shard) << _ROW_BITS | rows.astype(np.uint64)


def shards_of(nodes: Nodes) -> NDArray[np.int64]:
    """The number of the shard of each node."""
    return (nodes >> _ROW_BITS).astype(np.int64)


def rows_of(nodes: Nodes) -> NDArray[np.int64]:
    """The row of each node in its shard."""
    return (nodes & ((np.uint64(1) << _ROW_BITS) - np.uint64(1))).astype(np.int64)


@lru_cache(maxsize=_OPEN)
def _open(url: str, store: str) -> Dataset:
    return Dataset.open(url, StoreConfig.model_validate_json(store))


def open_dataset(url: str, store: StoreConfig) -> Dataset:
    """A dataset, as a worker opens it. The last ones are kept."""
    return _open(url, store.model_dump_json())
