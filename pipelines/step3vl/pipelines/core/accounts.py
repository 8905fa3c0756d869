"""The accounts of a pipeline: added up by its workers, and checked to reconcile."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.dataset import DROPPED, SHARDS_STEP, DeadLetter, Ledger, LedgerStep
from step3vl.data.errors import UserError

TOKENS = "tokens"  # the ledger's name of the counting step
_MODULUS = 1 << 128  # of sums of hashes
_EARLY = 200  # records after which a step that mostly fails is stopped
_MOSTLY = 0.5


class InputTotal(Config):
    """The inputs of an entry."""

    count: int = 0
    """Numbers or files."""
    listing: str = ""
    """Of files: the sum of the hashes of their paths, sizes and versions, in hexadecimal."""
    content: str = ""
    """Of files: the sum of the hashes of their contents, in hexadecimal."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            count=self.count + other.count,
            listing=add_hashes(self.listing, other.listing),
            content=add_hashes(self.content, other.content),
        )


class Report(Config):
    """What a pipeline tells the process that started it: sums, whose size does not depend on that of the corpus."""

    accounts: tuple[LedgerStep, ...] = ()
    examples: tuple[DeadLetter, ...] = ()
    """One failed record of each step and type of error."""
    inputs: dict[str, InputTotal] = Field(default_factory=dict)
    """By name of the entry."""
    text_bytes: int = 0
    """Of the samples."""
    fragments: dict[str, int] = Field(default_factory=dict)
    """Committed, by name of the segment."""

    def __add__(self, other: Self) -> Self:
        return self.merge([self, other])

    @classmethod
    def merge(cls, reports: Iterable[Self]) -> Self:
        """Add reports up; their order does not matter."""
        reports = list(reports)
        inputs: dict[str, InputTotal] = {}
        examples: dict[tuple[str, str], DeadLetter] = {}
        fragments: Counter[str] = Counter()
        for report in reports:
            fragments.update(report.fragments)
            for name, total in report.inputs.items():
                inputs[name] = inputs[name] + total if name in inputs else total
            for example in report.examples:
                key = example.step, example.error
                if key not in examples or example.source < examples[key].source:
                    examples[key] = example
        return cls(
            accounts=Ledger.merge(step for report in reports for step in report.accounts).steps,
            examples=tuple(examples[key] for key in sorted(examples)),
            inputs=dict(sorted(inputs.items())),
            text_bytes=sum(report.text_bytes for report in reports),
            fragments=dict(sorted(fragments.items())),
        )


def sum_hashes(hashes: Iterable[int]) -> str:
    """The sum of hashes modulo 2**128, in hexadecimal; no order changes it."""
    return f"{sum(hashes) % _MODULUS:032x}"


def add_hashes(first: str, second: str) -> str:
    """The sum of two hashes in hexadecimal, modulo 2**128; an empty one is nothing."""
    if not (first and second):
        return first or second
    return sum_hashes([int(first, 16), int(second, 16)])


def first_examples(dead_letters: Iterable[DeadLetter]) -> tuple[DeadLetter, ...]:
    """One failed record of each step and type of error: the one whose source sorts first."""
    failed = (dead_letter for dead_letter in dead_letters if dead_letter.error != DROPPED)
    return Report.merge([Report(examples=(dead_letter,)) for dead_letter in failed]).examples


def check_failures(report: Report, budget: float) -> None:
    """Refuse steps that failed on more than a fraction of their records.

    Raises:
        UserError: With every type of error, its count and an example.
    """
    for step in report.accounts:
        failed = sum(step.failed.values())
        if failed > budget * step.read:
            share = "all" if failed == step.read else f"{failed} of"
            raise UserError(
                f"{step.name}: {share} {step.read} records failed, and failure_budget allows {budget:.4g} of them: "
                f"{_reasons(step, report.examples)}; correct the entry or its inputs, or raise failure_budget"
            )


def check_early(report: Report, budget: float) -> None:
    """The same in the middle of a step, for one that fails on most of what it has read so far. Raises UserError."""
    hopeless = tuple(step for step in report.accounts if step.read >= _EARLY)
    check_failures(report.model_copy(update={"accounts": hopeless}), max(budget, _MOSTLY))


def _reasons(step: LedgerStep, examples: Iterable[DeadLetter]) -> str:
    of_step = {example.error: example for example in examples if example.step == step.name}
    reasons = []
    for error, count in sorted(step.failed.items(), key=lambda item: (-item[1], item[0])):
        example = f", such as {of_step[error].source}: {of_step[error].reason}" if error in of_step else ""
        reasons.append(f"{count} {error}{example}")
    return "; ".join(reasons)


def in_order(ledger: Ledger, chains: Sequence[Sequence[str]]) -> Ledger:
    """The ledger with the steps in the order in which a sample passes them, entry by entry.

    Args:
        ledger: Of the whole build.
        chains: For each entry its name, and the names of its steps in order.
    """
    order = [name for _, *names in chains for name in names] + [TOKENS, SHARDS_STEP]
    places = {name: place for place, name in enumerate(order)}
    return Ledger(steps=tuple(sorted(ledger.steps, key=lambda step: places[step.name])))


def check_ledger(ledger: Ledger, chains: Sequence[Sequence[str]], inputs: Mapping[str, InputTotal]) -> None:
    """Check that every step balances and reads what the step before it emits.

    Args:
        ledger: Of the whole build.
        chains: For each entry its name, and the names of its steps in order.
        inputs: The inputs by name of the entry.

    Raises:
        ValueError: The counts do not reconcile.
    """
    ledger.check()
    steps = {step.name: step for step in ledger.steps}
    samples = 0
    for entry, *names in chains:
        source, emitted = f"the inputs of {entry}", inputs[entry].count if entry in inputs else 0
        for name in names:
            emitted = _check_link(source, emitted, name, steps)
            source = f"step {name}"
        samples += emitted
    counted = _check_link("the domains", samples, TOKENS, steps)
    _check_link(f"step {TOKENS}", counted, SHARDS_STEP, steps)


def _check_link(source: str, emitted: int, reader: str, steps: Mapping[str, LedgerStep]) -> int:
    """Check that a step read what its source emitted, and return what it emits itself."""
    step = steps.get(reader, LedgerStep(name=reader, read=0, kept=0, emitted=0))
    if step.read != emitted:
        raise ValueError(f"{source} emitted {emitted} records but step {reader} read {step.read}: records were lost")
    return step.emitted
