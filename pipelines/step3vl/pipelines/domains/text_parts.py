"""Files of text dealt in parts: row groups of Parquet, bytes of JSON Lines and plain text."""

import random
from collections.abc import Iterator

from step3vl.data.config import Config
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.sources.text.corpora import split_file


class FilePart(Config):
    """A part of a file."""

    file: InputFile
    start: int
    stop: int


class SplitFiles:
    """Worker: a file becomes its parts."""

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[FilePart]]:
        file = record.value
        for start, stop in split_file(self._context.local_path(file), file.key):
            yield Record(f"{record.key}#{start}", FilePart(file=file, start=start, stop=stop))
