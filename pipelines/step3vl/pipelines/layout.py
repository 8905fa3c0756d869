"""Where a build keeps what: the URL of its root, the segments of its entries, and what they depend on."""

import re
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import Exclusions
from step3vl.data.dataset.exclusions import read_exclusions
from step3vl.data.storage import Store, is_url
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.assets import assets_fingerprint
from step3vl.pipelines.core.commits import read_model
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import MissingProgramError, Numbers
from step3vl.pipelines.core.inputs import absolute_pattern
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.sources.dataset_samples import SHARD_FILES, SHARDS

STAGING = ".staging"
_FRAGMENTS = re.compile(r"-[0-9a-f]{20}$")  # ends the name of a folder of fragments, see `Segment.folder`


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


def entries_left_out(config: CorpusConfig, staging: Staging) -> dict[str, str]:
    """Check all entries.

    Returns:
        The names of the optional entries that need a program which is not here, and why each is left out.

    Raises:
        UserError: An entry names what does not exist.
        MissingProgramError: An entry that is not optional needs a program that is not here.
    """
    context = StepContext(config.seed, staging.base, staging.store)
    left_out = {}
    for entry in config.domains:
        try:
            entry.check(context)
        except MissingProgramError as error:
            if not entry.optional:
                raise MissingProgramError(
                    f"{error}; or give the entry {entry.name} `optional: true`, which leaves it out"
                ) from None
            left_out[entry.name] = str(error)
    return left_out


def asset_hashes(config: CorpusConfig, staging: Staging) -> dict[str, str]:
    """Hash the assets of each entry that has any. The driver reads them: they are small, and few.

    Raises:
        UserError: An entry names what does not exist.
    """
    context = StepContext(config.seed, staging.base, staging.store)
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


def input_exclusions(config: CorpusConfig, staging: Staging) -> Exclusions:
    """What the datasets that a build reads must forget: its fragments may be from before that was asked for.

    Args:
        config: Of the corpus.
        staging: Where relative patterns start from.

    Raises:
        UserError: A request is damaged.
        StoreError: A store does not answer.
    """
    folders: dict[str, None] = {}
    for entry in config.domains:
        inputs = entry.inputs()
        for source in () if isinstance(inputs, Numbers) else inputs.sources:
            for pattern in source.files:
                folder, _, rest = absolute_pattern(pattern, staging.base).rpartition(f"/{SHARDS}/")
                if folder and rest == SHARD_FILES:
                    folders[folder] = None
    stores = (Store(folder, config.store) for folder in folders)
    return sum((read_exclusions(store) for store in stores), Exclusions())


class EarlierFragments(NamedTuple):
    """What builds of other configurations left under a root.

    Attributes:
        size: In bytes.
        is_complete: Whether all of it was looked at.
    """

    size: int
    is_complete: bool


def earlier_fragments(root: Store, current: Collection[str], seconds: float = 5.0) -> EarlierFragments:
    """Add up the fragments that a build does not use, of other fingerprints or entries.

    Args:
        root: The store of the root.
        current: The folders that the build uses, relative to the root.
        seconds: After which it stops looking.

    Raises:
        StoreError: The store does not answer.
    """
    size, deadline = 0, time.monotonic() + seconds
    for entry in root.entries(""):
        for step in root.entries(entry.name) if entry.is_folder else ():
            folder = f"{entry.name}/{step.name}"
            if not step.is_folder or folder in current or not _FRAGMENTS.search(folder):
                continue
            for file in root.entries(folder):
                if time.monotonic() > deadline:
                    return EarlierFragments(size, False)
                if not file.is_folder:
                    size += file.info(file.name).size
    return EarlierFragments(size, True)


class Rounds(Config):
    """How often something was asked for, which one build may begin and another one ends."""

    FILE: ClassVar[str]

    current: dict[str, int] = Field(default_factory=dict)
    """By name; a missing one is 0."""
    committed: dict[str, int] = Field(default_factory=dict)
    """Those that a dataset was committed with."""

    @classmethod
    def load(cls, store: Store) -> Self:
        """What `save` left under a root."""
        return read_model(store, cls.FILE, cls) or cls()

    def save(self, store: Store) -> None:
        """Keep it under the root. Raises StoreError."""
        store.put(self.FILE, self.model_dump_json().encode())

    def begin(self, names: Iterable[str]) -> Self:
        """Begin another round of names. One that was begun and not yet committed is continued."""
        begun = {
            name: self.committed.get(name, 0) + 1
            for name in names
            if self.current.get(name, 0) == self.committed.get(name, 0)
        }
        return self.model_copy(update={"current": {**self.current, **begun}})

    def commit(self) -> Self:
        """Remember that a dataset of the current rounds was committed."""
        return self.model_copy(update={"committed": self.current})


class Generations(Rounds):
    """How often each entry was rebuilt on request, by its name. What an earlier generation left stays where it is."""

    FILE: ClassVar = "generations.json"


class Retries(Rounds):
    """How often failed records were tried again on request, by the folder of a segment or of a curation."""

    FILE: ClassVar = "retries.json"
