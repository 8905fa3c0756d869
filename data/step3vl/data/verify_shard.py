"""One shard, held against its index, its offsets, its hash and itself; past a fault the search goes on."""

import hashlib
import io
import json
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
from PIL import Image as PILImage
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset import Dataset
from step3vl.data.faults import Fault, Problem, Problems
from step3vl.data.index import index_row, open_index
from step3vl.data.manifest import MANIFEST
from step3vl.data.sample import EXTENSION, FORMAT, Image, Sample
from step3vl.data.store import StoreError
from step3vl.data.tar import KEY, Entry
from step3vl.data.walk import Gap, Member, Window, walk

_LARGEST_JSON = 1 << 26
_LARGEST_SAMPLE = 1 << 30


class ShardReport(NamedTuple):
    """What was found in one shard: its samples' keys, 16 bytes each, and samples and tokens by task and kind."""

    problems: tuple[Problem, ...]
    samples: int
    keys: bytes
    totals: Counter[tuple[str, str, str]]  # (task, kind, what): what is samples, text or image


def verify_shard(dataset: Dataset, number: int, pictures: bool) -> ShardReport:
    """See `verify`. Raises nothing that the shard or its store can be the reason of."""
    return _Search(dataset, number, pictures).run()


class _Search:
    """The state of a search: the samples found so far, and the index row that is due next."""

    def __init__(self, dataset: Dataset, number: int, pictures: bool) -> None:
        self._files, self._shard, self._pictures = dataset.files, dataset.manifest.shards[number], pictures
        self._problems = Problems()
        self._keys: list[str] = []
        self._starts: list[int] = []
        self._totals: Counter[tuple[str, str, str]] = Counter()
        self._indexed = True
        self._rows = self._index()
        self._row: dict[str, Any] | None = None

    def run(self) -> ShardReport:
        try:
            self._archive()
        except FileNotFoundError:
            self._add("missing", f"{MANIFEST} names it")
        except StoreError as error:
            self._add("unreadable", str(error))
        for what, said in (
            ("samples", self._shard.samples),
            ("text", self._shard.text_tokens),
            ("image", self._shard.image_tokens),
        ):
            found = sum(count for (_, _, counted), count in self._totals.items() if counted == what)
            if found != said:
                kind: Fault = "count" if what == "samples" else "tokens"
                self._add(kind, f"{MANIFEST} says {said} {what}, it holds {found}")
        keys = b"".join(map(_digest, self._keys))
        return ShardReport(self._problems.rows(), len(self._keys), keys, self._totals)

    def _add(self, kind: Fault, detail: str, file: str | None = None) -> None:
        self._problems.add(file or self._shard.path, kind, detail)

    def _archive(self) -> None:
        path = self._shard.path
        size = self._files.size(path)
        if size < self._shard.size:
            self._add("truncated", f"{size} bytes; {self._shard.size} were committed")
        window = Window(lambda start, stop: self._files.part(path, start, stop), size)
        self._row = next(self._rows, None)
        group: list[Member] = []
        end = 0
        for found in walk(window):
            if not isinstance(found, Member) or found.name.endswith(".json"):
                self._sample(window, group)
                group = []
                window.release(found.offset)
            if isinstance(found, Member):
                end = found.stop
                if self._allowed(found, group):
                    group.append(found)
            elif isinstance(found, Gap):
                self._add("truncated" if found.cut else "archive", found.reason)
        while self._row is not None:
            self._skip_row(self._row)
        if window.hexdigest() != self._shard.blake3:
            self._add("checksum", f"BLAKE3 {window.hexdigest()[:16]}; {self._shard.blake3[:16]} was committed")
        self._offsets(end)

    def _allowed(self, member: Member, group: list[Member]) -> bool:
        """Whether a member may stand where it does, as part of a sample."""
        key = member.name.partition(".")[0]
        if not KEY.fullmatch(key) or ".." in member.name:
            self._add("name", f"{member.name!r} at byte {member.offset}")
        elif not member.regular:
            self._add("archive", f"{member.name} is no regular file")
        elif not group and not member.name.endswith(".json"):
            self._add("archive", f"{member.name} stands before the JSON of its sample")
        elif group and key != _key(group):
            self._add("archive", f"{member.name} stands among the members of {_key(group)}")
        else:
            return True
        return False

    def _sample(self, window: Window, group: list[Member]) -> None:
        if not group:
            return
        meta, *pictures = group
        key, start, stop = _key(group), meta.offset, group[-1].stop
        if self._keys and key < self._keys[-1]:
            self._add("order", f"{key} stands after {self._keys[-1]}")
        self._keys.append(key)
        self._starts.append(start)
        row = self._row_at(start, key)
        if meta.size > _LARGEST_JSON or stop - start > _LARGEST_SAMPLE:
            self._add("json", f"{key}: {meta.size} bytes of JSON in a sample of {stop - start} bytes")
            return
        data = memoryview(window.get(start, stop))
        payloads = [data[one.payload - start : one.payload - start + one.size] for one in group]
        check = xxh3_64_intdigest(data)
        if row is not None and row.get("xxh3") != check:
            self._add("checksum", f"sample {key} is not the one that was committed")
        sample = self._parse(key, bytes(payloads[0]))
        if sample is None:
            return
        self._look_at_pictures(sample, pictures, payloads[1:])
        if sample.tokens is None:
            self._add("tokens", f"{key} has no token count")
            return
        for what, count in (("samples", 1), ("text", sample.tokens.text), ("image", sample.tokens.image)):
            self._totals[sample.task, sample.kind, what] += count
        entry = Entry(start, stop - start, check, meta.size, [p.payload for p in pictures], [p.size for p in pictures])
        if row is not None:
            wrong = [name for name, value in index_row(sample, entry).items() if row.get(name) != value]
            if wrong := [name for name in wrong if name != "xxh3"]:
                self._add("index", f"{key}: another {', '.join(wrong)}", self._shard.index_path)

    def _parse(self, key: str, meta: bytes) -> Sample | None:
        try:
            sample = Sample.from_row(json.loads(meta))
        except (ValueError, RecursionError) as error:
            self._add("json", f"{key}: {type(error).__name__}: {str(error)[:200]}")
            return None
        if sample.id != key or sample.content_id() != key:
            self._add("json", f"{key}: the key is not the hash of the content")
        return sample

    def _look_at_pictures(self, sample: Sample, members: list[Member], payloads: list[memoryview]) -> None:
        names = [f"{sample.id}.{at}.{EXTENSION[image.format]}" for at, image in enumerate(sample.images)]
        if names != [member.name for member in members]:
            found = ", ".join(member.name for member in members) or "none"
            self._add("image", f"{sample.id}: pictures {', '.join(names) or 'none'} are due, found {found}")
            return
        for name, image, payload in zip(names, sample.images, payloads, strict=True):
            fault = picture_fault(image, bytes(payload), self._pictures)
            if fault is not None:
                self._add(fault.kind, f"{name}: {fault.detail}")

    def _index(self) -> Iterator[dict[str, Any]]:
        """The rows of the index in order, as far as it can be read."""
        path = self._shard.index_path
        try:
            if self._files.hash(path) != self._shard.index_blake3:
                self._add("checksum", "not the file that was committed", path)
            with self._files.open(path, None) as file:
                for batch in open_index(file).iter_batches(batch_size=1024):
                    yield from batch.to_pylist()
        except FileNotFoundError:
            self._indexed = False
            self._add("missing", f"{MANIFEST} names {self._shard.path}", path)
        except StoreError as error:
            self._indexed = False
            self._add("unreadable", str(error), path)
        except (OSError, ValueError, pa.ArrowException) as error:
            self._indexed = False
            self._add("index", f"it cannot be read: {error}", path)

    def _row_at(self, start: int, key: str) -> dict[str, Any] | None:
        """The index row of the sample at a byte; rows of places before it point at nothing."""
        while self._row is not None and self._row["offset"] < start:
            self._skip_row(self._row)
        row = self._row
        if row is None or row["offset"] > start:
            if self._indexed:
                self._add("index", f"no row for {key} at byte {start}", self._shard.index_path)
            return None
        self._row = next(self._rows, None)
        return row

    def _skip_row(self, row: dict[str, Any]) -> None:
        self._add("index", f"{row['id']} at byte {row['offset']}: no sample begins there", self._shard.index_path)
        self._row = next(self._rows, None)

    def _offsets(self, end: int) -> None:
        path = self._shard.offsets_path
        try:
            found = self._files.read_all(path)
        except FileNotFoundError:
            self._add("missing", f"{MANIFEST} names {self._shard.path}", path)
            return
        if found != struct.pack(f"<{len(self._starts) + 1}Q", *self._starts, end):
            self._add("offsets", f"{len(found)} bytes, not the offsets of these {len(self._starts)} samples", path)


class PictureFault(NamedTuple):
    kind: Fault
    detail: str


def picture_fault(image: Image, data: bytes, decode: bool) -> PictureFault | None:
    """What is wrong with a picture's bytes, beside what its sample says of it. The header is read before any pixel."""
    if hashlib.sha256(data).hexdigest() != image.sha256:
        return PictureFault("image", "not the bytes that the sample was made with (SHA-256)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            with PILImage.open(io.BytesIO(data)) as picture:
                kind, size = FORMAT.get(picture.format or "", picture.format), picture.size
            if kind != image.format:
                return PictureFault("image", f"it is {kind}; its sample says {image.format}")
            if sorted(size) != sorted((image.width, image.height)):  # the orientation may swap them
                return PictureFault(
                    "image", f"it is {size[0]}x{size[1]}; its sample says {image.width}x{image.height}"
                )
            if decode:
                whole = Image.from_bytes(data)
                if (whole.width, whole.height) != (image.width, image.height):
                    return PictureFault("image", "its sample has width and height the other way round")
    except PILImage.DecompressionBombError as error:
        return PictureFault("bomb", str(error))
    except Exception as error:  # Pillow's readers raise whatever garbled bytes lead them into
        return PictureFault("image", f"{type(error).__name__}: {error}")
    return None


def _key(group: list[Member]) -> str:
    return group[0].name.removesuffix(".json")


def _digest(key: str) -> bytes:
    """16 bytes that stand for a key: those it names, where it is an id."""
    try:
        found = bytes.fromhex(key)
    except ValueError:
        found = b""
    return found if len(found) == 16 else hashlib.blake2b(key.encode(), digest_size=16).digest()
