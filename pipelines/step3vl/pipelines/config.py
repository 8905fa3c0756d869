"""The configuration of a corpus."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from step3vl.data.config import Config
from step3vl.data.dataset import ShardTarget
from step3vl.data.errors import UserError
from step3vl.data.sample import ImageSpec
from step3vl.data.storage import StoreConfig
from step3vl.pipelines.core.domain import DomainEntry
from step3vl.pipelines.core.ray import ModelsConfig
from step3vl.pipelines.domains import DOMAINS


class _OfItsDomain:
    """Validates an entry by the class of its domain, which alone is imported: a union would import every domain."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        any_model = core_schema.simple_ser_schema("any")
        return core_schema.no_info_plain_validator_function(_entry, serialization=any_model)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        entries = {name: domain.entry.__pydantic_core_schema__ for name, domain in DOMAINS.items()}
        return handler(core_schema.tagged_union_schema(entries, discriminator="domain"))


def _entry(value: Any) -> DomainEntry:
    if isinstance(value, DomainEntry):
        return value
    name = value.get("domain") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise PydanticCustomError("domain_missing", "an entry needs a `domain`, which decides its other fields")
    if name not in DOMAINS:
        raise PydanticCustomError("domain_unknown", "there is no such domain; `step3vl corpus domains` lists them")
    return DOMAINS[name].entry.model_validate(value)


# What cannot change the result: how and where the work is done.
_FREE: dict[str, Any] = {
    **dict.fromkeys(("root", "store", "models", "beam_options", "failure_budget"), True),
    "domains": {"__all__": {"optional"}},
}


class TrainedTokenizer(Config):
    """A BPE tokenizer trained on the corpus' own text."""

    train: int = Field(gt=0)
    """The number of ids, added tokens included."""
    sample: int = Field(default=100_000_000, gt=0)
    """About how many bytes of text it is trained on. A larger corpus is sampled, by the hash of each sample's id."""


class TokensConfig(Config):
    """How tokens are counted."""

    tokenizer: str | TrainedTokenizer = "qwen3"
    """`qwen3`, a path to a tokenizer, or one to train: `{train: 1024}`."""
    image: ImageSpec = ImageSpec()
    """The sizes of images and crops, by which image tokens are counted."""


class CorpusConfig(Config):
    """A corpus."""

    RENAMED: ClassVar = {"workers": "models.workers"}

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Begins the names of the shards."""
    seed: int = 0
    shards: Annotated[int, Field(gt=0, le=99999)] | ShardTarget = 4
    """Of each split: a number, or how large they should be."""
    heldout: float = Field(default=0.05, ge=0, lt=1)
    """The fraction of samples held out of training."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """The fraction of the inputs that is used: the first numbers, and files by the hash of their path. The work that
    a small fraction leaves is reused by a larger one."""
    tokens: TokensConfig = TokensConfig()
    failure_budget: float = Field(default=0.05, ge=0, le=1)
    """The fraction of its records that a step may fail on; beyond it the build ends."""
    root: str | None = None
    """Folder or URL of everything between the steps; by default `.staging` in the dataset's folder."""
    store: StoreConfig = StoreConfig()
    """How remote stores are used."""
    models: ModelsConfig = ModelsConfig()
    """Where the models run."""
    beam_options: tuple[str, ...] = ()
    """Beam's own command-line options, such as `--direct_num_workers=2`."""
    domains: tuple[Annotated[DomainEntry, _OfItsDomain], ...] = Field(min_length=1)
    """Where samples come from. The fields of an entry depend on its `domain`."""

    @field_validator("domains")
    @classmethod
    def _names_differ(cls, domains: tuple[DomainEntry, ...]) -> tuple[DomainEntry, ...]:
        names = [entry.name for entry in domains]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two entries are named {name!r}; give each its own name")
        return domains

    def content(self) -> dict[str, Any]:
        """The configuration as JSON without what cannot change the result, such as runner and workers."""
        return self.model_dump(mode="json", exclude=_FREE)

    def without(self, left_out: Collection[str]) -> Self:
        """The configuration without some entries.

        Args:
            left_out: Their names.

        Raises:
            UserError: No other entry is there.
        """
        if not left_out:
            return self
        domains = tuple(entry for entry in self.domains if entry.name not in left_out)
        if not domains:
            raise UserError(f"nothing is left to build: {', '.join(left_out)} need programs that are not installed")
        return self.model_copy(update={"domains": domains})
