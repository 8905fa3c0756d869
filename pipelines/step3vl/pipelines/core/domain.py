"""What a domain declares: the entry that configures it, and how the entry's records become samples."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_args

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import ImagePartWriter
from step3vl.data.sample import Kind, Sample
from step3vl.pipelines.core.beam import NumberRecords, RunStep, StepOutputs
from step3vl.pipelines.core.ray import AnnotatedT, Annotator, RowT
from step3vl.pipelines.core.steps import Record, Worker

IntRange = tuple[int, int]
"""Lowest and highest, both included."""
FractionRange = tuple[float, float]
"""Lowest and highest, as fractions."""


class DomainEntry(Config):
    """An entry of a corpus' `domains`. A subclass adds its fields and narrows `domain` to a literal."""

    RENAMED: ClassVar = {"picture": "image_size", "form": "modality", "font": "font_size", "veil": "opacity"}

    domain: str
    """The domain, which decides the fields of the entry."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Unique in the corpus. The entry's random numbers depend on it and on the corpus' seed."""
    kind: Kind = "conversation"
    """`conversation` (user and assistant) or `document` (the same exchange as running text, for pretraining)."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Every file that the entry reads: a changed one makes the built dataset out of date.

        Raises:
            UserError: The entry names a file, or anything else, that does not exist.
        """


class GeneratedEntry(DomainEntry):
    """An entry whose records are numbers, from which a worker generates samples."""

    count: int = Field(gt=0)
    """Records; some may be dropped."""


EntryT = TypeVar("EntryT", bound=DomainEntry)
GeneratedT = TypeVar("GeneratedT", bound=GeneratedEntry)
Steps = Sequence[StepOutputs[Any]]


@dataclass(frozen=True)
class ModelStep(Generic[EntryT, RowT, AnnotatedT]):
    """A model in the middle of a domain, run by Ray between two Beam pipelines.

    Attributes:
        name: The ledger lists the step as `{entry}.{name}`.
        version: Raised with every change of `prepare` or of the model that changes the annotated rows.
        prepare: The steps that make rows for the model from the entry and the corpus' seed; the last one keeps them.
        row: The type of these rows.
        dump: Makes a staged row of what the last step of `prepare` keeps.
        annotator: Makes the model; called once in each Ray actor.
        annotated: The type of the rows that the model returns.
    """

    name: str
    version: int
    prepare: Callable[[EntryT, int, PBegin], Steps]
    row: type[RowT]
    dump: Callable[[Any, ImagePartWriter], str]
    annotator: Callable[[], Annotator[RowT, AnnotatedT]]
    annotated: type[AnnotatedT]


@dataclass(frozen=True)
class Domain(Generic[EntryT]):
    """One domain, known to the build by its line in `step3vl.pipelines.domains`.

    Attributes:
        entry: The configuration; the literal of its `domain` field names the domain.
        version: Raised with every change of the code that changes the samples.
        build: The steps that make the samples of an entry with the corpus' seed; the last one keeps them. They start
            from the pipeline, or from `Record`s of the annotated rows where there is a model step.
        model_step: What runs before `build`, in a domain that needs a model.
    """

    entry: type[EntryT]
    version: int
    build: Callable[[EntryT, int, PBegin | PCollection[Record]], Steps]
    model_step: ModelStep[EntryT, Any, Any] | None = None

    @property
    def name(self) -> str:
        """The value of the entry's `domain` field."""
        return get_args(self.entry.model_fields["domain"].annotation)[0]


def generated(
    entry: type[GeneratedT], version: int, worker: Callable[[GeneratedT, int], Worker[int, Sample]]
) -> Domain[GeneratedT]:
    """A domain of one step, `{entry}.build`, that generates its samples.

    Args:
        entry: The configuration.
        version: Raised with every change of the code that changes the samples.
        worker: Makes the worker of an entry with the corpus' seed; its records are numbers from 0.
    """

    def build(entry: GeneratedT, seed: int, pipeline: Any) -> Steps:
        records = pipeline | NumberRecords(entry.name, entry.count)
        return [records | RunStep(f"{entry.name}.build", worker(entry, seed), seed)]

    return Domain(entry, version, build)


class ApplySteps(beam.PTransform):
    """The steps of an entry as one composite, labelled by the entry's name."""

    def __init__(self, entry: EntryT, seed: int, steps: Callable[[EntryT, int, Any], Steps]) -> None:
        super().__init__(entry.name)
        self._entry = entry
        self._seed = seed
        self._steps = steps

    def expand(self, begin: Any) -> Any:  # Beam has no hint for either input, nor for several outputs
        return list(self._steps(self._entry, self._seed, begin))
