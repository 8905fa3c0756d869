"""A workflow: stages in order, each run once for its inputs, configuration and code.

The state of a stage is one file in its output directory, ``stage.json``: written with ``"state": "running"`` before
the stage starts, and replaced with ``"state": "done"`` after everything else is there. So

- done, made of the same inputs, configuration and code: the stage is skipped;
- running, made of the same: it was killed, and it resumes there from its own checkpoints;
- anything else: the old output is set aside (``NAME.old``) and the stage starts from nothing. A stage never
  resumes from what another configuration, other inputs or other code left behind.
"""

import fcntl
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.workflows.config import did_you_mean, load_config, to_yaml, validate
from step3vl.workflows.fingerprint import digest, input_digests

log = logging.getLogger(__name__)


class Stage(Config):
    """One step of a workflow."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    run: str
    """What kind of stage it is; see ``step3vl.workflows.kinds``."""
    config: str | None = None
    """The stage's own YAML, relative to the workflow file; without it every field comes from ``with``."""
    out: str | None = None
    """Its output directory inside the workflow's; the stage's name where it is not given."""
    overrides: dict[str, Any] = Field(default={}, alias="with")
    """Dotted key -> value, applied to the stage's configuration."""


class Workflow(Config):
    """Stages in order, and the directory that holds everything they make."""

    title: str = "step3vl"
    output: str
    stages: tuple[Stage, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Context:
    """What a stage gets beside its configuration."""

    title: str
    out: Path
    earlier: tuple[Path, ...]
    """The output directories of the stages before this one, in order."""


@dataclass(frozen=True)
class Kind:
    """What running a stage means."""

    load: Callable[[], tuple[type[Config], Callable[[Any, Context], object]]]
    """Imports the work and gives its configuration class and its function."""
    result: str
    """The file or folder, relative to the output, that is there when the work is complete."""
    packages: tuple[str, ...]
    """The packages of ``step3vl`` whose code decides the result."""
    out_field: str | None = None
    """The configuration's field that receives the output directory."""
    reads_all: bool = False
    """Whether it reads every stage before it, whatever its configuration names."""


@dataclass(frozen=True)
class Planned:
    """A stage with everything about it settled, except what earlier stages have yet to make."""

    stage: Stage
    kind: Kind
    config: Config
    work: Callable[[Any, Context], object]
    context: Context


@dataclass(frozen=True)
class Outcome:
    """What became of a stage in this run: ``action`` is "ran", "resumed" or "skipped"."""

    name: str
    action: str
    seconds: float
    """Seconds of work, of earlier attempts as well; of the run that made the result where it was skipped now."""


def load_workflow(path: Path, overrides: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Workflow:
    """The workflow in a YAML file. An override ``STAGE.key=value`` goes to that stage's configuration."""
    own = {key: value for key, value in overrides.items() if key.split(".")[0] in Workflow.model_fields}
    workflow = load_config(path, own, Workflow, root="${root}")  # left in `with`; it is known with `output`
    names = [stage.name for stage in workflow.stages]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{path}: two stages are named '{sorted(repeated)[0]}'; give each its own name")
    for stage in workflow.stages:
        if stage.run not in kinds:
            raise UserError(
                f"{path}: stages.{names.index(stage.name)}.run: no kind of stage is called '{stage.run}'"
                f"{did_you_mean(stage.run, kinds)}"
            )
    changes: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in overrides.items():
        if key in own:
            continue
        name, _, rest = key.partition(".")
        if name not in changes or not rest:
            raise UserError(
                f"override '{key}': starts with neither a field of the workflow nor the name of a stage"
                f"{did_you_mean(name, [*Workflow.model_fields, *names])}"
            )
        changes[name][rest] = value
    stages = tuple(
        stage.model_copy(update={"overrides": {**stage.overrides, **changes[stage.name]}}) for stage in workflow.stages
    )
    return workflow.model_copy(update={"stages": stages})


def plan(workflow: Workflow, path: Path, kinds: Mapping[str, Kind]) -> list[Planned]:
    """Every stage with its configuration validated, before any of them runs."""
    planned: list[Planned] = []
    for stage in workflow.stages:
        kind = kinds[stage.run]
        out = Path(workflow.output) / (stage.out or stage.name)
        config_class, work = kind.load()
        overrides = {**stage.overrides, **({kind.out_field: str(out)} if kind.out_field else {})}
        if stage.config is None:
            config = validate({}, overrides, config_class, path, workflow.output)
        else:
            config = load_config(path.parent / stage.config, overrides, config_class, workflow.output)
        context = Context(workflow.title, out, tuple(before.context.out for before in planned))
        planned.append(Planned(stage, kind, config, work, context))
    return planned


def run_workflow(
    path: Path,
    overrides: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    only: Sequence[str] = (),
    force: Sequence[str] = (),
) -> list[Outcome]:
    """Runs what has to run, in order.

    ``only`` names the stages to consider (all where it is empty), ``force`` those to run again from nothing. Raises
    UserError for a mistake in the files and whatever a stage raises; the state on disk stays resumable.
    """
    workflow = load_workflow(path, overrides, kinds)
    names = [stage.name for stage in workflow.stages]
    for name in [*only, *force]:
        if name not in names:
            raise UserError(f"{path}: no stage is called '{name}'{did_you_mean(name, names)}")
    outcomes = []
    planned_stages = plan(workflow, path, kinds)
    with _alone(Path(workflow.output)):
        for number, planned in enumerate(planned_stages, start=1):
            if not only or planned.stage.name in only:
                outcomes.append(_run_stage(planned, f"[{number}/{len(names)}]", planned.stage.name in force))
    return outcomes


def _run_stage(planned: Planned, label: str, force: bool) -> Outcome:
    name, out, kind = planned.stage.name, planned.context.out, planned.kind
    made_of = {
        "kind": planned.stage.run,
        "configuration": digest(planned.config.model_dump(mode="json")),
        "inputs": _inputs(planned),
        "code": _code_version(kind.packages),
    }
    before = read_state(out)
    if force or before is None or before["made_of"] != made_of:
        _set_aside(out, label, name, "as asked" if force else _what_changed(before, made_of))
        before = None
    if before and before["state"] == "done" and (out / kind.result).exists():
        log.info("%s %s: unchanged, skipped", label, name)
        return Outcome(name, "skipped", before["seconds"])
    spent = float(before["seconds"]) if before else 0.0
    log.info("%s %s: %s, in %s", label, name, "resumes" if before else "starts", out)
    state = {"name": name, "fingerprint": digest(made_of), "made_of": made_of}
    out.mkdir(parents=True, exist_ok=True)
    (out / "stage.yaml").write_text(to_yaml(planned.config), encoding="utf-8")
    _write_state(out, {**state, "state": "running", "seconds": spent})
    start = time.monotonic()
    try:
        planned.work(planned.config, planned.context)
    except BaseException:
        _write_state(out, {**state, "state": "running", "seconds": spent + time.monotonic() - start})
        raise
    if not (out / kind.result).exists():
        raise UserError(f"stage '{name}' ended without its result {out / kind.result}; see its log above")
    seconds = spent + time.monotonic() - start
    _write_state(
        out,
        {**state, "state": "done", "seconds": seconds, "finished": time.time(), "result": digest(out / kind.result)},
    )
    log.info("%s %s: done in %.0f s", label, name, seconds)
    return Outcome(name, "resumed" if before else "ran", seconds)


def _what_changed(before: Mapping[str, Any] | None, made_of: Mapping[str, Any]) -> str:
    if before is None:
        return "no stage has left what is there"
    changed = [part for part, value in made_of.items() if before["made_of"].get(part) != value]
    return f"changed: {', '.join(changed)}"


def _inputs(planned: Planned) -> dict[str, str]:
    """The hashes of what a stage reads; UserError where an earlier stage that it reads is not done."""
    states = {out: read_state(out) for out in planned.context.earlier}
    results = {out: str(state.get("result", "")) if state else "" for out, state in states.items()}
    inputs = input_digests(planned.config, planned.context.out, results)
    if planned.kind.reads_all:
        inputs |= {str(out): result for out, result in results.items()}
    for name, value in inputs.items():
        if not value:
            raise UserError(
                f"stage '{planned.stage.name}' reads {name}, and the stage that makes it is not done; "
                "run the workflow without --only first"
            )
    return inputs


def read_state(out: Path) -> dict[str, Any] | None:
    """What ``stage.json`` in an output directory says; None where there is none that can be read."""
    try:
        state = json.loads((out / "stage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and {"name", "made_of", "state", "seconds"} <= state.keys() else None


def _write_state(out: Path, state: Mapping[str, Any]) -> None:
    """Atomic: a reader sees the old file or the new one, whole."""
    out.mkdir(parents=True, exist_ok=True)  # a stage may have replaced its output directory
    write_durably(out / "stage.json", json.dumps(state, indent=2).encode())


def _set_aside(out: Path, label: str, name: str, why: str) -> None:
    """Moves an output out of the way, in the place of one that was moved before."""
    if not out.exists() or not any(out.iterdir()):
        return
    old = out.with_name(f"{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    out.rename(old)
    log.info("%s %s: starts again (%s); its earlier output is now %s", label, name, why, old)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Holds a workflow's directory against a second run; the lock goes with the process, however it ends."""
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


def _code_version(packages: Sequence[str]) -> str:
    from step3vl.data.dataset import code_version

    return code_version(*packages)
