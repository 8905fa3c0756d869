"""Reading a shard once, for the features of its samples."""

import json
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage
from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from step3vl.data.dataset import DROPPED, FORGOTTEN, DamagedSample, Dataset, DeadLetter, Exclusions
from step3vl.data.sample.crops import ImageError
from step3vl.data.storage import ByteRange, split_sample
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.decontaminate import SAMPLE_TILES, Look
from step3vl.pipelines.curation.features import MEASURES, Features, Records, dtype_of
from step3vl.pipelines.curation.filtering import Filtered, SampleFilter
from step3vl.pipelines.curation.image_hashes import IMAGE_DTYPE, ImageHashes, decode, hash_encoded, hash_pixels
from step3vl.pipelines.curation.inputs import InputShard
from step3vl.pipelines.curation.signatures import signatures_of
from step3vl.pipelines.curation.tiles import tiles_of
from step3vl.pipelines.curation.words import hash_words, high_and_low, normalise, numbers
from step3vl.pipelines.models.ocr import OcrModel

READ = "curate.read"  # the ledger's name of the step
_WINDOW = 16 << 20  # bytes of a shard that are read at once
_COLUMNS = ["id", "offset", "size", "xxh3", "kind"]


class ReadSample(NamedTuple):
    """A sample as it is compared."""

    id: str
    """Of the masked sample, where personal data were masked."""
    row: dict[str, Any]
    """Of the shard's index."""
    text: str
    """Normalised: of all parts, with the reasoning, the calls and the tools."""
    roles: str
    """Of a conversation, in order."""
    images: ImageHashes
    area: int
    scores: Sequence[float]
    filtered: Filtered = Filtered(None, None, {})
    look: Look = Look()
    """What decontamination sees in the images, besides their hashes."""


class ShardReader:
    """Reads the samples of one shard.

    Args:
        dataset: Of the shard.
        shard: The shard.
        config: The filters, which scores, and whether images are decoded.
        exclusions: The samples that must no longer be used. An earlier dataset is only compared with.
    """

    def __init__(self, dataset: Dataset, shard: InputShard, config: CurationConfig, exclusions: Exclusions) -> None:
        self._dataset, self._shard, self._config = dataset, shard, config
        self._exclusions = Exclusions() if shard.earlier else exclusions
        filters = None if shard.earlier else config.filters  # what an earlier dataset has stays in it
        self._filter = SampleFilter(filters, dataset) if filters else None
        search = None if shard.earlier else config.decontaminate
        self._looks = search is not None and (search.crops or search.ocr)

    def batches(self, only: Collection[str] | None = None) -> Iterator[list[ReadSample | DeadLetter]]:
        """The samples in order of the shard, a few megabytes at a time.

        What cannot be read is a dead letter, and what is excluded, too.

        Args:
            only: The ids of the samples that are read; None for all.

        Raises:
            StoreError: The store does not answer.
        """
        info = self._dataset.manifest.shards[self._shard.number]
        rows = self._dataset.shard_index(self._shard.number, _COLUMNS).to_pylist()
        rows = sorted((row for row in rows if only is None or row["id"] in only), key=lambda row: row["offset"])
        for window in _windows(rows):
            start, stop = window[0]["offset"], window[-1]["offset"] + window[-1]["size"]
            data = memoryview(
                self._dataset.files.read(ByteRange(info.path, start, stop, file_size=info.size, version=info.blake3))
            )
            yield [self._read(row, data[row["offset"] - start :][: row["size"]]) for row in window]

    def _read(self, row: dict[str, Any], data: memoryview) -> ReadSample | DeadLetter:
        try:
            encoded = bytes(data)
            if len(data) != row["size"] or xxh3_64_intdigest(data) != row["xxh3"]:
                encoded = self._dataset.fetch(self._shard.number, row["offset"], row["size"])  # again, or it raises
            sample, images = split_sample(encoded)
            if self._exclusions.covers_content(sample):
                return DeadLetter(step=READ, error=DROPPED, reason=FORGOTTEN, source=row["id"])
            return self._compared(row, sample, images)
        except (DamagedSample, ImageError, ValueError) as error:
            return DeadLetter.from_error(error, step=READ, source=row["id"])

    def _compared(self, row: dict[str, Any], sample: dict[str, Any], images: list[bytes]) -> ReadSample:
        """The sample as it is compared, masked if need be. Raises ImageError."""
        looked_at = (
            self._config.images is not None
            or self._looks
            or (self._filter is not None and self._filter.needs_images(sample))
        )
        decoded = [decode(image) for image in images] if looked_at else []
        filtered = self._filter.apply(sample, images, decoded) if self._filter else Filtered(None, None, {})
        if masked := filtered.masked:
            sample, images = masked.sample.to_row(), [image.read() for image in masked.sample.images]
            decoded = [decode(image) for image in images] if looked_at else []
        hashes = map(hash_pixels, decoded) if self._config.images else map(hash_encoded, images)
        text, roles = text_of(sample)
        return ReadSample(
            sample["id"],
            row,
            normalise(text),
            roles,
            np.array([*hashes], IMAGE_DTYPE),
            sum(image["width"] * image["height"] for image in sample.get("images", ())),
            [sample.get("scores", {}).get(name, -np.inf) for name in self._config.scores],
            filtered,
            self._look(decoded) if self._looks else Look(),
        )

    def _look(self, images: Sequence[PILImage.Image]) -> Look:
        """What decontamination looks for in images."""
        config = self._config.decontaminate
        assert config is not None
        lines = [line.text for image in images for line in _ocr().read(image)] if config.ocr else []
        tiles = [tiles_of(image, SAMPLE_TILES) for image in images] if config.crops else []
        return Look(tiles, normalise("\n".join(lines)))


@cache
def _ocr() -> OcrModel:
    return OcrModel()


def _windows(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    window: list[dict[str, Any]] = []
    for row in rows:
        if window and row["offset"] + row["size"] - window[0]["offset"] > _WINDOW:
            yield window
            window = []
        window.append(row)
    if window:
        yield window


def text_of(sample: dict[str, Any]) -> tuple[str, str]:
    """The text by which a sample is compared, and the roles of its turns.

    Args:
        sample: The JSON of a shard. It was validated as it was written, so no `Sample` is made of it.
    """
    if "messages" not in sample:
        return _text(sample["content"]), ""
    texts = [json.dumps(tool) for tool in sample.get("tools", ())]
    for message in sample["messages"]:
        texts.append(message.get("reasoning_content") or "")
        texts.append(_text(message["content"]))
        texts += [f"{call['name']} {call['arguments']}" for call in message.get("tool_calls", ())]
    return "\n".join(texts), " ".join(message["role"] for message in sample["messages"])


def texts_of_rows(dataset: Dataset, shard: int, samples: Records) -> Iterator[str]:
    """The texts of samples of a shard, as they are compared but for case and spaces, a few megabytes in memory.

    Args:
        dataset: Of the shard.
        shard: Its number in the dataset.
        samples: Records of the samples, in order of the shard.

    Raises:
        DamagedSample: What could be read before cannot any longer.
        StoreError: The store does not answer.
    """
    for offset, size in zip(samples["offset"].tolist(), samples["size"].tolist(), strict=True):
        sample, _ = split_sample(dataset.fetch(shard, offset, size))
        yield text_of(sample)[0]


def _text(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def features_of(samples: Sequence[ReadSample], shard: InputShard, config: CurationConfig) -> Features:
    """The features of samples."""
    records = np.zeros(len(samples), dtype_of(config))
    if not samples:
        return Features(records, np.zeros(0, IMAGE_DTYPE))
    texts = [sample.text for sample in samples]
    hashes = [
        xxh3_128_intdigest(f"{sample.roles}\0{sample.text}".encode("utf-8", "surrogatepass")) for sample in samples
    ]
    # Column by column: a record that is filled field by field takes longer than the hash of its text.
    records["id"] = [high_and_low(int(sample.id, 16)) for sample in samples]
    for name in ("offset", "size", "xxh3"):
        records[name] = [sample.row[name] for sample in samples]
    records["text"] = [high_and_low(value) for value in hashes]
    contents = map(_content, hashes, (sample.images for sample in samples))
    records["content"] = [high_and_low(value) for value in contents]
    records["area"] = [sample.area for sample in samples]
    records["characters"] = [len(text) for text in texts]
    records["conversation"] = [sample.row["kind"] == "conversation" for sample in samples]
    records["numbers"] = [
        xxh3_64_intdigest(numbers(sample.text).encode()) if sample.row["kind"] == "conversation" else 0
        for sample in samples
    ]
    records["scores"] = np.array([sample.scores for sample in samples], np.float32).reshape(len(samples), -1)
    counts = np.array([len(sample.images) for sample in samples], np.int64)
    records["images"], records["image"] = counts, np.cumsum(counts) - counts
    records["heldout"] = shard.split == "heldout"
    records["live"] = [sample.filtered.finding is None for sample in samples]
    records["masked"] = [sample.filtered.masked is not None for sample in samples]
    records["measures"] = [[sample.filtered.scores.get(name, np.nan) for name in MEASURES] for sample in samples]
    if config.near:
        words = hash_words(texts)
        records["words"] = words.counts
        records["signature"] = signatures_of(words, config.near)
    return Features(records, np.concatenate([sample.images for sample in samples]))


def _content(text: int, images: ImageHashes) -> int:
    """The hash of a text's hash and of the pixels of images."""
    if not len(images):
        return text
    return xxh3_128_intdigest(text.to_bytes(16, "big") + images["pixels"].tobytes())
