"""YAML plus ``key=value`` overrides -> a validated configuration.

Every mistake becomes one line that names the file, the line, the field and the fix.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.storage import is_url, store_of

C = TypeVar("C", bound=Config)
VARIABLE = re.compile(r"\$\{(\w*)\}")


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-4`` as the number that people mean, and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML speaks, wants a dot and a sign ("1.0e-4"); without this, "1e-4" would be a string.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_config(path: Path | str, overrides: Mapping[str, Any], config_class: type[C], root: str | None = None) -> C:
    """Load and validate a configuration.

    Args:
        path: A YAML file, or its URL.
        overrides: Dotted key -> value, applied to what the file holds.
        config_class: The class of the configuration.
        root: What ``${root}`` in any string stands for; by default, the value of an override ``root=DIR``.

    Raises:
        UserError: for a missing file, broken YAML, an unknown or wrong field, or an unresolved ``${...}``.
    """
    return validate(read_yaml(path), overrides, config_class, path, root)


def validate(
    tree: dict[str, Any],
    overrides: Mapping[str, Any],
    config_class: type[C],
    path: Path | str,
    root: str | None = None,
) -> C:
    """Do the same for a tree that was read from ``path`` already."""
    changes = dict(overrides)
    if "root" not in config_class.model_fields and "root" in changes:
        root = str(changes.pop("root"))
    tree = apply_overrides(tree, changes)
    tree = _substitute(tree, {} if root is None else {"root": root}, path)
    try:
        return config_class.model_validate(tree)
    except ValidationError as error:
        raise UserError(_explain(error, tree, changes, config_class, path)) from error


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read the mapping in a YAML file or at its URL; an empty file is an empty mapping. Raises UserError."""
    try:
        text = _read_text(path)
    except FileNotFoundError:
        local = Path(path)
        siblings = [sibling.name for sibling in local.parent.glob("*.y*ml")] if local.parent.is_dir() else []
        raise UserError(f"{path}: no such file{did_you_mean(local.name, siblings)}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    try:
        tree = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(
            f"{path}{line}: not valid YAML: {error.problem or error.context}; "
            f"check the indentation, colons and quotes there"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds a {type(tree).__name__}; a configuration is a mapping of `key: value` lines")
    return tree


def _read_text(path: Path | str) -> str:
    """The text of a file or URL. Raises as `Path.read_text`, and StoreError."""
    if isinstance(path, str) and is_url(path):
        store, name = store_of(path)
        return store.read_all(name).decode()
    return Path(path).read_text(encoding="utf-8")


def parse_overrides(arguments: Iterable[str]) -> dict[str, Any]:
    """Parse ``["optimizer.beta2=0.95", "phases.0.steps=20"]`` into dotted key -> value, each value read as YAML."""
    overrides: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key.strip("."):
            raise UserError(f"'{argument}': not an override; write key=value, for example seed=1")
        try:
            overrides[key] = yaml.load(value, _Loader)
        except yaml.YAMLError:
            raise UserError(f"'{argument}': the value is not valid YAML; put it in quotes: '{key}=\"…\"'") from None
    return overrides


def apply_overrides(tree: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Copy ``tree`` with each dotted key set; a number steps into a list. Raises UserError."""
    result = _copy(tree)
    for dotted, value in overrides.items():
        here: Any = result
        parts = dotted.split(".")
        for part, following in pairwise(parts):
            index = _index(here, part, dotted)
            if isinstance(here, dict) and not isinstance(here.get(index), dict | list):
                if here.get(index) is not None:
                    raise UserError(f"override '{dotted}': '{part}' is {here[index]!r}, which has no '{following}'")
                here[index] = {}
            here = here[index]
        here[_index(here, parts[-1], dotted)] = _copy(value)
    return result


def to_yaml(config: Config) -> str:
    """Dump a configuration, defaults included, as YAML that loads again."""
    tree = config.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=110)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'lr'?"`` for the nearest choice, or all choices where none is near."""
    names = sorted(choices)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}" if names else ""


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _index(here: Any, part: str, dotted: str) -> Any:
    """``part`` as a key of the mapping or an index of the list ``here``."""
    if isinstance(here, dict):
        return part
    if not isinstance(here, list):
        raise UserError(f"override '{dotted}': there is nothing to step into at '{part}'")
    if not part.isdigit() or int(part) >= len(here):
        raise UserError(
            f"override '{dotted}': '{part}' must be a number from 0 to {len(here) - 1}, the index in the list"
        )
    return int(part)


def _substitute(value: Any, variables: Mapping[str, str], path: Path | str, field: str = "") -> Any:
    if isinstance(value, dict):
        return {k: _substitute(v, variables, path, f"{field}.{k}".strip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, variables, path, f"{field}.{i}".strip(".")) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name in variables:
            return variables[name]
        if name == "root":
            raise UserError(
                f"{path}: {field}: ${{root}} has no value here; give root=DIR, or run the whole workflow "
                "with `step3vl run`"
            )
        raise UserError(f"{path}: {field}: unknown variable ${{{name}}}; only ${{root}} is known")

    return VARIABLE.sub(replace, value)


def _explain(
    error: ValidationError,
    tree: Mapping[str, Any],
    overrides: Mapping[str, Any],
    config_class: type[BaseModel],
    path: Path | str,
) -> str:
    """One line for the first mistake, with the names of the others."""
    details = error.errors(include_url=False)
    names = [[*_field(detail, tree), *_renamed_field(detail)] for detail in details]
    first, parts = details[0], names[0]
    field = ".".join(map(str, parts))
    line = _line(path, parts)
    override = next((f"{k}={v}" for k, v in overrides.items() if f"{field}.".startswith(f"{k}.")), None)
    if override is None and first["type"] == "extra_forbidden":
        override = next((f"{k}={v}" for k, v in overrides.items() if k.startswith(f"{field}.")), None)
    where = f"{path}: override {override}" if override else f"{path}:{line}" if line else f"{path}"
    others = sorted(
        {
            other
            for other in (".".join(map(str, name)) for name in names[1:])
            if not f"{field}.".startswith(f"{other}.")
        }
    )  # a parent is only wrong through its child
    more = f" (also wrong: {', '.join(others[:5])}{' …' if len(others) > 5 else ''})" if others else ""
    return f"{where}: {field + ': ' if field else ''}{_what(first, config_class)}{more}"


def _what(detail: ErrorDetails, config_class: type[BaseModel]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key{did_you_mean(str(detail['loc'][-1]), _keys_at(config_class, detail['loc'][:-1]))}"
        case "missing":
            return "is required; add it"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case _:
            return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, but it is {str(detail['input'])[:80]!r}"


def _renamed_field(detail: ErrorDetails) -> list[str]:
    """The old name of a field, where the mistake is one: ``Config`` refuses it at the model that holds it."""
    match = re.match(r"Value error, '(\w+)' is now '", detail["msg"]) if detail["type"] == "value_error" else None
    return [match[1]] if match and isinstance(detail["input"], Mapping) and match[1] in detail["input"] else []


def _field(detail: ErrorDetails, tree: Any) -> list[str | int]:
    """Pydantic's location without the names of union members, which are no part of the file."""
    parts: list[str | int] = []
    here: Any = tree
    for depth, part in enumerate(detail["loc"]):
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            parts.append(part)
            here = here[part]  # type: ignore[index]
        elif depth == len(detail["loc"]) - 1 and detail["type"] == "missing":
            parts.append(part)
    return parts


def _line(path: Path | str, parts: Sequence[str | int]) -> int | None:
    """The line, from 1, of a field in the YAML file, or of its innermost parent that the file has."""
    try:
        node = yaml.compose(_read_text(path), _Loader)
    except (OSError, yaml.YAMLError):
        return None
    line = None
    for part in parts:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            entry = next(((key, value) for key, value in node.value if key.value == part), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line + 1, entry[1]
    return line


def _keys_at(config_class: type[BaseModel], parents: Sequence[str | int]) -> list[str]:
    """The keys of a configuration below ``parents``."""
    models = [config_class]
    for part in parents:
        inner = [
            nested
            for model in models
            for name, field in model.model_fields.items()
            if part in (name, field.alias)
            for nested in _models_in(field.annotation)
        ]
        models = inner or models  # an index, or the name of a union's member
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
