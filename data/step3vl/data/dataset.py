"""The committed dataset: a folder of shards and, written last, the `dataset.json` that makes them exist.

A shard comes into being whole, and a reader believes only what `dataset.json` names. A build that dies therefore
leaves nothing half visible. Every sample is checked against the index as it is read.
"""

import fnmatch
import hashlib
import importlib.util
import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3
from pydantic import ValidationError
from tokenizers import Tokenizer
from xxhash import xxh3_64_intdigest

from step3vl.data.checks import Checks
from step3vl.data.crops import ImageSpec
from step3vl.data.errors import UserError
from step3vl.data.index import SCHEMA, index_bytes, index_row, open_index, row_json
from step3vl.data.ledger import Step
from step3vl.data.manifest import MANIFEST, Counting, Manifest, ShardInfo, Split, TaskTotal
from step3vl.data.sample import EXTENSION, Sample
from step3vl.data.store import DEFAULT, Place, Store, StoreConfig
from step3vl.data.tar import TarWriter, archive_size, split_sample
from step3vl.data.tokens import fingerprint


class DamagedSample(UserError):
    """Bytes that are not those which were committed. The rest of the dataset may be sound, so a reader may skip it."""


def split_of(sample_id: str, heldout: float) -> Split:
    """Train or heldout, by the id alone: the same sample is on the same side in every build."""
    return "heldout" if int(sample_id[:8], 16) < heldout * 2**32 else "train"


def shard_of(sample_id: str, shards: int) -> int:
    """The shard of a sample within its split, by the id alone."""
    return int(sample_id[8:16], 16) % shards


def shard_name(name: str, split: Split, index: int, count: int) -> str:
    return f"{name}-{split}-{index:05d}-of-{count:05d}.tar"


def write_shard(
    root: Path | str, name: str, split: Split, samples: Iterable[Sample], store: StoreConfig = DEFAULT
) -> ShardInfo:
    """Write `root/shards/NAME` with its `.idx` and Parquet index in one pass.

    Samples must come in ascending order of id, each once, with their tokens counted; the bytes of their pictures are
    read as they are written, one sample at a time. Nothing is visible under its final name before it is whole.
    """
    files = Store(str(root), store)
    path = f"shards/{name}"
    rows: list[dict[str, Any]] = []
    with files.create(path) as file:
        writer = TarWriter(file)
        for sample in samples:
            if rows and sample.id <= rows[-1]["id"]:
                raise ValueError(f"samples of {name} are not in strictly ascending order of id at {sample.id}")
            pictures = [(EXTENSION[image.format], image.read()) for image in sample.images]
            rows.append(index_row(sample, writer.add(sample.id, row_json(sample.to_row()), pictures)))
        digest, offsets = writer.finish()
        index = index_bytes(rows)
        size = struct.unpack("<Q", offsets[-8:])[0]
        info = ShardInfo(
            path=path,
            split=split,
            samples=len(rows),
            size=archive_size(size),
            blake3=digest,
            index_blake3=blake3(index).hexdigest(),
            text_tokens=sum(row["text_tokens"] for row in rows),
            image_tokens=sum(row["image_tokens"] for row in rows),
        )
        files.put(info.offsets_path, offsets)
        files.put(info.index_path, index)
    return info


def commit(
    root: Path | str,
    *,
    name: str,
    shards: Iterable[ShardInfo],
    ledger: Iterable[Step],
    counting: Counting,
    config: dict[str, Any],
    code_version: str,
    store: StoreConfig = DEFAULT,
) -> "Dataset":
    """Write `dataset.json` last. Raises ValueError when the ledger does not balance."""
    files = Store(str(root), store)
    ordered = tuple(sorted(shards, key=lambda shard: shard.path))
    steps = tuple(ledger)
    for step in steps:
        if step.balance:
            raise ValueError(f"step {step.name} does not balance: {step.balance:+d} of {step.read} records")
    manifest = Manifest(
        name=name,
        shards=ordered,
        tasks=tuple(_task_totals(files, ordered)),
        ledger=steps,
        counting=counting,
        config=config,
        code_version=code_version,
    )
    files.sweep("shards")
    files.put(MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
    return Dataset(str(root), manifest, store)


def _task_totals(files: Store, shards: Iterable[ShardInfo]) -> Iterator[TaskTotal]:
    totals: dict[tuple[str, str, str], np.ndarray] = {}
    for shard in shards:
        with files.open(shard.index_path, shard.index_blake3) as file:
            table = open_index(file).read(columns=["task", "kind", "text_tokens", "image_tokens"])
        sums = [("task", "count"), ("text_tokens", "sum"), ("image_tokens", "sum")]
        for row in table.group_by(["task", "kind"]).aggregate(sums).to_pylist():
            key = shard.split, row["task"], row["kind"]
            counts = np.array([row["task_count"], row["text_tokens_sum"], row["image_tokens_sum"]], np.int64)
            totals[key] = totals[key] + counts if key in totals else counts
    for (split, task, kind), counts in sorted(totals.items()):
        samples, text_tokens, image_tokens = counts.tolist()
        yield TaskTotal(
            split=cast(Split, split),
            task=task,
            kind=kind,
            samples=samples,
            text_tokens=text_tokens,
            image_tokens=image_tokens,
        )


class Dataset:
    """A committed dataset at a local path or any fsspec URL."""

    def __init__(self, url: str, manifest: Manifest, store: StoreConfig = DEFAULT) -> None:
        self.url = url
        self.manifest = manifest
        self.files = Store(url, store)
        self._checks = Checks(self._places)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.manifest, self.files.config)

    @classmethod
    def open(cls, url: str | Path, store: StoreConfig = DEFAULT) -> Self:
        """Raises UserError when there is no committed dataset, or `dataset.json` is damaged; StoreError when the
        store does not answer."""
        try:
            data = Store(str(url), store).read_all(MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"no dataset at {url}: {MANIFEST} is missing, so nothing was committed there; "
                "build it with `step3vl corpus build`"
            ) from None
        try:
            manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise UserError(
                f"{url}/{MANIFEST} is damaged at {where}: {first['msg']}; build the dataset again"
            ) from None
        return cls(str(url), manifest, store)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what decides every byte that a reader gets: the shards with their hashes, tokenizer and sizes.

        A build of the same samples by newer code, or under another name, has the same fingerprint.
        """
        counting = self.manifest.counting
        named = {
            "shards": self.manifest.model_dump(mode="json", include={"shards"})["shards"],
            "tokenizer": counting.tokenizer_sha256,
            "sizes": counting.image.sizes,
        }
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    @property
    def tokenizer(self) -> str:
        """What to give to `load_tokenizer` for the tokenizer that counted this dataset."""
        name = self.manifest.counting.tokenizer
        return name if name == "qwen3" or Path(name).is_absolute() else f"{self.url}/{name}"

    def check_counting(self, tokenizer: Tokenizer, spec: ImageSpec) -> None:
        """Raises UserError when the index was counted for another tokenizer or sizes, or with limits above these."""
        counting = self.manifest.counting
        if counting.tokenizer_sha256 != fingerprint(tokenizer):
            raise UserError(
                f"{self.url} was counted with the tokenizer {counting.tokenizer}, not with this one: "
                f"build it again or use {self.tokenizer}"
            )
        if not spec.takes(counting.image):
            raise UserError(
                f"{self.url} was counted for pictures of {counting.image!r}, and {spec!r} does not take them all: "
                "give the same sizes and no lower limits, or build it again"
            )

    def index(
        self,
        columns: list[str] | None = None,
        *,
        split: Split | None = None,
        kind: str | None = None,
        task: str | None = None,
    ) -> pa.Table:
        """Index rows of all shards in order, with the number of their shard as column `shard`.

        `task` is a shell pattern such as `ocr.*`. It holds all rows at once; `index_batches` does not.
        """
        batches = self.index_batches(columns, split=split, kind=kind, task=task)
        return pa.Table.from_batches(batches, _schema(columns))

    def index_batches(
        self,
        columns: list[str] | None = None,
        *,
        split: Split | None = None,
        kind: str | None = None,
        task: str | None = None,
        rows: int = 1 << 16,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of `index` in the same order, in batches of at most `rows`, none of them empty.

        It holds one shard's index file, if it is remote, and one batch.
        """
        chosen = SCHEMA.names if columns is None else columns
        filters = [name for name, value in (("kind", kind), ("task", task)) if value is not None]
        wanted = [*dict.fromkeys([*chosen, *filters])]
        schema = _schema(columns)
        for number, shard in enumerate(self.manifest.shards):
            if split is not None and shard.split != split:
                continue
            with self._index_of(number) as index:
                for batch in index.iter_batches(batch_size=rows, columns=wanted):
                    if kind is not None:
                        batch = batch.filter(pc.equal(batch["kind"], kind))
                    if task is not None:
                        names = [one for one in pc.unique(batch["task"]).to_pylist() if fnmatch.fnmatchcase(one, task)]
                        batch = batch.filter(pc.is_in(batch["task"], value_set=pa.array(names, pa.string())))
                    if len(batch):
                        numbers = pa.array(np.full(len(batch), number, np.int32))
                        arrays = [*(batch[name] for name in chosen), numbers]
                        yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def fetch(self, shard: int, offset: int, size: int) -> bytes:
        """The bytes of one sample as they stand in its shard, whose place is as in the index.

        Raises DamagedSample when they are not the bytes that the index was made with, and StoreError when the store
        does not answer.
        """
        info = self.manifest.shards[shard]
        check = self._checks.of(shard, offset, size)
        if check is None:
            raise UserError(f"{self.url}/{info.path} has no sample of {size} bytes at byte {offset}")
        place = Place(info.path, offset, offset + size, of=info.size, version=info.blake3)
        try:
            data = self.files.read(place)
            whole = xxh3_64_intdigest(data) == check
            if not whole and self.files.forget(place):
                data = self.files.read(place)
                whole = xxh3_64_intdigest(data) == check
        except FileNotFoundError:
            raise self._damaged(shard, offset, "the file is missing") from None
        if len(data) != size:
            raise self._damaged(shard, offset, f"the file ends {size - len(data)} bytes early")
        if not whole:
            raise self._damaged(shard, offset, "the bytes are not those that were committed")
        return data

    def read(self, shard: int, offset: int, size: int) -> Sample:
        """One sample with its pictures' bytes. Raises as `fetch` does."""
        data = self.fetch(shard, offset, size)
        try:
            row, pictures = split_sample(data)
            for image, picture in zip(row.get("images", []), pictures, strict=True):
                image["data"] = picture
            return Sample.from_row(row)
        except ValueError as error:
            raise self._damaged(shard, offset, str(error)) from None

    def _damaged(self, shard: int, offset: int, reason: str) -> DamagedSample:
        path = self.manifest.shards[shard].path
        return DamagedSample(
            f"{self.url}/{path} at byte {offset}: {reason}; see what else is damaged with `step3vl corpus verify`"
        )

    def samples(
        self, *, split: Split | None = None, kind: str | None = None, task: str | None = None
    ) -> Iterator[Sample]:
        """Samples in the order of the shards."""
        for batch in self.index_batches(["offset", "size"], split=split, kind=kind, task=task):
            for row in batch.to_pylist():
                yield self.read(row["shard"], row["offset"], row["size"])

    def shard_index(self, shard: int, columns: list[str]) -> pa.Table:
        """These columns of the index of one shard. Raises as `index` does."""
        with self._index_of(shard) as index:
            return index.read(columns=columns).select(columns)

    def _places(self, shard: int) -> pa.Table:
        return self.shard_index(shard, ["offset", "size", "xxh3"])

    @contextmanager
    def _index_of(self, shard: int) -> Iterator[pq.ParquetFile]:
        """The index of a shard. Whatever is wrong with the file becomes a UserError."""
        info = self.manifest.shards[shard]
        try:
            with self.files.open(info.index_path, info.index_blake3) as file:
                yield open_index(file)
        except FileNotFoundError:
            raise UserError(
                f"{self.url}/{info.index_path} is named by {MANIFEST} but missing; restore it or build again"
            ) from None
        except (OSError, KeyError, pa.ArrowException) as error:
            raise UserError(f"{self.url}/{info.index_path} is damaged: {error}; restore it or build again") from None


def _schema(columns: list[str] | None) -> pa.Schema:
    """The index' columns, or these of them, and `shard`."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return schema.append(pa.field("shard", pa.int32(), nullable=False))


def code_version(*packages: str) -> str:
    """A hash of the Python sources of the packages: results are stamped with it and stale ones found by it."""
    digest = hashlib.sha256()
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ValueError(f"no package {package}")
        for folder in spec.submodule_search_locations or []:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
