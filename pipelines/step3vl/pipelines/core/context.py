"""What the code of a step may ask of its surroundings: the seed, the inputs' files and the assets."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from step3vl.data.storage import DEFAULT_STORE, StoreConfig, file_cache
from step3vl.pipelines.core.assets import resolve_assets
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import rng_for


@dataclass(frozen=True)
class StepContext:
    """Travels to workers with the step; it is small and can be pickled.

    Attributes:
        seed: Of the corpus.
        base: The absolute folder that relative patterns start from.
        store: How remote stores are used.
        root: URL of the folder of everything between steps, for what a worker keeps even when its entry changes, such
            as images that were fetched; empty outside a build.
    """

    seed: int
    base: str
    store: StoreConfig = DEFAULT_STORE
    root: str = ""

    def rng(self, step: str, key: str) -> random.Random:
        """The random numbers with which a step works on a record, in a build and whenever it is done again.

        Args:
            step: Its name with that of its entry, such as `maps.build`.
            key: Of the record.
        """
        return rng_for(self.seed, step, key)

    def local_path(self, file: InputFile) -> Path:
        """The file on this machine; a remote one is fetched once, into a cache of bounded size.

        Raises:
            InfrastructureError: The store does not answer, or the file is no longer the one that was listed.
        """
        return file_cache().local_path(file.url, file.version, self.store)

    def assets(self, patterns: Sequence[str]) -> list[Path]:
        """The files of asset patterns on this machine, sorted and each once.

        Raises:
            UserError: A pattern matches nothing.
        """
        return resolve_assets(patterns, self.base, self.store)
