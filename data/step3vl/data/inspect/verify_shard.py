"""Verification of one shard against its index, its offsets and its hash; a problem does not stop it."""

import hashlib
import io
import json
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image as PILImage
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset.index import ShardRow, index_row, open_index
from step3vl.data.dataset.manifest import MANIFEST, ShardInfo
from step3vl.data.dataset.partitions import ids_from
from step3vl.data.inspect.problems import DatasetProblem, ProblemCounter, ProblemKind
from step3vl.data.sample.parts import EXTENSION, FORMAT, Image
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import StoreError
from step3vl.data.storage.tar import KEY, TarEntry
from step3vl.data.storage.tar_scan import HashingReader, TarGap, TarMember, scan_tar

_MAX_JSON = 1 << 26
_MAX_SAMPLE = 1 << 30


class ShardReport(NamedTuple):
    """The result for one shard.

    Attributes:
        problems: Its problems.
        samples: Number of samples.
        keys: Their keys, as rows of `ID`.
        totals: Samples, text tokens and image tokens by (task, kind, quantity).
    """

    problems: tuple[DatasetProblem, ...]
    samples: int
    keys: NDArray[Any]
    totals: Counter[tuple[str, str, str]]


def verify_shard(files: Store, decode_images: bool, shard: ShardInfo) -> ShardReport:
    """Verify a shard, see `verify`. No state of the shard or its store raises an error.

    Args:
        files: Of the dataset.
        decode_images: Whether images are decoded.
        shard: What `dataset.json` has about it.
    """
    return _ShardCheck(files, decode_images, shard).run()


class _ShardCheck:
    """The state of a verification: the samples so far, and the next index row."""

    def __init__(self, files: Store, decode_images: bool, shard: ShardInfo) -> None:
        self._files, self._decode, self._shard = files, decode_images, shard
        self._problems = ProblemCounter()
        self._keys: list[str] = []
        self._starts: list[int] = []
        self._totals: Counter[tuple[str, str, str]] = Counter()
        self._index_readable = True
        self._rows = self._index()
        self._row: dict[str, Any] | None = None

    def run(self) -> ShardReport:
        try:
            self._archive()
        except FileNotFoundError:
            self._add("missing", f"{MANIFEST} lists it")
        except StoreError as error:
            self._add("unreadable", str(error))
        for quantity, listed in (
            ("samples", self._shard.samples),
            ("text", self._shard.text_tokens),
            ("image", self._shard.image_tokens),
        ):
            total = sum(count for (_, _, counted), count in self._totals.items() if counted == quantity)
            if total != listed:
                kind: ProblemKind = "count" if quantity == "samples" else "tokens"
                self._add(kind, f"{MANIFEST} lists {listed} {quantity}, the shard has {total}")
        keys = ids_from(b"".join(map(_digest, self._keys)))
        return ShardReport(self._problems.rows(), len(self._keys), keys, self._totals)

    def _add(self, kind: ProblemKind, detail: str, file: str | None = None) -> None:
        self._problems.add(file or self._shard.path, kind, detail)

    def _archive(self) -> None:
        path = self._shard.path
        size = self._files.size(path)
        if size < self._shard.size:
            self._add("truncated", f"{size} bytes; {self._shard.size} were committed")
        reader = HashingReader(lambda start, stop: self._files.part(path, start, stop), size)
        self._row = next(self._rows, None)
        group: list[TarMember] = []
        end = 0
        for item in scan_tar(reader):
            if not isinstance(item, TarMember) or item.name.endswith(".json"):
                self._sample(reader, group)
                group = []
                reader.release(item.offset)
            if isinstance(item, TarMember):
                end = item.stop
                if self._is_expected(item, group):
                    group.append(item)
            elif isinstance(item, TarGap):
                self._add("truncated" if item.truncated else "archive", item.reason)
        while self._row is not None:
            self._skip_row(self._row)
        if reader.hexdigest() != self._shard.blake3:
            self._add("checksum", f"BLAKE3 {reader.hexdigest()[:16]}; {self._shard.blake3[:16]} was committed")
        self._offsets(end)

    def _is_expected(self, member: TarMember, group: list[TarMember]) -> bool:
        """Whether a member may follow those of `group`, as part of the same sample."""
        key = member.name.partition(".")[0]
        if not KEY.fullmatch(key) or ".." in member.name:
            self._add("name", f"{member.name!r} at byte {member.offset}")
        elif not member.regular:
            self._add("archive", f"{member.name} is not a regular file")
        elif not group and not member.name.endswith(".json"):
            self._add("archive", f"{member.name} precedes the JSON of its sample")
        elif group and key != _key(group):
            self._add("archive", f"{member.name} is among the members of {_key(group)}")
        else:
            return True
        return False

    def _sample(self, reader: HashingReader, group: list[TarMember]) -> None:
        if not group:
            return
        meta, *images = group
        key, start, stop = _key(group), meta.offset, group[-1].stop
        if self._keys and key < self._keys[-1]:
            self._add("order", f"{key} follows {self._keys[-1]}")
        self._keys.append(key)
        self._starts.append(start)
        row = self._row_at(start, key)
        if meta.size > _MAX_JSON or stop - start > _MAX_SAMPLE:
            self._add("json", f"{key}: {meta.size} bytes of JSON in a sample of {stop - start} bytes")
            return
        data = memoryview(reader.get(start, stop))
        payloads = [data[member.payload - start : member.payload - start + member.size] for member in group]
        checksum = xxh3_64_intdigest(data)
        if row is not None and row.get("xxh3") != checksum:
            self._add("checksum", f"sample {key} differs from the one that was committed")
        sample = self._parse(key, bytes(payloads[0]))
        if sample is None:
            return
        self._check_images(sample, images, payloads[1:])
        if sample.tokens is None:
            self._add("tokens", f"{key} has no token count")
            return
        for quantity, count in (("samples", 1), ("text", sample.tokens.text), ("image", sample.tokens.image)):
            self._totals[sample.task, sample.kind, quantity] += count
        offsets, sizes = [member.payload for member in images], [member.size for member in images]
        entry = TarEntry(start, stop - start, checksum, meta.size, offsets, sizes)
        if row is not None:
            expected = index_row(ShardRow.of(sample, json=b""), entry)  # which does not depend on the JSON
            wrong = [name for name, value in expected.items() if row.get(name) != value]
            if wrong := [name for name in wrong if name != "xxh3"]:
                self._add("index", f"{key}: different {', '.join(wrong)}", self._shard.index_path)

    def _parse(self, key: str, meta: bytes) -> Sample | None:
        try:
            sample = Sample.from_row(json.loads(meta))
        except (ValueError, RecursionError) as error:
            self._add("json", f"{key}: {type(error).__name__}: {str(error)[:200]}")
            return None
        if sample.id != key or sample.content_id() != key:
            self._add("json", f"{key}: the key is not the hash of the content")
        return sample

    def _check_images(self, sample: Sample, members: list[TarMember], payloads: list[memoryview]) -> None:
        names = [f"{sample.id}.{at}.{EXTENSION[image.format]}" for at, image in enumerate(sample.images)]
        if names != [member.name for member in members]:
            present = ", ".join(member.name for member in members) or "none"
            self._add("image", f"{sample.id}: expected images {', '.join(names) or 'none'}, found {present}")
            return
        for name, image, payload in zip(names, sample.images, payloads, strict=True):
            problem = image_problem(image, bytes(payload), self._decode)
            if problem is not None:
                self._add(problem.kind, f"{name}: {problem.detail}")

    def _index(self) -> Iterator[dict[str, Any]]:
        """The rows of the index in order, as far as they can be read."""
        path = self._shard.index_path
        try:
            if self._files.hash(path) != self._shard.index_blake3:
                self._add("checksum", "differs from the file that was committed", path)
            with self._files.open(path, None) as file:
                for batch in open_index(file).iter_batches(batch_size=1024):
                    yield from batch.to_pylist()
        except FileNotFoundError:
            self._index_readable = False
            self._add("missing", f"{MANIFEST} lists {self._shard.path}", path)
        except StoreError as error:
            self._index_readable = False
            self._add("unreadable", str(error), path)
        except (OSError, ValueError, pa.ArrowException) as error:
            self._index_readable = False
            self._add("index", f"it cannot be read: {error}", path)

    def _row_at(self, start: int, key: str) -> dict[str, Any] | None:
        """The index row of the sample at a byte; rows of earlier bytes have no sample."""
        while self._row is not None and self._row["offset"] < start:
            self._skip_row(self._row)
        row = self._row
        if row is None or row["offset"] > start:
            if self._index_readable:
                self._add("index", f"no row for {key} at byte {start}", self._shard.index_path)
            return None
        self._row = next(self._rows, None)
        return row

    def _skip_row(self, row: dict[str, Any]) -> None:
        self._add("index", f"{row['id']} at byte {row['offset']}: no sample starts there", self._shard.index_path)
        self._row = next(self._rows, None)

    def _offsets(self, end: int) -> None:
        path = self._shard.offsets_path
        try:
            data = self._files.read_all(path)
        except FileNotFoundError:
            self._add("missing", f"{MANIFEST} lists {self._shard.path}", path)
            return
        if data != struct.pack(f"<{len(self._starts) + 1}Q", *self._starts, end):
            self._add("offsets", f"{len(data)} bytes, not the offsets of these {len(self._starts)} samples", path)


class ImageProblem(NamedTuple):
    """What is wrong with an image."""

    kind: ProblemKind
    detail: str


def image_problem(image: Image, data: bytes, decode: bool) -> ImageProblem | None:
    """Compare an image's bytes with its sample's description. The header is read before any pixel.

    Args:
        image: The description.
        data: The encoded bytes.
        decode: Whether the pixels are decoded.

    Returns:
        The first problem, or None.
    """
    if hashlib.sha256(data).hexdigest() != image.sha256:
        return ImageProblem("image", "the bytes have another SHA-256 than the sample states")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            with PILImage.open(io.BytesIO(data)) as opened:
                kind, size = FORMAT.get(opened.format or "", opened.format), opened.size
            if kind != image.format:
                return ImageProblem("image", f"it is {kind}; its sample states {image.format}")
            if sorted(size) != sorted((image.width, image.height)):  # the orientation may swap them
                return ImageProblem(
                    "image", f"it is {size[0]}x{size[1]}; its sample states {image.width}x{image.height}"
                )
            if decode:
                decoded = Image.from_bytes(data)
                if (decoded.width, decoded.height) != (image.width, image.height):
                    return ImageProblem("image", "its sample has width and height swapped")
    except PILImage.DecompressionBombError as error:
        return ImageProblem("bomb", str(error))
    except Exception as error:  # Pillow's readers raise all kinds of errors for garbled bytes
        return ImageProblem("image", f"{type(error).__name__}: {error}")
    return None


def _key(group: list[TarMember]) -> str:
    return group[0].name.removesuffix(".json")


def _digest(key: str) -> bytes:
    """16 bytes that identify a key: those of an id, or else a hash."""
    try:
        digits = bytes.fromhex(key)
    except ValueError:
        digits = b""
    return digits if len(digits) == 16 else hashlib.blake2b(key.encode(), digest_size=16).digest()
