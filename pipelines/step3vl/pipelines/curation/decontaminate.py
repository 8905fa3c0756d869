"""Samples that contain benchmark items: texts by n-grams of masked words, short ones whole, images by their hashes.

Digits are masked, so that an item is found with other numbers, too. An n-gram of many items is not of any one of them
but of the benchmark's phrasing (`Answer the question using a single word`), and is not looked for.
"""

import io
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from step3vl.data.sample.crops import ImageError
from step3vl.data.storage import Store
from step3vl.pipelines.curation.benchmarks import Item
from step3vl.pipelines.curation.config import CurationConfig, DecontaminateConfig, ImagesConfig
from step3vl.pipelines.curation.exchange import distinct, groups
from step3vl.pipelines.curation.image_hashes import (
    IMAGE_DTYPE,
    ImageHashes,
    chunk_keys,
    decode,
    distances,
    hash_pixels,
)
from step3vl.pipelines.curation.tiles import TILE, TileIndex, Tiles, tiles_of
from step3vl.pipelines.curation.words import U64, Words, hash_words, normalise

_log = logging.getLogger(__name__)

DECONTAMINATE = "curate.decontaminate"  # the ledger's name of the step
CONTAMINATED = "benchmark"
_VERSION = 2  # raised with every change of what is found
NO_HASHES = np.zeros(0, IMAGE_DTYPE)
BENCHMARK_TILES, SAMPLE_TILES = 128, 96  # of an image
QUOTE = 120  # characters of an item that the evidence quotes
_SPARSE = 16  # places of the table for each hash in it
_ENTRY = np.dtype([("hash", "<u8"), ("item", "<u4")])
_SHARED = np.dtype([("sample", "<u4"), ("hash", "<u8")])
_SHORT = np.dtype([("anchor", "<u8"), ("hash", "<u8"), ("length", "<u2"), ("item", "<u4")])


class Look(NamedTuple):
    """What was seen in the images of a sample, besides their hashes.

    Attributes:
        tiles: Of each image; none where crops are not looked for.
        text: That a model read in them, normalised.
    """

    tiles: Sequence[Tiles] = ()
    text: str = ""


class Hit(NamedTuple):
    """What a sample shares with a benchmark.

    Attributes:
        item: The name of the item.
        similarity: The share of the item's n-grams that the sample has; 1 for a short item or an image.
        phash: Distance of an image, in bits of 64.
        pdq: The same in bits of 256.
        detail: How the item begins.
    """

    item: str
    similarity: float
    phash: int
    pdq: int
    detail: str


class BenchmarkIndex(NamedTuple):
    """What is looked for; it depends on the benchmarks alone and fits into the memory of a worker.

    Attributes:
        names: Of the items.
        texts: Of the items, normalised; empty for an image.
        sizes: N-grams of each item that are looked for.
        entries: Records of `_ENTRY`, by hash.
        short: Records of `_SHORT`, by anchor: the first words of an item that has to occur whole.
        images: Records of `IMAGE_DTYPE`.
        image_items: The item of each image.
        tiles: Of all images, back to back, where crops are looked for.
        tile_counts: Of each image.
        common: How many n-grams were left out because too many items have them.
        unfindable: How many items have no other n-grams, or too few words.
    """

    names: list[str]
    texts: list[str]
    sizes: NDArray[np.int64]
    entries: NDArray[np.void]
    short: NDArray[np.void]
    images: ImageHashes
    image_items: NDArray[np.int64]
    tiles: Tiles
    tile_counts: NDArray[np.int64]
    common: int
    unfindable: int

    @classmethod
    def of(cls, items: Iterable[Item], config: DecontaminateConfig) -> "BenchmarkIndex":
        """Index items.

        Args:
            items: Of all benchmarks.
            config: How many words are looked for.

        Raises:
            ImageError: An image cannot be decoded.
        """
        names: list[str] = []
        texts: list[str] = []
        images: list[ImageHashes] = []
        image_items: list[int] = []
        tiles: list[Tiles] = []
        for item in items:
            if item.image and config.images:
                try:
                    decoded = decode(item.image)
                    images.append(hash_pixels(decoded))
                    tiles.append(tiles_of(decoded, BENCHMARK_TILES if config.crops else 0))
                except ImageError as error:
                    raise ImageError(f"{item.name}: {error}") from None
                image_items.append(len(names))
            names.append(item.name)
            texts.append(normalise(item.text))
        words = hash_words(texts, mask_digits=True)
        entries, common = _long_entries(words, config)
        short = _short_entries(words, config)
        sizes = np.bincount(entries["item"], minlength=len(names))
        findable = (sizes > 0) | np.isin(np.arange(len(names)), [*short["item"].tolist(), *image_items])
        return cls(
            names,
            texts,
            sizes,
            entries,
            short,
            np.array(images, IMAGE_DTYPE),
            np.array(image_items, np.int64),
            np.concatenate([np.zeros(0, TILE), *tiles]),
            np.array([len(each) for each in tiles], np.int64),
            common,
            int((~findable).sum()),
        )

    def dump(self) -> bytes:
        """As a file."""
        arrays: dict[str, Any] = {
            name: value for name, value in self._asdict().items() if isinstance(value, np.ndarray)
        }
        texts = json.dumps([self.names, self.texts, self.common, self.unfindable]).encode()
        sink = io.BytesIO()
        np.savez(sink, texts=np.frombuffer(texts, np.uint8), **arrays)
        return sink.getvalue()

    @classmethod
    def load(cls, data: bytes) -> "BenchmarkIndex":
        """The inverse of `dump`."""
        with np.load(io.BytesIO(data)) as arrays:
            names, texts, common, unfindable = json.loads(arrays["texts"].tobytes())
            rest = {name: arrays[name] for name in arrays.files if name != "texts"}
        return cls(names=names, texts=texts, common=common, unfindable=unfindable, **rest)


def _long_entries(words: Words, config: DecontaminateConfig) -> tuple[NDArray[np.void], int]:
    """The n-grams of items, each once an item; and how many were left out because too many items have them."""
    ngrams = words.ngrams(config.ngram)
    entries = np.empty(len(ngrams.hashes), _ENTRY)
    entries["hash"], entries["item"] = ngrams.hashes, np.repeat(np.arange(len(ngrams.counts)), ngrams.counts)
    entries = distinct(entries)
    _, sizes = groups(entries["hash"])
    common = sizes > config.max_items
    return entries[np.repeat(~common, sizes)], int(common.sum())


def _short_entries(words: Words, config: DecontaminateConfig) -> NDArray[np.void]:
    """The items of fewer words than an n-gram, each as a whole."""
    offsets = words.offsets
    rows = []
    for item in np.flatnonzero((words.counts >= config.min_words) & (words.counts < config.ngram)).tolist():
        hashes = words.hashes[offsets[item] : offsets[item + 1]]
        rows.append((_run(hashes[: config.min_words]), _run(hashes), len(hashes), item))
    return np.sort(np.array(rows, _SHORT), order="anchor")


def _run(hashes: U64) -> int:
    """The hash of words in a row."""
    return int(Words(hashes, np.array([len(hashes)])).ngrams(len(hashes)).hashes[0])


class _Table:
    """Whether hashes are in a set: nearly all are not, which a sparse table of bytes tells at once.

    Args:
        hashes: Sorted.
    """

    def __init__(self, hashes: U64) -> None:
        self.hashes = hashes
        bits = max(10, (len(hashes) * _SPARSE).bit_length())
        self._shift = np.uint64(64 - bits)
        self._marks = np.zeros(1 << bits, np.bool_)
        self._marks[hashes >> self._shift] = True

    def find(self, hashes: U64) -> NDArray[np.intp]:
        """The places of the hashes that are in the set."""
        if not len(self.hashes):
            return np.zeros(0, np.intp)
        maybe = np.flatnonzero(self._marks[hashes >> self._shift])
        places = np.searchsorted(self.hashes, hashes[maybe])
        return maybe[self.hashes[np.minimum(places, len(self.hashes) - 1)] == hashes[maybe]]


class Decontaminator:
    """Finds benchmark items in samples.

    Args:
        index: What is looked for.
        config: How many words are looked for.
        images: How near images are; None: images are not compared.
    """

    def __init__(self, index: BenchmarkIndex, config: DecontaminateConfig, images: ImagesConfig | None) -> None:
        self._index, self._config, self._images = index, config, images
        self._long, self._short = _Table(index.entries["hash"]), _Table(index.short["anchor"])
        structured = index.images["quality"] >= images.pdq_quality if images else np.zeros(len(index.images), bool)
        self._near: dict[int, list[int]] = {}
        keys = chunk_keys(index.images["phash"].astype(np.uint64), selective=False)
        for image in np.flatnonzero(structured).tolist():
            for key in keys[image].tolist():
                self._near.setdefault(key, []).append(image)
        self._pixels = {record["pixels"].tobytes(): number for number, record in enumerate(index.images)}
        self._tiles = TileIndex(index.tiles, index.tile_counts)

    def check(
        self,
        texts: Sequence[str],
        images: Sequence[ImageHashes],
        looks: Sequence[Look] | None = None,
    ) -> list[Hit | None]:
        """The item that each sample contains most of; None for a clean one.

        Args:
            texts: Of samples, normalised.
            images: Of the same samples.
            looks: What else was seen in their images, where that is looked for.
        """
        hits = self._check(texts, images)
        for number, look in enumerate(looks or ()):
            if hits[number] is None:
                hits[number] = self._find_crop(look.tiles)
        read = [number for number, look in enumerate(looks or ()) if hits[number] is None and look.text]
        if looks and read:
            for number, hit in zip(
                read, self._check([looks[n].text for n in read], [NO_HASHES] * len(read)), strict=True
            ):
                hits[number] = hit and hit._replace(detail=f"read in an image: {hit.detail}")
        return hits

    def _check(self, texts: Sequence[str], images: Sequence[ImageHashes]) -> list[Hit | None]:
        words = hash_words(texts, mask_digits=True)
        shared: list[dict[int, int]] = [{} for _ in texts]
        self._find_long(words, shared)
        whole = self._find_short(words)
        return [
            self._best(shared[number], whole.get(number)) or self._find_image(images[number])
            for number in range(len(texts))
        ]

    def _find_long(self, words: Words, shared: list[dict[int, int]]) -> None:
        """Count the distinct n-grams that each sample shares with each item."""
        ngrams = words.ngrams(self._config.ngram)
        places = self._long.find(ngrams.hashes)
        rows = np.empty(len(places), _SHARED)
        rows["sample"] = np.searchsorted(ngrams.offsets, places, side="right") - 1
        rows["hash"] = ngrams.hashes[places]
        rows = distinct(rows)
        entries = self._index.entries
        first, last = (np.searchsorted(entries["hash"], rows["hash"], side=side) for side in ("left", "right"))
        for sample, start, stop in zip(rows["sample"].tolist(), first.tolist(), last.tolist(), strict=True):
            for item in entries["item"][start:stop].tolist():
                shared[sample][item] = shared[sample].get(item, 0) + 1

    def _find_short(self, words: Words) -> dict[int, int]:
        """The first short item that each sample contains whole."""
        anchors = words.ngrams(self._config.min_words)
        whole: dict[int, int] = {}
        places = self._short.find(anchors.hashes)
        samples = np.searchsorted(anchors.offsets, places, side="right") - 1
        short = self._index.short
        for place, sample in zip(places.tolist(), samples.tolist(), strict=True):
            start = int(words.offsets[sample]) + place - int(anchors.offsets[sample])
            left = int(words.offsets[sample + 1]) - start
            first, last = (np.searchsorted(short["anchor"], anchors.hashes[place], side=s) for s in ("left", "right"))
            for row in short[first:last]:
                length = int(row["length"])
                if (
                    sample not in whole
                    and length <= left
                    and _run(words.hashes[start : start + length]) == row["hash"]
                ):
                    whole[sample] = int(row["item"])
        return whole

    def _best(self, shared: dict[int, int], whole: int | None) -> Hit | None:
        index = self._index
        if shared:
            item = min(shared, key=lambda item: (-shared[item] / int(index.sizes[item]), item))
            return Hit(index.names[item], shared[item] / int(index.sizes[item]), 0, 0, index.texts[item][:QUOTE])
        return None if whole is None else Hit(index.names[whole], 1.0, 0, 0, index.texts[whole][:QUOTE])

    def _find_image(self, images: ImageHashes) -> Hit | None:
        if self._images is None or not len(self._index.images):
            return None
        for image in images:
            equal = self._pixels.get(image["pixels"].tobytes())
            if equal is not None:
                return Hit(self._name(equal), 1.0, 0, 0, "equal pixels")
            if image["quality"] < self._images.pdq_quality:
                continue
            keys = chunk_keys(np.array([image["phash"]], np.uint64), selective=False)[0].tolist()
            for other in sorted({other for key in keys for other in self._near.get(key, ())}):
                near, far = distances(image, self._index.images[other])
                if near <= self._images.phash_radius and far <= self._images.pdq_radius:
                    return Hit(self._name(other), 1.0, near, far, "an image that looks alike")
        return None

    def _find_crop(self, images: Sequence[Tiles]) -> Hit | None:
        matches = [match for match in map(self._tiles.find, images) if match is not None]
        if not matches:
            return None
        image, shared = max(matches, key=lambda pair: (pair[1].tiles, -pair[0]))
        return Hit(self._name(image), 1.0, 0, 0, f"an image that shares a part: {shared.tiles} tiles lie alike")

    def _name(self, image: int) -> str:
        return self._index.names[int(self._index.image_items[image])]


def save_index(index: BenchmarkIndex, config: CurationConfig, root: Store) -> str:
    """Keep an index under the root, for workers. Returns its path, which follows from what is looked for."""
    data = index.dump()
    content = b"".join(value.tobytes() for value in index if isinstance(value, np.ndarray))
    images = config.images and config.images.model_dump_json()
    depends = json.dumps([_VERSION, config.decontaminate and config.decontaminate.content(), images, index.names])
    path = f"benchmarks/{blake3(depends.encode() + content).hexdigest(16)}.npz"
    if not root.exists(path):
        root.put(path, data)
    return path


def load_decontaminator(root: Store, path: str, config: CurationConfig) -> Decontaminator:
    """The decontaminator of a worker.

    Args:
        root: Store of the root.
        path: Of the index, as `save_index` returned it.
        config: Of the curation.
    """
    assert config.decontaminate is not None
    return Decontaminator(BenchmarkIndex.load(root.read_all(path)), config.decontaminate, config.images)
