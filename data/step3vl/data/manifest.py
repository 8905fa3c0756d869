"""What `dataset.json` says: which shards there are, what is in them, and what was made of every record."""

from typing import Any, Literal

from pydantic import Field, field_validator

from step3vl.data.config import Config
from step3vl.data.crops import ImageSpec
from step3vl.data.ledger import Step

MANIFEST = "dataset.json"
Split = Literal["train", "heldout"]


class ShardInfo(Config):
    """One committed shard; `path` is relative to the dataset, and `.idx` and the index stand beside it.

    The hashes are BLAKE3 of the whole files, as `b3sum` prints them.
    """

    path: str
    split: Split
    samples: int
    size: int
    blake3: str
    index_blake3: str
    text_tokens: int
    image_tokens: int

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/") or not path.endswith(".tar"):
            raise ValueError(f"{path!r} is no path of a .tar file inside the dataset")
        return path

    @property
    def index_path(self) -> str:
        return self.path.removesuffix(".tar") + ".parquet"

    @property
    def offsets_path(self) -> str:
        return self.path + ".idx"


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
