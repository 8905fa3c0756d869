"""What became of every record: for each step, read = kept + dropped by reason + dead by error."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field

from step3vl.data.config import Config

DROPPED = "dropped"  # the `error` of a letter whose record was unwanted rather than broken


class DeadLetter(Config):
    """A record that failed: in which step, with which error, and where it came from."""

    step: str
    error: str
    reason: str
    source: str


class Step(Config):
    """The account of one step. `dropped` is by reason, `dead` by the type of the error."""

    name: str
    read: int
    kept: int
    dropped: dict[str, int] = Field(default_factory=dict)
    dead: dict[str, int] = Field(default_factory=dict)

    @property
    def balance(self) -> int:
        """Records that nobody accounts for; 0 in a sound step."""
        return self.read - self.kept - sum(self.dropped.values()) - sum(self.dead.values())

    def __add__(self, other: Self) -> Self:
        return type(self)(
            name=self.name,
            read=self.read + other.read,
            kept=self.kept + other.kept,
            dropped=dict(sorted((Counter(self.dropped) + Counter(other.dropped)).items())),
            dead=dict(sorted((Counter(self.dead) + Counter(other.dead)).items())),
        )


class Ledger(Config):
    """The accounts of all steps of a build."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def merge(cls, steps: Iterable[Step]) -> Self:
        """Add up the accounts of equal name; sorted by name, so the order of arrival does not matter."""
        total: dict[str, Step] = {}
        for step in steps:
            total[step.name] = total[step.name] + step if step.name in total else step
        return cls(steps=tuple(total[name] for name in sorted(total)))

    def check(self) -> None:
        """Raises ValueError naming every step that does not balance."""
        wrong = [f"{step.name} ({step.balance:+d} of {step.read})" for step in self.steps if step.balance]
        if wrong:
            raise ValueError(f"the ledger does not balance in {', '.join(wrong)}: records were lost or made up")

    def to_json(self) -> list[dict[str, Any]]:
        return [step.model_dump(mode="json") for step in self.steps]
