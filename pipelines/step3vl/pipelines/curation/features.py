"""What is compared of samples: one record of fixed size for each, and one for each of its images.

A shard is read once, from its first byte to its last. What is kept of a sample is 0.4 kB, whatever its size, and lies
in a flat file, so that the record of any row is one small read.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from step3vl.data.storage import FileSlice, Store
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.filters.alignment import IMAGE_TEXT
from step3vl.pipelines.curation.filters.pixels import NSFW
from step3vl.pipelines.curation.filters.rollouts import PASS_RATE, SOLUTION_TOKENS
from step3vl.pipelines.curation.filters.texts import PERPLEXITY
from step3vl.pipelines.curation.image_hashes import IMAGE_DTYPE, ImageHashes
from step3vl.pipelines.curation.inputs import Nodes, rows_of, shards_of

Records = NDArray[np.void]
MEASURES = (NSFW, PERPLEXITY, IMAGE_TEXT, PASS_RATE, SOLUTION_TOKENS)


def record_dtype(slots: int, scores: int) -> np.dtype[np.void]:
    """The record of a sample.

    Args:
        slots: Of a signature; 0 where texts are not compared for similarity.
        scores: How many scores decide which samples are kept.
    """
    return np.dtype(
        [
            ("id", "<u8", 2),
            ("offset", "<i8"),  # in its shard
            ("size", "<i8"),
            ("xxh3", "<u8"),
            ("text", "<u8", 2),  # hash of the normalised text and the roles
            ("content", "<u8", 2),  # hash of that and of the images' pixels: equal for exact duplicates
            ("numbers", "<u8"),  # hash of the numbers in the text
            ("area", "<u8"),  # pixels of all images
            ("characters", "<u4"),
            ("words", "<u4"),
            ("image", "<u4"),  # of its images, the first in the file
            ("images", "<u2"),
            ("conversation", "u1"),
            ("heldout", "u1"),
            ("live", "u1"),  # 0: it was dropped as it was read, and is compared with nothing
            ("masked", "u1"),  # its personal data, so that `id`, `text` and images are those of the masked sample
            ("measures", "<f4", (len(MEASURES),)),  # scores that filters measured; NaN where they did not
            ("scores", "<f4", (scores,)),
            ("signature", "<u2", (slots,)),
        ]
    )


def dtype_of(config: CurationConfig) -> np.dtype[np.void]:
    """The records of a configuration."""
    return record_dtype(config.near.slots if config.near else 0, len(config.scores))


class Features(NamedTuple):
    """Samples and their images.

    Attributes:
        samples: Records of `record_dtype`.
        images: Records of `IMAGE_DTYPE`.
    """

    samples: Records
    images: ImageHashes

    def images_of(self, index: int) -> ImageHashes:
        """The images of a sample."""
        first = int(self.samples["image"][index])
        return self.images[first : first + int(self.samples["images"][index])]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Several as one; the places of images follow."""
        before = np.cumsum([0, *(len(part.images) for part in parts)])
        samples = np.concatenate([part.samples for part in parts])
        samples["image"] += np.repeat(before[:-1], [len(part.samples) for part in parts]).astype(np.uint32)
        return cls(samples, np.concatenate([part.images for part in parts]))

    def take(self, order: NDArray[np.integer]) -> "Features":
        """Some of the samples, in an order, with their images."""
        samples = self.samples[order]
        counts = samples["images"].astype(np.int64)
        starts = np.cumsum(counts) - counts
        places = np.repeat(samples["image"].astype(np.int64) - starts, counts) + np.arange(counts.sum())
        samples["image"] = starts
        return Features(samples, self.images[places])

    def dump(self) -> tuple[bytes, bytes]:
        """The two files."""
        return self.samples.tobytes(), self.images.tobytes()

    @classmethod
    def load(cls, samples: bytes, images: bytes, dtype: np.dtype[np.void]) -> Self:
        """The inverse of `dump`."""
        return cls(np.frombuffer(samples, dtype), np.frombuffer(images, IMAGE_DTYPE))


class FeatureStore:
    """The features of all shards, in files under the root.

    Args:
        root: Store of the root.
        paths: Of the files of each shard, relative to the root and without an ending.
        dtype: Of the samples' records.
    """

    def __init__(self, root: Store, paths: Sequence[str], dtype: np.dtype[np.void]) -> None:
        self._root, self._paths, self._dtype = root, paths, dtype

    def path(self, number: int) -> str:
        """Of the files of a shard, relative to the root and without an ending."""
        return self._paths[number]

    def shard(self, number: int) -> Features:
        """The features of a shard."""
        path = self._paths[number]
        return Features.load(self._root.read_all(f"{path}.bin"), self._root.read_all(f"{path}.images"), self._dtype)

    def gather(self, nodes: Nodes) -> Features:
        """The features of samples of any shards, in their order; neighbours are read together."""
        distinct, order = np.unique(nodes, return_inverse=True)
        paths = [self._paths[number] for number in shards_of(distinct)]
        size = self._dtype.itemsize
        rows = rows_of(distinct).tolist()
        read = self._root.read_many(
            [FileSlice(f"{path}.bin", row * size, size) for path, row in zip(paths, rows, strict=True)]
        )
        samples = np.frombuffer(b"".join(read), self._dtype).copy()
        size = IMAGE_DTYPE.itemsize
        slices = [
            FileSlice(f"{path}.images", first * size, count * size)
            for path, first, count in zip(paths, samples["image"].tolist(), samples["images"].tolist(), strict=True)
        ]
        images = np.frombuffer(b"".join(self._root.read_many(slices)), IMAGE_DTYPE)
        samples["image"] = np.cumsum(samples["images"]) - samples["images"]
        return Features(samples, images).take(order)
