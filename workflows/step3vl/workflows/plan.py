"""What a run would do with each stage, decided before any of them runs.

A stage's fingerprint is its kind, the version of its kind, its configuration and the content of its inputs.

- The same fingerprint, and the work is complete: the stage is skipped.
- The same fingerprint, and the work was interrupted: it resumes from its own checkpoints.
- Another fingerprint, and the work is complete: the run stops unless ``--force`` allows to redo the stage.
- Another fingerprint, and the work was interrupted: the partial output is set aside, and the stage starts over, unless
  its kind is incremental: it then uses what it can.

The source code is no part of the fingerprint: where its hash differs, that is said and nothing else.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from step3vl.data.dataset import code_version
from step3vl.data.errors import UserError
from step3vl.workflows.digests import input_digests
from step3vl.workflows.records import StageRecord, config_changes, is_occupied, next_name, read_record
from step3vl.workflows.stages import ResolvedStage

PENDING = "pending"
"""Stands for the hash of a result that an earlier stage has yet to make."""
CHANGED = "*"
"""In a list of stages to redo: every stage that has changed."""
MAX_CHANGES = 6
"""Changed fields that are listed; of further ones, the number."""


class Action(StrEnum):
    """What a run does with a stage."""

    SKIP = "skip"
    RESUME = "resume"
    RUN = "run"
    NEEDS_FORCE = "needs --force"


class Decision(NamedTuple):
    """What a run does with a stage, and why."""

    action: Action
    reasons: tuple[str, ...]
    kept_as: Path | None = None
    """The new name of an earlier output that is in the way."""
    alternative: Action | None = None
    """What the run does instead if the stages that this one reads make the same results as before."""


class PlannedStage(NamedTuple):
    """A stage of a plan. ``allowed`` says whether a finished result may be redone."""

    stage: ResolvedStage
    decision: Decision
    allowed: bool
    restart: bool


class NeedsForce(UserError):
    """Finished results would have to be redone, which only ``--force`` allows. Nothing was done."""

    def __init__(self, message: str, plan: Sequence[PlannedStage]):
        super().__init__(message)
        self.plan = tuple(plan)


def plan_run(
    stages: Sequence[ResolvedStage], only: Collection[str] = (), force: Collection[str] = ()
) -> list[PlannedStage]:
    """Decide what to do with each stage. Nothing on disk changes.

    Args:
        stages: The stages of a workflow, in order.
        only: Names of the stages to consider; empty for all.
        force: Names of stages to run from nothing, whatever they have; what reads their results may be redone too.
            ``CHANGED`` allows to redo every stage that has changed.

    Raises:
        UserError: a considered stage reads the result of one that is neither done nor considered.
    """
    planned: list[PlannedStage] = []
    pending: dict[Path, PlannedStage] = {}
    for stage in stages:
        if only and stage.name not in only:
            continue
        inputs = read_inputs(stage, pending)
        sources = [pending[Path(path)] for path, value in inputs.items() if value == PENDING]
        restart = stage.name in force
        allowed = restart or CHANGED in force or any(source.allowed for source in sources)
        names = [source.stage.name for source in sources]
        planned.append(PlannedStage(stage, decide(stage, inputs, names, allowed, restart), allowed, restart))
        if planned[-1].decision.action != Action.SKIP:
            pending[stage.context.out] = planned[-1]
    return planned


def decide(
    stage: ResolvedStage, inputs: Mapping[str, str], pending: Sequence[str], allowed: bool, restart: bool
) -> Decision:
    """Decide what to do with one stage.

    Args:
        stage: The stage.
        inputs: Path -> hash of what it reads, or ``PENDING``.
        pending: The names of the stages whose results are pending.
        allowed: Whether a finished result may be redone.
        restart: Whether to start from nothing in any case.
    """
    out = stage.context.out
    occupied = is_occupied(out)
    finished = (out / stage.kind.result).exists()
    record = read_record(out)
    if not occupied:
        return Decision(Action.RUN, ("not done yet",))
    if restart:
        return Decision(Action.RUN, ("forced",), next_name(out))
    if stage.kind.incremental and record and record.kind == stage.kind_name and not finished:
        return Decision(Action.RESUME, ("interrupted", *_code_notes(record, stage)))
    reasons = _differences(record, stage, inputs, finished)
    if record and not reasons and not pending:
        notes = _code_notes(record, stage)
        if finished and record.state == "done":
            return Decision(Action.SKIP, ("unchanged", *notes))
        missing = f"its result {stage.kind.result} is missing" if record.state == "done" else "interrupted"
        return Decision(Action.RESUME, (missing, *notes))
    if record is None and finished and stage.work.changes and not pending:
        reasons = stage.work.changes(stage.config, out)
        if not reasons:
            return Decision(Action.RESUME, ("the result has no record, and is of this configuration",))
    waits = [f"reads {', '.join(pending)}, which run{'s' if len(pending) == 1 else ''} first"] if pending else []
    alternative = None
    if record and not reasons:
        alternative = Action.SKIP if finished and record.state == "done" else Action.RESUME
    if finished and not allowed:
        return Decision(Action.NEEDS_FORCE, (*_shorten(reasons), *waits), None, alternative)
    return Decision(Action.RUN, (*_shorten(reasons), *waits), next_name(out), alternative)


def read_inputs(stage: ResolvedStage, pending: Collection[Path] = ()) -> dict[str, str]:
    """Hash what a stage reads.

    Args:
        stage: The stage.
        pending: Output directories of stages whose results are yet to be made; their hash is ``PENDING``.

    Raises:
        UserError: an earlier stage that it reads is neither done nor pending.
    """
    results = {
        earlier.context.out: PENDING if earlier.context.out in pending else _result_digest(earlier)
        for earlier in stage.earlier
    }
    inputs = input_digests(stage.config, stage.context.out, results, results_only=stage.kind.incremental)
    if stage.kind.reads_all:
        inputs |= {str(out): result for out, result in results.items()}
    for path, value in inputs.items():
        if not value:
            raise UserError(
                f"stage '{stage.name}' reads {path}, and the stage that makes it is not done; "
                "run the workflow without --only first"
            )
    return inputs


def check_allowed(planned: Sequence[PlannedStage]) -> None:
    """Raise NeedsForce where a finished result would have to be redone and nobody allowed it."""
    refused = [entry for entry in planned if entry.decision.action == Action.NEEDS_FORCE]
    if refused:
        out, reasons = refused[0].stage.context.out, refused[0].decision.reasons
        names = ", ".join(entry.stage.name for entry in refused)
        raise NeedsForce(
            f"{out} is finished, and what it was made from has changed ({'; '.join(reasons)}); nothing was done. "
            f"--force redoes {names} and keeps the earlier output{'s, the first' if len(refused) > 1 else ''} "
            f"as {next_name(out)}",
            planned,
        )


def _result_digest(stage: ResolvedStage) -> str:
    """The recorded hash of a stage's result; empty where it is not done."""
    record = read_record(stage.context.out)
    done = record and record.state == "done" and (stage.context.out / stage.kind.result).exists()
    return (record.result or "") if record and done else ""


def _differences(
    record: StageRecord | None, stage: ResolvedStage, inputs: Mapping[str, str], finished: bool
) -> list[str]:
    """What of a stage's fingerprint is not as the record has it; pending inputs apart."""
    if record is None:
        return ["it holds files of which there is no record"]
    if record.kind != stage.kind_name:
        return [f"kind: {record.kind} -> {stage.kind_name}"]
    if stage.kind.incremental and stage.work.changes:
        return stage.work.changes(stage.config, stage.context.out)
    changes = [
        f"version of {name}: {record.versions.get(name, 1)} -> {version}"
        for name, version in stage.versions().items()
        if record.versions.get(name, 1) != version
    ]
    fields = config_changes(record.config, stage.config, stage.kind.free_fields)
    if fields is None and finished and stage.work.changes:
        fields = stage.work.changes(stage.config, stage.context.out)
    changes += ["the configuration of then has fields that are gone"] if fields is None else fields
    for path in dict.fromkeys([*record.inputs, *inputs]):
        if path not in inputs:
            changes.append(f"no longer reads {path}")
        elif path not in record.inputs:
            changes.append(f"now reads {path}")
        elif inputs[path] not in (record.inputs[path], PENDING):
            changes.append(f"the content of {path} has changed")
    return changes


def _code_notes(record: StageRecord, stage: ResolvedStage) -> tuple[str, ...]:
    code = code_version(*stage.kind.packages)
    return () if record.code == code else (f"made by other code ({record.code[:8]}, now {code[:8]})",)


def _shorten(changes: Sequence[str]) -> list[str]:
    cut = [change if len(change) <= 160 else f"{change[:157]}..." for change in changes]
    return cut if len(cut) <= MAX_CHANGES else [*cut[:MAX_CHANGES], f"and {len(cut) - MAX_CHANGES} more changes"]
