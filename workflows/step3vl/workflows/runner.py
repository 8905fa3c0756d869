"""Run the stages of a workflow in order, or one stage by itself, each once for its fingerprint."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from step3vl.data.config import Config
from step3vl.data.dataset import code_version
from step3vl.data.errors import UserError
from step3vl.data.storage import require_local, write_durably
from step3vl.workflows.config import did_you_mean, to_yaml
from step3vl.workflows.digests import digest
from step3vl.workflows.plan import (
    CHANGED,
    Action,
    Decision,
    PlannedStage,
    check_allowed,
    decide,
    plan_run,
    read_inputs,
)
from step3vl.workflows.records import StageRecord, read_record, set_aside, write_record
from step3vl.workflows.stages import Context, Kind, ResolvedStage, Workflow, load_workflow, resolve_stages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run did with a stage: ``action`` is "ran", "resumed" or "skipped"."""

    name: str
    action: str
    seconds: float
    """Seconds of work, those of interrupted attempts included; of the run that made the result if it was skipped."""


def plan_workflow(
    path: Path,
    overrides: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    only: Sequence[str] = (),
    force: Sequence[str] = (),
) -> list[PlannedStage]:
    """Decide what ``run_workflow`` would do with the same arguments, and do nothing."""
    return _plan(load_workflow(path, overrides, kinds), path, kinds, only, force)


def run_workflow(
    path: Path,
    overrides: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    only: Sequence[str] = (),
    force: Sequence[str] = (),
) -> list[Outcome]:
    """Run what has to run, in order. The state on disk stays resumable however the run ends.

    Args:
        path: The workflow's YAML file.
        overrides: Dotted key -> value.
        kinds: Name -> kind of stage.
        only: Names of the stages to consider; empty for all.
        force: Names of stages to run from nothing, together with what reads their results; ``CHANGED`` for every
            stage that has changed. Their earlier outputs are kept beside the new ones.

    Raises:
        NeedsForce: a finished result would have to be redone; nothing was done.
        UserError: for a mistake in the files; whatever a stage raises.
    """
    workflow = load_workflow(path, overrides, kinds)
    numbers = {stage.name: number for number, stage in enumerate(workflow.stages, start=1)}
    with _lock(Path(workflow.output)):
        planned = _plan(workflow, path, kinds, only, force)
        check_allowed(planned)
        return [_run_planned(entry, f"[{numbers[entry.stage.name]}/{len(numbers)}]") for entry in planned]


def run_alone(
    kind_name: str,
    kinds: Mapping[str, Kind],
    config: Config,
    out: Path,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run one stage by itself, with the same record and the same rules as in a workflow.

    Under a cluster's launcher, which sets WORLD_SIZE, every rank comes here: rank 0 writes the record, and nothing is
    renamed, because the ranks could not agree on when.

    Args:
        kind_name: The kind of the stage.
        kinds: Name -> kind of stage.
        config: Its configuration.
        out: Its output directory.
        force: Whether an earlier result is set aside.
        options: Keywords for the work besides; none changes the result.

    Raises:
        NeedsForce: the finished result in ``out`` is of another configuration or other inputs.
        UserError: ``out`` is a URL; or, under a launcher, an earlier output is in the way.
    """
    require_local(out)
    kind = kinds[kind_name]
    context = Context(kind_name, out, options=options or {})
    stage = ResolvedStage(kind_name, kind_name, kind, config, kind.load(), context)
    inputs = read_inputs(stage)
    decision = decide(stage, inputs, (), force, restart=force)
    if read_record(out) is None and not force and not (out / kind.result).exists():
        decision = Decision(Action.RUN, ())  # of an attempt before there were records; the work itself compares
    check_allowed([PlannedStage(stage, decision, force, force)])
    if decision.kept_as and "WORLD_SIZE" in os.environ:
        raise UserError(
            f"{out} holds an earlier output ({'; '.join(decision.reasons)}); move it away before launching"
        )
    return _execute(stage, decision, inputs, f"{kind_name}:")


def _plan(
    workflow: Workflow, path: Path, kinds: Mapping[str, Kind], only: Sequence[str], force: Sequence[str]
) -> list[PlannedStage]:
    names = [stage.name for stage in workflow.stages]
    for name in [*only, *force]:
        if name not in [*names, CHANGED]:
            raise UserError(f"{path}: no stage is called '{name}'{did_you_mean(name, names)}")
    return plan_run(resolve_stages(workflow, path, kinds), only, force)


def _run_planned(planned: PlannedStage, label: str) -> Outcome:
    """Decide again now that all inputs exist, and act."""
    stage = planned.stage
    inputs = read_inputs(stage)
    decision = decide(stage, inputs, (), planned.allowed, planned.restart)
    check_allowed([planned._replace(decision=decision)])
    return _execute(stage, decision, inputs, f"{label} {stage.name}:")


def _execute(stage: ResolvedStage, decision: Decision, inputs: dict[str, str], label: str) -> Outcome:
    out, kind = stage.context.out, stage.kind
    before = read_record(out)
    if decision.action == Action.SKIP and before:
        log.info("%s %s, skipped", label, ", ".join(decision.reasons))
        return Outcome(stage.name, "skipped", before.seconds)
    if decision.kept_as:
        kept = set_aside(out)
        log.info("%s starts over (%s); what was there is kept as %s", label, "; ".join(decision.reasons), kept)
        if stage.work.reuse is not None:
            stage.work.reuse(kept, out)
        before = None
    resumes = decision.action == Action.RESUME
    elapsed = before.seconds if before and resumes else 0.0
    log.info("%s %s, in %s", label, "resumes" if resumes else "starts", out)
    for note in decision.reasons[1:] if resumes else ():
        log.warning("%s %s", label, note)
    record = StageRecord(
        name=stage.name,
        kind=stage.kind_name,
        versions=stage.versions(),
        config=stage.config.model_dump(mode="json", by_alias=True),
        inputs=inputs,
        code=code_version(*kind.packages),
        state="running",
        seconds=elapsed,
    )
    out.mkdir(parents=True, exist_ok=True)
    writes = os.environ.get("RANK", "0") == "0"
    if writes:
        write_record(out, record)
        write_durably(out / "stage.yaml", to_yaml(stage.config).encode())
    start = time.monotonic()
    try:
        stage.work.run(stage.config, stage.context)
    except BaseException:
        if writes:
            write_record(out, record.model_copy(update={"seconds": elapsed + time.monotonic() - start}))
        raise
    seconds = elapsed + time.monotonic() - start
    if writes:
        if not (out / kind.result).exists():
            raise UserError(f"stage '{stage.name}' ended without its result {out / kind.result}; see its log above")
        done = {"state": "done", "seconds": seconds, "finished": time.time(), "result": digest(out / kind.result)}
        write_record(out, record.model_copy(update=done))
        log.info("%s done in %.0f s", label, seconds)
    return Outcome(stage.name, "resumed" if resumes else "ran", seconds)


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Hold a workflow's directory against a second run; the lock is released with the process, however it ends."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{root}: is a file or lies below one; give a folder as output=DIR") from None
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{root}: another run is at work here; wait for it, or give another output=DIR") from None
        yield
