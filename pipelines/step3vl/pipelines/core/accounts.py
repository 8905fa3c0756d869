"""The accounts of a pipeline: collected, and checked to reconcile."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from step3vl.data.dataset import SHARDS_STEP, DeadLetter, Ledger, LedgerStep
from step3vl.data.errors import UserError
from step3vl.pipelines.core.beam import CollectJson, StepOutputs, flatten
from step3vl.pipelines.core.sink import TOKENS
from step3vl.pipelines.core.staging import StageRows, StepResult, dump_model, read_rows


def check_ledger(ledger: Ledger, producers: Iterable[str]) -> None:
    """Check that every step balances and reads what the step before it kept.

    Args:
        ledger: Of the whole build.
        producers: The steps that make samples.

    Raises:
        ValueError: The counts do not reconcile.
    """
    ledger.check()
    steps = {step.name: step for step in ledger.steps}
    samples = sum(steps[name].kept for name in producers)
    counted = steps[TOKENS].kept if TOKENS in steps else 0
    for source, kept, reader in (("the domains", samples, TOKENS), (TOKENS, counted, SHARDS_STEP)):
        read = steps[reader].read if reader in steps else 0
        if kept != read:
            raise ValueError(f"{source} kept {kept} samples but step {reader} read {read}: records were lost")


def check_failures(steps: Iterable[LedgerStep], dead_letters: Iterator[DeadLetter]) -> None:
    """Refuse a step all of whose records failed: the configuration is wrong, not the records.

    Called before a step is committed, so that the next run tries again.

    Raises:
        UserError: With the first error of the step.
    """
    for step in steps:
        if step.read and sum(step.failed.values()) == step.read:
            first = next(dead_letter for dead_letter in dead_letters if dead_letter.step == step.name)
            raise UserError(
                f"{step.name}: all {step.read} records failed, the first ({first.source}) with {first.error}: "
                f"{first.reason}; correct its entry in the configuration"
            )


def collect_accounts(
    outputs: Sequence[StepOutputs], folder: Path, pipeline: beam.Pipeline, *more_accounts: PCollection[LedgerStep]
) -> None:
    """Wire the end that all pipelines share: dead letters are staged in `folder`, accounts are collected there."""
    dead_letters = flatten([step.dead_letters for step in outputs], "dead letters", pipeline)
    _ = dead_letters | StageRows(folder, "dead-letters", dump_model) | CollectJson(folder / "dead-letters.json")
    # A label with a space, as no entry of a corpus is named.
    accounts = flatten([*(step.accounts for step in outputs), *more_accounts], "all accounts", pipeline)
    _ = accounts | beam.Map(lambda step: step.model_dump(mode="json")) | CollectJson(folder / "accounts.json")


def read_accounts(folder: Path) -> StepResult:
    """What `collect_accounts` left. Raises as `check_failures` does."""
    accounts = Ledger.merge(map(LedgerStep.model_validate, read_list(folder / "accounts.json"))).steps
    dead_letters = tuple(read_list(folder / "dead-letters.json"))
    check_failures(accounts, read_rows(dead_letters, DeadLetter.model_validate_json))
    return StepResult(accounts=accounts, dead_letters=dead_letters)


def read_list(path: Path) -> list[Any]:
    """What `CollectJson` wrote."""
    return json.loads(path.read_text())
