"""Where a build keeps what: the URL of its root, the segments of its entries, and what they depend on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.storage import Store, is_url
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.assets import assets_fingerprint
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains

STAGING = ".staging"
_GENERATIONS = "generations.json"


def absolute_url(place: str | Path) -> str:
    """A folder or URL as every worker understands it, without a slash at its end."""
    url = str(place).rstrip("/")
    return url if is_url(url) else str(Path(url).absolute())


def staging_root(config: CorpusConfig, out: str | Path) -> str:
    """The URL of everything between the steps of a build.

    Args:
        config: Of the corpus.
        out: Folder or URL of the dataset.
    """
    return absolute_url(config.root or f"{absolute_url(out)}/{STAGING}")


def open_staging(config: CorpusConfig, out: str | Path) -> Staging:
    """The root as workers need it; relative patterns start from the working directory."""
    return Staging(staging_root(config, out), str(Path.cwd()), config.store)


def asset_hashes(config: CorpusConfig, staging: Staging) -> dict[str, str]:
    """Check all entries, and hash the assets of each that has any. The driver reads them: they are small, and few.

    Raises:
        UserError: An entry names what does not exist.
    """
    context = StepContext(config.seed, staging.base, staging.store)
    for entry in config.domains:
        entry.check(context)
    patterns = {entry.name: entry.assets() for entry in config.domains}
    return {name: assets_fingerprint(context.assets(assets)) for name, assets in patterns.items() if assets}


def chains_of(config: CorpusConfig, assets: Mapping[str, str], generations: Mapping[str, int]) -> Chains:
    """The segments of all entries.

    Args:
        config: Of the corpus.
        assets: As `asset_hashes` returns them.
        generations: As `Generations.current`.
    """
    segments = []
    for entry in config.domains:
        depends = assets.get(entry.name, "")
        if generation := generations.get(entry.name):
            depends += f" generation {generation}"
        segments += segments_of(entry, config.seed, depends)
    return Chains(tuple(segments), models_on_ray=config.models.engine == "ray")


class Generations(Config):
    """How often each entry was rebuilt on request. What an earlier generation left stays where it is."""

    current: dict[str, int] = Field(default_factory=dict)
    """By name of the entry; a missing one is 0."""
    committed: dict[str, int] = Field(default_factory=dict)
    """Those that a dataset was committed with."""

    @classmethod
    def load(cls, store: Store) -> Self:
        """What `save` left under a root."""
        try:
            return cls.model_validate_json(store.read_all(_GENERATIONS))
        except (FileNotFoundError, ValueError):
            return cls()

    def save(self, store: Store) -> None:
        """Keep it under the root. Raises StoreError."""
        store.put(_GENERATIONS, self.model_dump_json().encode())

    def rebuild(self, entries: Iterable[str]) -> Self:
        """Begin another generation of entries. One that was begun and not yet committed is continued."""
        begun = {
            name: self.committed.get(name, 0) + 1
            for name in entries
            if self.current.get(name, 0) == self.committed.get(name, 0)
        }
        return self.model_copy(update={"current": {**self.current, **begun}})

    def commit(self) -> Self:
        """Remember that a dataset of the current generations was committed."""
        return self.model_copy(update={"committed": self.current})
