"""Samples that contain benchmark items: texts by n-grams of masked words, short ones whole, images by their hashes.

Digits are masked, so that an item is found with other numbers, too. An n-gram of many items is not of any one of them
but of the benchmark's phrasing (`Answer the question using a single word`), and is not looked for. One long n-gram is
enough. Of short ones, which survive edits and occur elsewhere, too, a sample has to have a share of an item's.
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
from step3vl.pipelines.curation.filters.words import parts_words_by_spaces
from step3vl.pipelines.curation.image_hashes import (
    IMAGE_DTYPE,
    ImageHashes,
    chunk_keys,
    decode,
    distances,
    hash_pixels,
)
from step3vl.pipelines.curation.ngram_search import HashTable, NgramSearch, ngram_entries
from step3vl.pipelines.curation.tiles import TILE, TileIndex, Tiles, tiles_of
from step3vl.pipelines.curation.words import U64, Words, hash_words, normalise

_log = logging.getLogger(__name__)

DECONTAMINATE = "curate.decontaminate"  # the ledger's name of the step
CONTAMINATED = "benchmark"
_VERSION = 4  # raised with every change of what is found
NO_HASHES = np.zeros(0, IMAGE_DTYPE)
BENCHMARK_TILES, SAMPLE_TILES = 128, 96  # of an image
QUOTE = 120  # characters of an item that the evidence quotes
_SHORT_NGRAM = 5  # words of the n-grams of which a sample has to have a share
_FEWEST = 4  # of them, however short the item is
_WHOLE = np.dtype([("anchor", "<u8"), ("hash", "<u8"), ("length", "<u2"), ("item", "<u4")])


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
        similarity: The share of the item's n-grams that the sample has, long or short ones; 1 for a whole item or an
            image.
        phash: Distance of an image, in bits of 64; None where a text or the tiles of an image decided.
        pdq: The same in bits of 256.
        detail: How the item begins.
    """

    item: str
    similarity: float
    phash: int | None
    pdq: int | None
    detail: str


class BenchmarkIndex(NamedTuple):
    """What is looked for; it depends on the benchmarks alone and fits into the memory of a worker.

    Attributes:
        names: Of the items.
        texts: Of the items, normalised; empty for an image.
        sizes: Long n-grams of each item that are looked for.
        entries: Records of `ngram_search.ENTRY` of them, by hash.
        short_sizes: The same of short n-grams; none where an edited item is not looked for.
        short_entries: The same.
        whole: Records of `_WHOLE`, by anchor: the first words of an item that has to occur whole.
        images: Records of `IMAGE_DTYPE`.
        image_items: The item of each image.
        tiles: Of all images, back to back, where crops are looked for.
        tile_counts: Of each image.
        common: How many long n-grams were left out because too many items have them.
        unfindable: How many items have no other n-grams, or too few words.
    """

    names: list[str]
    texts: list[str]
    sizes: NDArray[np.int64]
    entries: NDArray[np.void]
    short_sizes: NDArray[np.int64]
    short_entries: NDArray[np.void]
    whole: NDArray[np.void]
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
                    if config.crops:
                        tiles.append(tiles_of(decoded, BENCHMARK_TILES))
                except ImageError as error:
                    raise ImageError(f"{item.name}: {error}") from None
                image_items.append(len(names))
            names.append(item.name)
            texts.append(normalise(item.text))
        words = hash_words(texts, mask_digits=True)
        entries, common = ngram_entries(words, config.ngram, config.max_items)
        short_entries, _ = ngram_entries(words, _SHORT_NGRAM, config.max_items)
        is_searched = np.array([config.overlap is not None and parts_words_by_spaces(text) for text in texts], bool)
        short_entries = short_entries[is_searched[short_entries["item"]]]
        whole = _whole_entries(words, config)
        sizes, short_sizes = (np.bincount(e["item"], minlength=len(names)) for e in (entries, short_entries))
        findable = (sizes > 0) | (short_sizes >= _FEWEST)
        findable |= np.isin(np.arange(len(names)), [*whole["item"].tolist(), *image_items])
        return cls(
            names,
            texts,
            sizes,
            entries,
            short_sizes,
            short_entries,
            whole,
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


def _whole_entries(words: Words, config: DecontaminateConfig) -> NDArray[np.void]:
    """The items of fewer words than an n-gram, each as a whole."""
    offsets = words.offsets
    rows = []
    for item in np.flatnonzero((words.counts >= config.min_words) & (words.counts < config.ngram)).tolist():
        hashes = words.hashes[offsets[item] : offsets[item + 1]]
        rows.append((_run(hashes[: config.min_words]), _run(hashes), len(hashes), item))
    return np.sort(np.array(rows, _WHOLE), order="anchor")


def _run(hashes: U64) -> int:
    """The hash of words in a row."""
    return int(Words(hashes, np.array([len(hashes)])).ngrams(len(hashes)).hashes[0])


class Decontaminator:
    """Finds benchmark items in samples.

    Args:
        index: What is looked for.
        config: How many words are looked for.
        images: How near images are; None: images are not compared.
    """

    def __init__(self, index: BenchmarkIndex, config: DecontaminateConfig, images: ImagesConfig | None) -> None:
        self._index, self._config, self._images = index, config, images
        self._long = NgramSearch(config.ngram, index.entries, index.sizes)
        self._edited = NgramSearch(
            _SHORT_NGRAM, index.short_entries, index.short_sizes, fewest=_FEWEST, share=config.overlap or 1.0
        )
        self._whole = HashTable(index.whole["anchor"])
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
        edited = {sample: self._hit(*match, "edited: ") for sample, match in self._edited.find(words).items()}
        whole = {sample: self._hit(item, 1.0) for sample, item in self._find_whole(words).items()}
        long = {sample: self._hit(*match) for sample, match in self._long.find(words).items()}
        hits = edited | whole | long  # the last one decides
        return [hits.get(number) or self._find_image(images[number]) for number in range(len(texts))]

    def _find_whole(self, words: Words) -> dict[int, int]:
        """The first short item that each sample contains whole."""
        anchors = words.ngrams(self._config.min_words)
        whole: dict[int, int] = {}
        places = self._whole.find(anchors.hashes)
        samples = np.searchsorted(anchors.offsets, places, side="right") - 1
        items = self._index.whole
        for place, sample in zip(places.tolist(), samples.tolist(), strict=True):
            start = int(words.offsets[sample]) + place - int(anchors.offsets[sample])
            left = int(words.offsets[sample + 1]) - start
            first, last = (np.searchsorted(items["anchor"], anchors.hashes[place], side=s) for s in ("left", "right"))
            for row in items[first:last]:
                length = int(row["length"])
                if (
                    sample not in whole
                    and length <= left
                    and _run(words.hashes[start : start + length]) == row["hash"]
                ):
                    whole[sample] = int(row["item"])
        return whole

    def _hit(self, item: int, share: float, how: str = "") -> Hit:
        return Hit(self._index.names[item], share, None, None, f"{how}{self._index.texts[item][:QUOTE]}")

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
        return Hit(self._name(image), 1.0, None, None, f"an image that shares a part: {shared.tiles} tiles lie alike")

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
