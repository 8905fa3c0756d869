"""The committed dataset: a folder of shards and, written last, the `dataset.json` that makes them exist.

A shard is written under a temporary name, synced, and renamed; a reader believes only what `dataset.json` names. A
build that dies therefore leaves nothing half visible.
"""

import fnmatch
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, ValidationError
from tokenizers import Tokenizer

from step3vl.data.config import Config
from step3vl.data.crops import ImageSpec
from step3vl.data.errors import UserError
from step3vl.data.files import sync_folder, write_durably
from step3vl.data.index import SCHEMA, index_row
from step3vl.data.ledger import Step
from step3vl.data.sample import EXTENSION, Sample
from step3vl.data.tar import TarWriter, split_sample
from step3vl.data.tokens import fingerprint

MANIFEST = "dataset.json"
Split = Literal["train", "heldout"]


class ShardInfo(Config):
    """One committed shard; `path` is relative to the dataset, and `.idx` and the index stand beside it."""

    path: str
    split: Split
    samples: int
    size: int
    sha256: str
    index_sha256: str
    text_tokens: int
    image_tokens: int

    @property
    def index_path(self) -> str:
        return self.path.removesuffix(".tar") + ".parquet"


class Counting(Config):
    """What the token counts of the index were made with."""

    tokenizer: str  # a name or a path; relative paths start at the dataset
    tokenizer_sha256: str
    image: ImageSpec


class TaskTotal(Config):
    split: Split
    task: str
    kind: str
    samples: int
    text_tokens: int
    image_tokens: int


class Manifest(Config):
    """The content of `dataset.json`."""

    format: Literal["step3vl-dataset-1"] = "step3vl-dataset-1"
    name: str
    shards: tuple[ShardInfo, ...]
    tasks: tuple[TaskTotal, ...]
    ledger: tuple[Step, ...]
    counting: Counting
    config: dict[str, Any] = Field(default_factory=dict)
    code_version: str


def split_of(sample_id: str, heldout: float) -> Split:
    """Train or heldout, by the id alone: the same sample is on the same side in every build."""
    return "heldout" if int(sample_id[:8], 16) < heldout * 2**32 else "train"


def shard_of(sample_id: str, shards: int) -> int:
    """The shard of a sample within its split, by the id alone."""
    return int(sample_id[8:16], 16) % shards


def shard_name(name: str, split: Split, index: int, count: int) -> str:
    return f"{name}-{split}-{index:05d}-of-{count:05d}.tar"


def write_shard(root: Path, name: str, split: Split, samples: Iterable[Sample]) -> ShardInfo:
    """Write `root/shards/NAME` with its `.idx` and Parquet index in one pass, and rename all three into place.

    Samples must come in ascending order of id, each once, with their tokens counted; the bytes of their pictures are
    read as they are written, one sample at a time. Nothing is visible under its final name before it is whole.
    """
    folder = root / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    rows: list[dict[str, Any]] = []
    with temporary.open("wb", buffering=1 << 20) as file:
        writer = TarWriter(file)
        for sample in samples:
            if rows and sample.id <= rows[-1]["id"]:
                raise ValueError(f"samples of {name} are not in strictly ascending order of id at {sample.id}")
            row = sample.to_row()
            for picture in row.get("images", []):
                picture.pop("at", None)
            meta = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
            pictures = [(EXTENSION[image.format], image.read()) for image in sample.images]
            rows.append(index_row(sample, writer.add(sample.id, meta, pictures)))
        sha256, offsets = writer.finish()
        file.flush()
        os.fsync(file.fileno())
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    index_bytes = sink.getvalue().to_pybytes()
    write_durably(path.with_name(name + ".idx"), offsets)
    write_durably(path.with_suffix(".parquet"), index_bytes)
    size = temporary.stat().st_size
    temporary.replace(path)
    sync_folder(folder)
    return ShardInfo(
        path=f"shards/{name}",
        split=split,
        samples=len(rows),
        size=size,
        sha256=sha256,
        index_sha256=hashlib.sha256(index_bytes).hexdigest(),
        text_tokens=sum(row["text_tokens"] for row in rows),
        image_tokens=sum(row["image_tokens"] for row in rows),
    )


def commit(
    root: Path,
    *,
    name: str,
    shards: Iterable[ShardInfo],
    ledger: Iterable[Step],
    counting: Counting,
    config: dict[str, Any],
    code_version: str,
) -> "Dataset":
    """Write `dataset.json` last. Raises ValueError when the ledger does not balance."""
    ordered = tuple(sorted(shards, key=lambda shard: shard.path))
    steps = tuple(ledger)
    for step in steps:
        if step.balance:
            raise ValueError(f"step {step.name} does not balance: {step.balance:+d} of {step.read} records")
    manifest = Manifest(
        name=name,
        shards=ordered,
        tasks=tuple(_task_totals(root, ordered)),
        ledger=steps,
        counting=counting,
        config=config,
        code_version=code_version,
    )
    write_durably(root / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
    return Dataset(str(root), manifest)


def _task_totals(root: Path, shards: Iterable[ShardInfo]) -> Iterator[TaskTotal]:
    columns = ["task", "kind", "text_tokens", "image_tokens"]
    tables = []
    for shard in shards:
        table = pq.read_table(root / shard.index_path, columns=columns)
        tables.append(table.append_column("split", pa.array([shard.split] * len(table), pa.string())))
    if not tables:
        return
    grouped = pa.concat_tables(tables).group_by(["split", "task", "kind"])
    totals = grouped.aggregate([("task", "count"), ("text_tokens", "sum"), ("image_tokens", "sum")])
    for row in totals.sort_by([("split", "ascending"), ("task", "ascending"), ("kind", "ascending")]).to_pylist():
        yield TaskTotal(
            split=row["split"],
            task=row["task"],
            kind=row["kind"],
            samples=row["task_count"],
            text_tokens=row["text_tokens_sum"],
            image_tokens=row["image_tokens_sum"],
        )


class Dataset:
    """A committed dataset at a local path or any fsspec URL."""

    def __init__(self, url: str, manifest: Manifest) -> None:
        self.url = url
        self.manifest = manifest
        self._fs, self._root = fsspec.core.url_to_fs(url)

    @classmethod
    def open(cls, url: str | Path) -> Self:
        """Raises UserError when there is no committed dataset, or `dataset.json` is damaged."""
        fs, root = fsspec.core.url_to_fs(str(url))
        try:
            data = fs.cat_file(f"{root}/{MANIFEST}")
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
        return cls(str(url), manifest)

    @cached_property
    def sha256(self) -> str:
        """Of the manifest: names this dataset's exact content."""
        return hashlib.sha256(self.manifest.model_dump_json().encode()).hexdigest()

    @property
    def tokenizer(self) -> str:
        """What to give to `load_tokenizer` for the tokenizer that counted this dataset."""
        name = self.manifest.counting.tokenizer
        return name if name == "qwen3" or Path(name).is_absolute() else f"{self.url}/{name}"

    def check_counting(self, tokenizer: Tokenizer, spec: ImageSpec) -> None:
        """Raises UserError when the index was counted for another tokenizer or other picture sizes."""
        counting = self.manifest.counting
        if counting.tokenizer_sha256 != fingerprint(tokenizer):
            raise UserError(
                f"{self.url} was counted with the tokenizer {counting.tokenizer}, not with this one: "
                f"build it again or use {self.tokenizer}"
            )
        if counting.image != spec:
            raise UserError(f"{self.url} was counted for pictures of {counting.image!r}, not {spec!r}: build it again")

    def index(
        self,
        columns: list[str] | None = None,
        *,
        split: Split | None = None,
        kind: str | None = None,
        task: str | None = None,
    ) -> pa.Table:
        """Index rows of all shards in order, with the number of their shard as column `shard`.

        `task` is a shell pattern such as `ocr.*`.
        """
        filters = [name for name, value in (("kind", kind), ("task", task)) if value is not None]
        wanted = None if columns is None else [*dict.fromkeys([*columns, *filters])]
        tables = []
        for number, shard in enumerate(self.manifest.shards):
            if split is not None and shard.split != split:
                continue
            table = pq.read_table(self._file(shard.index_path), columns=wanted)
            if kind is not None:
                table = table.filter(pc.equal(table["kind"], kind))
            if task is not None:
                names = [name for name in pc.unique(table["task"]).to_pylist() if fnmatch.fnmatchcase(name, task)]
                table = table.filter(pc.is_in(table["task"], value_set=pa.array(names, pa.string())))
            table = table.append_column("shard", pa.array([number] * len(table), pa.int32()))
            tables.append(table if columns is None else table.select([*columns, "shard"]))
        if tables:
            return pa.concat_tables(tables)
        schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
        return schema.append(pa.field("shard", pa.int32())).empty_table()

    def read(self, shard: int, offset: int, size: int) -> Sample:
        """One sample with its pictures' bytes. Raises UserError naming the shard when the bytes are damaged."""
        path = self.manifest.shards[shard].path
        try:
            data = self._fs.cat_file(f"{self._root}/{path}", start=offset, end=offset + size)
            if len(data) != size:
                raise ValueError(f"the file ends {size - len(data)} bytes early")
            row, pictures = split_sample(data)
            for image, picture in zip(row.get("images", []), pictures, strict=True):
                image["data"] = picture
            return Sample.from_row(row)
        except (FileNotFoundError, ValueError) as error:
            raise UserError(
                f"{self.url}/{path} at byte {offset}: {error}; verify it with `step3vl corpus inspect`"
            ) from None

    def samples(
        self, *, split: Split | None = None, kind: str | None = None, task: str | None = None
    ) -> Iterator[Sample]:
        """Samples in the order of the shards."""
        index = self.index(["offset", "size"], split=split, kind=kind, task=task)
        for shard, offset, size in zip(
            *(index[name].to_pylist() for name in ("shard", "offset", "size")), strict=True
        ):
            yield self.read(shard, offset, size)

    def verify(self) -> list[str]:
        """Re-hash every shard and index. Returns one line for each problem; an empty list is good."""
        problems = []
        for shard in self.manifest.shards:
            for path, expected in ((shard.path, shard.sha256), (shard.index_path, shard.index_sha256)):
                try:
                    with self._fs.open(f"{self._root}/{path}", "rb") as file:
                        found = hashlib.file_digest(file, "sha256").hexdigest()
                except FileNotFoundError:
                    problems.append(f"{path} is missing")
                    continue
                if found != expected:
                    problems.append(
                        f"{path} has changed since it was committed (SHA-256 {found[:12]}, not {expected[:12]})"
                    )
        return problems

    def _file(self, path: str) -> pa.NativeFile | Any:
        try:
            return self._fs.open(f"{self._root}/{path}", "rb")
        except FileNotFoundError:
            raise UserError(
                f"{self.url}/{path} is named by {MANIFEST} but missing; restore it or build again"
            ) from None


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
