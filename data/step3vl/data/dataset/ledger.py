"""What became of every record: for each step, read = kept + dropped by reason + failed by error."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator

from step3vl.data.config import Config, explain_validation_error
from step3vl.data.errors import InfrastructureError, describe_error, is_infrastructure_error

DROPPED = "dropped"  # the `error` of a dead letter whose record was filtered out rather than broken
_MAX_REASON = 1000  # characters


class DeadLetter(Config):
    """A record that a step failed on, or filtered out."""

    step: str
    """The step."""

    error: str
    """Type of the error, or `dropped`."""

    reason: str
    """What is wrong, in one line."""

    source: str
    """What identifies the record."""

    @field_validator("reason", "source")
    @classmethod
    def _escape(cls, text: str) -> str:
        """A record may be broken because its text is not Unicode; its account must be all the same."""
        return text.encode("utf-8", "backslashreplace").decode()

    @classmethod
    def from_error(cls, error: BaseException, *, step: str, source: str) -> Self:
        """The dead letter of a record that an error stopped; a long message is truncated.

        This is the one place that tells failed records from failures of the machine.

        Args:
            error: What was raised.
            step: The step that raised it.
            source: What identifies the record.

        Raises:
            InfrastructureError: The machine caused the error, see `is_infrastructure_error`.
        """
        if is_infrastructure_error(error):
            raise InfrastructureError(f"step {step} stopped at {source}: {describe_error(error)}") from error
        reason = explain_validation_error(error) if isinstance(error, ValidationError) else str(error)
        return cls(step=step, error=type(error).__name__, reason=reason[:_MAX_REASON], source=source)


class AnswerTokens(Config):
    """Tokens of the answers of conversations."""

    total: int
    """Tokens of all answers."""

    trained: int
    """Those with a weight in the loss."""

    def __add__(self, other: Self) -> Self:
        return type(self)(total=self.total + other.total, trained=self.trained + other.trained)


class LedgerStep(Config):
    """The counts of one step."""

    name: str
    """Name of the step."""

    read: int
    """Records that came in."""

    kept: int
    """Records that the step let through."""

    dropped: dict[str, int] = Field(default_factory=dict)
    """Records that were filtered out, by reason."""

    failed: dict[str, int] = Field(default_factory=dict, validation_alias=AliasChoices("failed", "dead"))
    """Records that failed, by type of the error. Manifests of format 1 call the field `dead`."""

    emitted: int = Field(default_factory=lambda fields: fields.get("kept", 0))
    """Records that went out: one for each that was kept, unless the step makes several, or none, of one."""

    unused: dict[str, int] = Field(default_factory=dict, exclude_if=lambda counts: not counts)
    """Kept records of which a field was not used, by its dotted name, in a step that reads records."""

    answers: AnswerTokens | None = Field(default=None, exclude_if=lambda answers: answers is None)
    """Tokens of the answers that went out, in a step that counts them."""

    @field_validator("dropped", "failed", "unused")
    @classmethod
    def _sort(cls, counts: dict[str, int]) -> dict[str, int]:
        """In one order, so that equal counts are equal bytes however the records arrived."""
        return dict(sorted(counts.items()))

    @property
    def balance(self) -> int:
        """Records that are unaccounted for; 0 in a sound step."""
        return self.read - self.kept - sum(self.dropped.values()) - sum(self.failed.values())

    def __add__(self, other: Self) -> Self:
        return type(self)(
            name=self.name,
            read=self.read + other.read,
            kept=self.kept + other.kept,
            dropped=Counter(self.dropped) + Counter(other.dropped),
            failed=Counter(self.failed) + Counter(other.failed),
            emitted=self.emitted + other.emitted,
            unused=Counter(self.unused) + Counter(other.unused),
            answers=self.answers + other.answers if self.answers and other.answers else self.answers or other.answers,
        )


class Ledger(Config):
    """The counts of all steps of a build."""

    steps: tuple[LedgerStep, ...] = ()
    """The steps."""

    @classmethod
    def merge(cls, steps: Iterable[LedgerStep]) -> Self:
        """Add up the steps of equal name; sorted by name, so the order of arrival does not matter."""
        total: dict[str, LedgerStep] = {}
        for step in steps:
            total[step.name] = total[step.name] + step if step.name in total else step
        return cls(steps=tuple(total[name] for name in sorted(total)))

    @classmethod
    def join(cls, ledgers: Iterable[Iterable[LedgerStep]]) -> Self:
        """Add up the ledgers of several datasets, whose steps stay in the order in which records passed them.

        A step that only one of them has comes before the step that followed it there. A dataset that was curated twice
        has each step twice, and is not added to itself.
        """
        total: dict[tuple[str, int], LedgerStep] = {}  # by name, and how often that came before
        order: list[tuple[str, int]] = []
        for ledger in ledgers:
            place, before = 0, defaultdict[str, int](int)
            for step in ledger:
                key = step.name, before[step.name]
                before[step.name] += 1
                if key in total:
                    total[key] += step
                    place = max(place, order.index(key) + 1)
                else:
                    total[key] = step
                    order.insert(place, key)
                    place += 1
        return cls(steps=tuple(total[key] for key in order))

    def check(self) -> None:
        """Raises ValueError naming every step whose counts do not reconcile."""
        wrong = [f"{step.name} ({step.balance:+d} of {step.read})" for step in self.steps if step.balance]
        if wrong:
            raise ValueError(f"the counts do not reconcile in {', '.join(wrong)}: records were lost or invented")

    def to_json(self) -> list[dict[str, Any]]:
        """The steps as JSON-able dicts."""
        return [step.model_dump(mode="json") for step in self.steps]
