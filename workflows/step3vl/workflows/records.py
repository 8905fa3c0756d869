"""What a stage leaves beside its result: ``stage.json``, the record of what it was made from, and earlier outputs.

The record is written with ``"state": "running"`` before the stage starts, and replaced by ``"state": "done"`` after
everything else is in place. Nothing in this package deletes an output: one that is in the way is renamed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.storage import write_durably
from step3vl.workflows.config import apply_overrides

FORMAT = 2
"""Of ``stage.json``. Format 1, written up to version 0.1, has no format number and is still read."""
RECORD = "stage.json"
RENAMED_KINDS = {"messages": "synthesis_data"}
"""Kinds of stages by the names that they had in format 1."""


class StageRecord(Config):
    """The content of ``stage.json``."""

    format: Literal[2] = 2
    name: str
    kind: str
    versions: dict[str, int]
    """The versions of what did the work: of the kind, and of its parts where they have their own."""
    config: dict[str, Any]
    """The resolved configuration."""
    inputs: dict[str, str]
    """What the stage read: path -> hash of its content."""
    code: str
    """A hash of the source code that did the work. It is shown, and decides nothing."""
    state: Literal["running", "done"]
    seconds: float
    """Seconds of work, those of interrupted attempts included."""
    finished: float | None = None
    """Unix time."""
    result: str | None = None
    """The hash of the result, which later stages compare."""


def read_record(out: Path) -> StageRecord | None:
    """The record in an output directory; None where there is none, or a damaged one.

    Raises:
        UserError: it was written by a later version of step3vl.
    """
    try:
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    number = content.get("format", 1)
    if isinstance(number, int) and number > FORMAT:
        raise UserError(f"{out / RECORD}: has format {number}, and this version of step3vl reads up to {FORMAT}")
    try:
        return StageRecord.model_validate(_from_format_1(content, out) if number == 1 else content)
    except (ValidationError, KeyError, TypeError, OSError, yaml.YAMLError):
        return None


def write_record(out: Path, record: StageRecord) -> None:
    """Write the record atomically: a reader sees the old one or the new one."""
    out.mkdir(parents=True, exist_ok=True)  # a stage may have replaced its output directory
    write_durably(out / RECORD, json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False).encode())


def is_occupied(out: Path) -> bool:
    """Whether there is anything at ``out`` that could be lost."""
    return out.is_file() or (out.is_dir() and any(out.iterdir()))


def next_name(out: Path) -> Path:
    """The first of NAME.1, NAME.2, ... that does not exist."""
    number = 1
    while (kept := out.with_name(f"{out.name}.{number}")).exists() or kept.is_symlink():
        number += 1
    return kept


def set_aside(out: Path) -> Path:
    """Rename an output to the first free NAME.1, NAME.2, ..., and return its new path."""
    kept = next_name(out)
    out.rename(kept)
    return kept


def config_changes(stored: Mapping[str, Any], config: Config, free_fields: Sequence[str] = ()) -> list[str] | None:
    """Compare a stored configuration with one of today.

    The stored one is read by the class of today: renamed fields get their new names, and a field that was added since
    counts with its default.

    Args:
        stored: The configuration in a record.
        config: The configuration of today.
        free_fields: Dotted fields that are not compared.

    Returns:
        ``field: old -> new`` for each field that differs; None where the stored one cannot be read.
    """
    try:
        previous = type(config).model_validate(_with_new_names(stored, config)).model_dump(mode="json", by_alias=True)
    except (ValidationError, UserError):
        return None
    before, after = dict(_leaves(previous)), dict(_leaves(config.model_dump(mode="json", by_alias=True)))
    return [
        f"{field}: {before.get(field, 'absent')} -> {after.get(field, 'absent')}"
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
        and not any(f"{field}.".startswith(f"{free}.") for free in free_fields)
    ]


def _with_new_names(stored: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The fields at the top level, moved to where ``RENAMED`` says that they are now."""
    kept = {key: value for key, value in stored.items() if key not in config.RENAMED}
    moved = {config.RENAMED[key]: value for key, value in stored.items() if key in config.RENAMED}
    return apply_overrides(kept, moved)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a nested object, as (dotted path, JSON)."""
    items = value.items() if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    if not items:
        yield path, json.dumps(value, ensure_ascii=False)
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))


def _from_format_1(content: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The fields of today from a record of format 1, which kept its configuration in ``stage.yaml`` alone."""
    fingerprint = content["made_of"]  # words: format 1
    config = yaml.safe_load((out / "stage.yaml").read_text(encoding="utf-8")) if (out / "stage.yaml").exists() else {}
    return {
        "name": content["name"],
        "kind": RENAMED_KINDS.get(fingerprint["kind"], fingerprint["kind"]),
        "versions": {},
        "config": config or {},
        "inputs": fingerprint["inputs"],
        "code": fingerprint["code"],
        **{key: content[key] for key in ("state", "seconds", "finished", "result") if key in content},
    }
