"""What a dataset was built from, and what has changed since."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from step3vl.data.config import Config
from step3vl.data.dataset import MANIFEST, Dataset
from step3vl.data.errors import UserError
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.domain import DomainEntry
from step3vl.pipelines.core.sink import SINK_VERSION
from step3vl.pipelines.core.staging import digest
from step3vl.pipelines.domains import DOMAINS

# The values of earlier releases: field and value -> today's value.
_OLD_VALUES = {
    ("modality", "picture"): "image",  # words: earlier releases recorded it
    ("text", "letters"): "characters",  # words: earlier releases recorded it
}


class Provenance(Config):
    """What decides every byte of a dataset. It is recorded in `dataset.json`, under `config`."""

    content: dict[str, Any]
    """`CorpusConfig.content`."""
    inputs: dict[str, str]
    """A hash of the input files of each entry."""
    versions: dict[str, int]
    """Of the sink and of the domains."""

    def record(self) -> dict[str, Any]:
        """The `config` of `dataset.json`."""
        return {**self.content, "inputs": self.inputs, "versions": self.versions}


def provenance(config: CorpusConfig) -> Provenance:
    """Read every input file of a corpus once.

    Raises:
        UserError: The configuration names a file that does not exist.
    """
    files = {entry.name: sorted(set(entry.files())) for entry in config.domains}
    hashes = {path: _hash_file(path) for path in sorted({path for paths in files.values() for path in paths})}
    inputs = {name: digest(sorted((path.name, hashes[path]) for path in paths)) for name, paths in files.items()}
    return Provenance(content=config.content(), inputs=inputs, versions=versions(config))


def versions(config: CorpusConfig) -> dict[str, int]:
    """The versions of the code that decide what a corpus becomes: of the sink and of its domains."""
    result = {"sink": SINK_VERSION}
    for domain in (DOMAINS[entry.domain] for entry in config.domains):
        result[domain.name] = domain.version
        if domain.model_step is not None:
            result[f"{domain.name}/{domain.model_step.name}"] = domain.model_step.version
    return result


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changes(config: CorpusConfig, out: Path) -> list[str]:
    """What differs between the finished dataset at `out` and the one that `config` builds, a line each.

    Returns:
        An empty list when there is no finished dataset, or when it is just that one.

    Raises:
        UserError: The configuration names a file that does not exist.
    """
    return compare(provenance(config), out)


def compare(new: Provenance, out: Path) -> list[str]:
    """As `changes`, with the inputs of the configuration already read."""
    if not (out / MANIFEST).is_file():
        return []
    try:
        record = dict(Dataset.open(out).manifest.config)
    except UserError as error:  # a damaged manifest
        return [str(error)]
    # Datasets of earlier releases record neither inputs nor versions; `fingerprint` also hashed the code.
    inputs, versions = record.pop("inputs", new.inputs), record.pop("versions", new.versions)
    record.pop("fingerprint", None)
    try:
        old = CorpusConfig.model_validate(_with_new_names(record)).content()
    except ValidationError:
        old = record
    lines = list(_differences(_by_name(old), _by_name(new.content)))
    lines += [f"the input files of domains.{name}" for name in new.inputs if inputs.get(name) != new.inputs[name]]
    for name, version in new.versions.items():
        if name in versions and versions[name] != version:
            lines.append(f"version of {name}: {versions[name]} -> {version}")
    return lines


def _with_new_names(record: dict[str, Any]) -> dict[str, Any]:
    """The configuration that an earlier release recorded, with today's names of fields and values."""
    entries = [
        {DomainEntry.RENAMED.get(name, name): value for name, value in entry.items()}
        for entry in record.get("domains", [])
    ]
    for entry in entries:
        for (name, value), renamed in _OLD_VALUES.items():
            if entry.get(name) == value:
                entry[name] = renamed
    return {**record, "domains": entries}


def _by_name(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "domains": {entry["name"]: entry for entry in content.get("domains", [])}}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`field: old -> new` for every field that differs."""
    if prefix.count(".") > 2 and list(old) != list(new) and set(old) == set(new):
        yield f"{prefix[:-1]}: the order of its keys"  # which random choices follow
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if json.dumps(before) == json.dumps(after):
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{prefix}{name}.")
        elif prefix == "domains." and (before is None or after is None):
            yield f"{prefix}{name} is {'new' if before is None else 'gone'}"
        else:
            yield f"{prefix}{name}: {before} -> {after}"
