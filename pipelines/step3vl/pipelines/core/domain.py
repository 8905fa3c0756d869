"""What a domain declares: the entry that configures it, its inputs, and the steps that make samples of them."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import Kind, Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import Annotator, Worker

IntRange = tuple[int, int]
"""Lowest and highest, both included."""
FractionRange = tuple[float, float]
"""Lowest and highest, as fractions."""


class MissingProgramError(UserError):
    """An entry needs a program that this machine lacks, such as a browser; the message says how to install it."""


class FileSource(Config):
    """Files under one licence."""

    files: tuple[str, ...] = Field(min_length=1)
    """Patterns of paths or URLs; `**` matches any folders."""
    licence: str
    optional: bool = False
    """Whether the files may be missing, as those of a package that is not installed everywhere: a pattern that matches
    nothing is then a warning. Otherwise it ends the build."""


@dataclass(frozen=True)
class Numbers:
    """Inputs that are numbers from 0, from which a worker generates. Their keys are `{entry}/{number}`."""

    count: int


@dataclass(frozen=True)
class Files:
    """Inputs that are files; the value of their records is an `InputFile`, their keys are the paths as the patterns
    spell them."""

    sources: Sequence[FileSource]


Inputs = Numbers | Files


class DomainEntry(Config):
    """An entry of a corpus' `domains`. A subclass adds its fields and narrows `domain` to a literal."""

    RENAMED: ClassVar = {"picture": "image_size", "form": "modality", "font": "font_size", "veil": "opacity"}

    INPUT_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """Fields that say which records there are and nothing else: no worker reads them, and after a change of them only
    the new records are worked on."""

    domain: str
    """The domain, which decides the fields of the entry."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Unique in the corpus. The entry's random numbers depend on it and on the corpus' seed."""
    optional: bool = False
    """Whether the entry may be left out, with a warning, where the machine that starts the build lacks a program that
    it needs, such as a browser. Otherwise the build ends."""
    kind: Kind = "conversation"
    """`conversation` (user and assistant) or `document` (the same exchange as running text, for pretraining)."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """What the first step reads."""

    def assets(self) -> tuple[str, ...]:
        """Patterns of the files that workers load besides, such as fonts: a changed one makes the samples out of date.

        `assets:fonts/*.ttf` names files that the package carries; others are paths or URLs.
        """
        return ()

    def check(self, context: StepContext) -> None:
        """Called before anything runs.

        Raises:
            UserError: The entry names what does not exist.
            MissingProgramError: The entry needs a program that is not there.
        """
        context.assets(self.assets())


EntryT = TypeVar("EntryT", bound=DomainEntry)


class GeneratedEntry(DomainEntry):
    """An entry whose inputs are numbers."""

    INPUT_FIELDS = frozenset({"count"})

    count: int = Field(gt=0)
    """Records; some may be dropped."""

    def inputs(self) -> Inputs:
        return Numbers(self.count)


@dataclass(frozen=True)
class BeamStep(Generic[EntryT]):
    """A step that a `Worker` runs, record by record.

    Attributes:
        name: The ledger lists the step as `{entry}.{name}`.
        version: Raised with every change of the code that changes what the step emits.
        worker: Makes the worker of an entry. It yields `Record`s, in the last step of a domain `Sample`s.
        output: The type of the values that it emits: a pydantic model, or `Sample` in the last step.
        spread: Whether the records that the step reads are dealt to workers afresh. Set where the step before fans
            out; otherwise a step runs where its records were made.
        time_limit: Seconds that a record may take. The worker then runs in a process of its own, which is killed.
    """

    name: str
    version: int
    worker: Callable[[EntryT, StepContext], Worker[Any, Any]]
    output: type
    spread: bool = False
    time_limit: float | None = None


@dataclass(frozen=True)
class ModelStep(Generic[EntryT]):
    """A step that a model runs, batch by batch, on Ray or in Beam's workers.

    Attributes:
        name: The ledger lists the step as `{entry}.{name}`.
        version: Raised with every change of the model that changes the annotated values.
        annotator: Makes the model; called once in each worker.
        output: The type of the annotated values, a pydantic model.
        batch: Values that the model takes at once.
        time_limit: Seconds that a value may take.
        when: Whether an entry has the step; all have it by default. A step that may be missing emits the type of
            values that it reads.
    """

    name: str
    version: int
    annotator: Callable[[EntryT], Annotator[Any, Any]]
    output: type
    batch: int = 1
    time_limit: float | None = None
    when: Callable[[EntryT], bool] | None = None


Step = BeamStep[Any] | ModelStep[Any]


class Unchecked(Exception):
    """Raised by a label check that can tell nothing of a sample.

    Args:
        reason: A short word that the report counts by.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LabelCheck(Protocol):
    """A second opinion on finished samples, by other means than those that made and proved their labels."""

    def __call__(self, sample: Sample, /) -> str | None:
        """None for a right label, or a short word for what is wrong with it.

        Raises:
            Unchecked: The check can tell neither. Any other exception counts as one of those, by its name.
        """


@dataclass(frozen=True)
class Domain(Generic[EntryT]):
    """One domain: how the inputs of an entry become samples.

    Attributes:
        entry: The configuration; the literal of its `domain` field names the domain.
        steps: In order; each reads what the one before it emits, the first the entry's inputs. The last is a
            `BeamStep` that emits samples.
        example: The fields of a small entry, without `domain` and `name`, which builds in a few seconds from the
            repository's root: files are committed samples, named by relative patterns below `data/samples/`. For
            `corpus domains`, for editors, and for the tests that build it on every engine.
        label_check: Makes the independent check of the samples of an entry, by which `corpus verify-labels` measures
            the error rate of labels. It loads what it needs when it is made.
    """

    entry: type[EntryT]
    steps: tuple[Step, ...]
    example: Mapping[str, Any] = field(default_factory=dict)
    label_check: Callable[[EntryT, StepContext], LabelCheck] | None = None

    def __post_init__(self) -> None:
        if not self.steps or not isinstance(self.steps[-1], BeamStep) or self.steps[-1].output is not Sample:
            raise ValueError(f"the last step of {self.entry.__name__} must be a BeamStep that emits samples")
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError(f"two steps of {self.entry.__name__} have one name")
        for before, step in zip((None, *self.steps), self.steps, strict=False):
            if isinstance(step, ModelStep) and step.when and (before is None or before.output is not step.output):
                raise ValueError(f"step {step.name} of {self.entry.__name__} has `when`: it must emit what it reads")

    def steps_of(self, entry: EntryT) -> tuple[Step, ...]:
        """The steps that an entry has."""
        return tuple(step for step in self.steps if isinstance(step, BeamStep) or not step.when or step.when(entry))

    @property
    def name(self) -> str:
        """The value of the entry's `domain` field."""
        return get_args(self.entry.model_fields["domain"].annotation)[0]
