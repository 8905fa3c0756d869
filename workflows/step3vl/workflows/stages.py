"""A workflow: stages in order, each with its kind and its resolved configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.storage import LocalPath
from step3vl.workflows.config import did_you_mean, load_config, validate
from step3vl.workflows.records import RENAMED_KINDS


class Stage(Config):
    """One step of a workflow."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    run: str
    """What kind of stage it is, see ``step3vl.workflows.kinds``."""
    config: str | None = None
    """The stage's own YAML, relative to the workflow file; without it, every field comes from ``with``."""
    out: str | None = None
    """Its output directory inside that of the workflow; by default the stage's name."""
    overrides: dict[str, Any] = Field(default={}, alias="with")
    """Dotted key -> value, applied to the stage's configuration."""


class Workflow(Config):
    """Stages in order, and the directory that holds everything they make."""

    title: str = "step3vl"
    """The title of the report."""
    output: LocalPath
    """The directory of all outputs; ``${root}`` in the configurations of the stages."""
    stages: tuple[Stage, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Context:
    """What a stage gets beside its configuration."""

    title: str
    out: Path
    earlier: tuple[Path, ...] = ()
    """The output directories of the stages before this one, in order."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords that a command gives its stage besides; none changes the result."""


class Work(NamedTuple):
    """What a kind of stage imports when it is needed."""

    config_class: type[Config]
    run: Callable[[Any, Context], object]
    changes: Callable[[Any, Path], list[str]] | None = None
    """Says how a finished result differs from a configuration, without its record; empty where it does not."""
    versions: Callable[[Any], dict[str, int]] | None = None
    """The versions of the parts that a configuration uses, beside that of the kind."""
    reuse: Callable[[Path, Path], None] | None = None
    """Brings into a new output what it can reuse of an earlier one: called with both when that was set aside."""


@dataclass(frozen=True)
class Kind:
    """What running a stage means."""

    load: Callable[[], Work]
    version: int
    """Counted up when the same configuration and inputs should give another result. Finished stages of an earlier
    version then need ``--force``; a change of the code alone never does that."""
    result: str
    """The file or folder, relative to the output, that exists when the work is complete."""
    packages: tuple[str, ...]
    """The packages whose source code does the work; its hash is recorded and shown."""
    out_field: str | None = None
    """The configuration's field that receives the output directory."""
    free_fields: tuple[str, ...] = ()
    """Dotted fields of the configuration that may change without changing the result, with all that is inside them."""
    reads_all: bool = False
    """Whether it reads every stage before it, whatever its configuration names."""
    incremental: bool = False
    """Whether the work itself compares its inputs, with `Work.changes`, and uses what it can of an earlier attempt.
    The runner then hashes no file that the configuration names, and lets an interrupted attempt resume in any case."""


@dataclass(frozen=True)
class ResolvedStage:
    """A stage with everything about it settled, except what earlier stages have yet to make."""

    name: str
    kind_name: str
    kind: Kind
    config: Config
    work: Work
    context: Context
    earlier: "tuple[ResolvedStage, ...]" = ()
    """The stages before this one, in order."""

    def versions(self) -> dict[str, int]:
        """The version of the kind, and of the parts that the configuration uses."""
        parts = self.work.versions(self.config) if self.work.versions else {}
        return {self.kind_name: self.kind.version, **parts}


def load_workflow(path: Path, overrides: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Workflow:
    """Read a workflow from a YAML file.

    Args:
        path: The workflow's YAML file.
        overrides: Dotted key -> value; ``STAGE.key`` changes the configuration of that stage.
        kinds: Name -> kind of stage.

    Raises:
        UserError: for any mistake in the file or the overrides.
    """
    top_level = {key: value for key, value in overrides.items() if key.split(".")[0] in Workflow.model_fields}
    workflow = load_config(path, top_level, Workflow, root="${root}")  # left in `with`; it is known with `output`
    names = [stage.name for stage in workflow.stages]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{path}: two stages are named '{sorted(repeated)[0]}'; give each its own name")
    for number, stage in enumerate(workflow.stages):
        if stage.run not in kinds:
            renamed = RENAMED_KINDS.get(stage.run)
            hint = f"; it is now '{renamed}'" if renamed else did_you_mean(stage.run, kinds)
            raise UserError(f"{path}: stages.{number}.run: no kind of stage is called '{stage.run}'{hint}")
    changes: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in overrides.items():
        if key in top_level:
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


def resolve_stages(workflow: Workflow, path: Path, kinds: Mapping[str, Kind]) -> list[ResolvedStage]:
    """Validate the configuration of every stage, before any of them runs. Raises UserError."""
    resolved: list[ResolvedStage] = []
    for stage in workflow.stages:
        kind = kinds[stage.run]
        out = Path(workflow.output) / (stage.out or stage.name)
        work = kind.load()
        overrides = {**stage.overrides, **({kind.out_field: str(out)} if kind.out_field else {})}
        if stage.config is None:
            config = validate({}, overrides, work.config_class, path, workflow.output)
        else:
            config = load_config(path.parent / stage.config, overrides, work.config_class, workflow.output)
        context = Context(workflow.title, out, tuple(earlier.context.out for earlier in resolved))
        resolved.append(ResolvedStage(stage.name, stage.run, kind, config, work, context, tuple(resolved)))
    return resolved
