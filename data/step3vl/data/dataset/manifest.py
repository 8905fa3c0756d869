"""The content of `dataset.json`: which shards exist, what they hold, and what became of every record."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from step3vl.data.config import Config
from step3vl.data.dataset.index import INDEX_VERSION
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import SAMPLE_VERSION

MANIFEST = "dataset.json"
MANIFEST_VERSION = 3
_FORMAT = "step3vl-dataset-"

Split = Literal["train", "heldout"]


class ShardInfo(Config):
    """One committed shard, whose `.idx` and Parquet index are in the same folder."""

    path: str
    """Path of the tar, relative to the dataset."""

    split: Split
    """The split that its samples belong to."""

    samples: int
    """Number of samples."""

    size: int
    """Bytes of the tar."""

    blake3: str
    """BLAKE3 of the tar, as `b3sum` prints it."""

    index_blake3: str
    """BLAKE3 of the Parquet index."""

    text_tokens: int
    """Text tokens of all samples."""

    image_tokens: int
    """Image tokens of all samples."""

    @field_validator("path")
    @classmethod
    def _is_inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/") or not path.endswith(".tar"):
            raise ValueError(f"{path!r} is not the path of a .tar file inside the dataset")
        return path

    @property
    def index_path(self) -> str:
        """Path of the Parquet index, relative to the dataset."""
        return self.path.removesuffix(".tar") + ".parquet"

    @property
    def offsets_path(self) -> str:
        """Path of the `.idx`, relative to the dataset."""
        return self.path + ".idx"


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


class Manifest(Config):
    """The content of `dataset.json`.

    Format 3 has `emitted` in the ledger. Formats 2 and 1, which named failed records `dead`, are still read.
    """

    format: str = f"{_FORMAT}{MANIFEST_VERSION}"
    """Name and version of this file's format."""

    sample_version: int = Field(default=1, le=SAMPLE_VERSION)
    """Version of the samples' JSON, see `SAMPLE_VERSION`."""

    index_version: int = Field(default=1, le=INDEX_VERSION)
    """Version of the Parquet indexes, see `INDEX_VERSION`."""

    name: str
    """Name of the dataset."""

    shards: tuple[ShardInfo, ...]
    """The shards; a file that is not listed is not part of the dataset."""

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
