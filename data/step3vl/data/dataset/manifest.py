"""The content of `dataset.json`: which shards exist, what they hold, and what became of every record."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from blake3 import blake3
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from step3vl.data.config import Config, explain_validation_error
from step3vl.data.dataset.index import INDEX_VERSION
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.shards import ShardInfo, ShardTable, Split
from step3vl.data.errors import UserError
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import SAMPLE_VERSION
from step3vl.data.storage.store import Store

MANIFEST = "dataset.json"
SHARDS: Literal["shards.parquet"] = "shards.parquet"
MANIFEST_VERSION = 4
MAX_LISTED = 1000
"""Shards that `dataset.json` lists itself; more are in `shards.parquet`, and the format is 4."""

_FORMAT = "step3vl-dataset-"
_MAX_TABLES = 4  # of other datasets that a process keeps
_tables: dict[str, ShardTable] = {}  # by the hash of the file, so that a process reads each once


class Counting(Config):
    """What the token counts of an index depend on."""

    tokenizer: str
    """A name or a path; relative paths start at the dataset."""

    tokenizer_sha256: str
    """`step3vl.data.tokens.fingerprint` of the tokenizer."""

    image: ImageSpec
    """Sizes and limits of images."""


class TaskTotal(Config):
    """Totals of the samples of one split, task and kind."""

    split: Split
    task: str
    kind: str
    samples: int
    text_tokens: int
    image_tokens: int


def format_of(shards: Sequence[ShardInfo]) -> str:
    """The oldest format that has so many shards."""
    return f"{_FORMAT}{3 if len(shards) <= MAX_LISTED else 4}"


class _ShardFile(Config):
    """What `dataset.json` has in place of a long list of shards."""

    path: Literal["shards.parquet"] = SHARDS
    """The table, relative to the dataset."""

    blake3: str
    """BLAKE3 of the file."""


class Manifest(Config):
    """The content of `dataset.json`.

    Format 4 has the shards in a table beside it. Format 3 has `emitted` in the ledger. Formats 2 and 1, which named
    failed records `dead`, are still read.
    """

    format: str = f"{_FORMAT}3"
    """Name and version of this file's format, see `format_of`."""

    sample_version: int = Field(default=1, le=SAMPLE_VERSION)
    """Version of the samples' JSON, see `SAMPLE_VERSION`."""

    index_version: int = Field(default=1, le=INDEX_VERSION)
    """Version of the Parquet indexes, see `INDEX_VERSION`."""

    name: str
    """Name of the dataset."""

    shards: Sequence[ShardInfo]
    """The shards, sorted by path; a file that is not listed is not part of the dataset."""

    tasks: tuple[TaskTotal, ...]
    """Totals by split, task and kind."""

    ledger: tuple[LedgerStep, ...]
    """What became of every record."""

    counting: Counting
    """What the token counts depend on."""

    config: dict[str, Any] = Field(default_factory=dict)
    """The configuration of the build."""

    code_version: str
    """Hash of the code that built the dataset, for information only."""

    @model_validator(mode="before")
    @classmethod
    def _check_versions(cls, values: Any) -> Any:
        """Refuse what a newer step3vl wrote, before its fields are read."""
        if not isinstance(values, Mapping):
            return values
        number = str(values.get("format", "")).removeprefix(_FORMAT)
        versions = [("manifest", int(number) if number.isdecimal() else None, MANIFEST_VERSION)]
        versions += [("sample", values.get("sample_version"), SAMPLE_VERSION)]
        versions += [("index", values.get("index_version"), INDEX_VERSION)]
        for name, version, newest in versions:
            if isinstance(version, int) and version > newest:
                raise ValueError(f"the {name} format has version {version}; this step3vl reads up to {newest}")
        return values

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in {f"{_FORMAT}{version}" for version in range(1, MANIFEST_VERSION + 1)}:
            raise ValueError(f"{value!r} is not a known format")
        return value

    @field_validator("shards", mode="wrap")
    @classmethod
    def _read_file(cls, value: Any, listed: Callable[[Any], Any], info: ValidationInfo) -> Any:
        """Read the table of very many shards; the context of the validation is the `Store` of the dataset."""
        if isinstance(value, Mapping):
            assert info.context is not None, "a table of shards is read from the dataset's store"
            return _read_table(info.context, _ShardFile.model_validate(value))
        return value if isinstance(value, ShardTable) else tuple(listed(value))


def write_manifest(files: Store, manifest: Manifest) -> None:
    """Write `dataset.json`, after the table of very many shards. Raises StoreError."""
    if not isinstance(manifest.shards, ShardTable):
        files.put(MANIFEST, f"{manifest.model_dump_json(indent=1)}\n".encode())
        return
    data = manifest.shards.to_parquet()
    files.put(SHARDS, data)
    file = _ShardFile(blake3=blake3(data).hexdigest())
    content = {**manifest.model_dump(mode="json", exclude={"shards"}), "shards": file.model_dump()}
    ordered = {name: content[name] for name in Manifest.model_fields}
    files.put(MANIFEST, f"{json.dumps(ordered, indent=1, ensure_ascii=False)}\n".encode())


def read_manifest(files: Store) -> Manifest:
    """Read what `write_manifest`, or an older version of it, wrote.

    Raises:
        FileNotFoundError: There is no `dataset.json`.
        UserError: It is damaged or of a newer format.
        StoreError: The store does not answer.
    """
    try:
        return Manifest.model_validate_json(files.read_all(MANIFEST), context=files)
    except ValidationError as error:
        raise UserError(
            f"{files.url}/{MANIFEST} cannot be read: {explain_validation_error(error)}; upgrade step3vl if it is "
            "newer, or else build the dataset again"
        ) from None


def _read_table(files: Store, file: _ShardFile) -> ShardTable:
    """The table of a dataset's shards. Raises ValueError where it is not the one that was committed."""
    if file.blake3 not in _tables:
        try:
            data = files.read_all(file.path, file.blake3)
        except FileNotFoundError:
            raise ValueError(f"{file.path} is missing; restore it") from None
        if blake3(data).hexdigest() != file.blake3:
            raise ValueError(f"{file.path} has other bytes than were committed; restore it")
        table = ShardTable.from_parquet(data)
        for digest in list(_tables)[: 1 - _MAX_TABLES]:
            _tables.pop(digest, None)
        _tables[file.blake3] = table
    return _tables[file.blake3]
