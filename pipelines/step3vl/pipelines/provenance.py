"""What a dataset was built from, and what has changed since."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from step3vl.data.config import Config
from step3vl.data.dataset import MANIFEST, Dataset
from step3vl.data.errors import UserError
from step3vl.data.storage import Store
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.accounts import InputTotal
from step3vl.pipelines.core.commits import read_model
from step3vl.pipelines.core.domain import DomainEntry, Numbers
from step3vl.pipelines.core.shard_writer import SINK_VERSION
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.layout import asset_hashes, chains_of, entries_left_out, input_exclusions, open_staging

# The values of earlier releases: field and value -> today's value.
_OLD_VALUES = {
    ("modality", "picture"): "image",  # words: earlier releases recorded it
    ("text", "letters"): "characters",  # words: earlier releases recorded it
}
_INPUTS = "inputs.json"  # under the root: what the inputs were when their contents were last hashed


class Provenance(Config):
    """What decides every byte of a dataset. It is recorded in `dataset.json`, under `config`."""

    content: dict[str, Any]
    """`CorpusConfig.content`."""
    inputs: dict[str, str]
    """The sum of the hashes of the input files of each entry that reads files."""
    assets: dict[str, str]
    """A hash of the assets of each entry that has any."""
    versions: dict[str, int]
    """Of the sink and of the steps of the domains."""
    exclusions: str = ""
    """A hash of what the datasets that are read must forget; empty without a request."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """The names of the optional entries that the dataset lacks, and why."""

    def record(self) -> dict[str, Any]:
        """The `config` of `dataset.json`."""
        left_out = {"left_out": self.left_out} if self.left_out else {}
        excluded = {"exclusions": self.exclusions} if self.exclusions else {}
        recorded = {"inputs": self.inputs, "assets": self.assets, "versions": self.versions}
        return {**self.content, **recorded, **excluded, **left_out}


class KnownInputs(Config):
    """The inputs of entries as they were listed, and the hashes of their contents then."""

    entries: dict[str, InputTotal] = Field(default_factory=dict)

    @classmethod
    def load(cls, store: Store) -> "KnownInputs":
        """What `save` left under a root; nothing where there is none."""
        return read_model(store, _INPUTS, cls) or cls()

    def save(self, store: Store) -> None:
        """Keep it under the root. Raises StoreError."""
        store.put(_INPUTS, self.model_dump_json().encode())


def provenance(
    config: CorpusConfig,
    assets: dict[str, str],
    inputs: Mapping[str, InputTotal],
    left_out: Mapping[str, str],
    exclusions: str,
) -> Provenance:
    """The provenance of a build.

    Args:
        config: Of the corpus, without the entries that are left out.
        assets: As `asset_hashes` returns them.
        inputs: The inputs of each entry, with the hashes of their contents.
        left_out: As `entries_left_out` returns them.
        exclusions: The digest of what `input_exclusions` returns.
    """
    hashes = {name: total.content for name, total in sorted(inputs.items()) if total.content}
    return Provenance(
        content=config.content(),
        inputs=hashes,
        assets=assets,
        versions=versions(config),
        exclusions=exclusions,
        left_out=dict(left_out),
    )


def versions(config: CorpusConfig) -> dict[str, int]:
    """The versions of the code that decide what a corpus becomes: of the sink and of the steps of its domains."""
    result = {"sink": SINK_VERSION}
    for domain in (DOMAINS[entry.domain] for entry in config.domains):
        result |= {f"{domain.name}/{step.name}": step.version for step in domain.steps}
    return result


def changes(config: CorpusConfig, out: Path | str) -> list[str]:
    """What differs between the finished dataset at `out` and the one that `config` builds, a line each.

    Inputs are listed by Beam's workers; their contents are hashed only where the listing is not that of the build. An
    optional entry that is in the dataset is no change where a program that it needs has gone.

    Returns:
        An empty list when there is no finished dataset, or when it is just that one.

    Raises:
        UserError: The configuration names a file that does not exist.
        InfrastructureError: A store does not answer.
    """
    if not Store(str(out), config.store).exists(MANIFEST):
        return []
    try:
        record = dict(Dataset.open(str(out), config.store).manifest.config)
    except UserError as error:  # a damaged manifest
        return [str(error)]
    built = {entry.get("name") for entry in record.get("domains", [])}
    return _compare(read_provenance(config, out, built), record)


def read_provenance(config: CorpusConfig, out: Path | str, built: Collection[str | None] = ()) -> Provenance:
    """The provenance of the dataset that a build at `out` would make.

    Args:
        config: Of the corpus.
        out: Folder or URL of the dataset.
        built: Names of the entries that are not left out in any case.

    Raises:
        UserError: As in `changes`.
        InfrastructureError: As in `changes`.
    """
    staging = open_staging(config, out)
    left_out = {name: why for name, why in entries_left_out(config, staging).items() if name not in built}
    config = config.without(left_out)
    assets = asset_hashes(config, staging)
    inputs = _hash_inputs(config, assets, staging)
    return provenance(config, assets, inputs, left_out, input_exclusions(config, staging).digest)


def _hash_inputs(config: CorpusConfig, assets: Mapping[str, str], staging: Staging) -> dict[str, InputTotal]:
    """The inputs of each entry, with the hashes of their contents."""
    chains = chains_of(config, assets, {})
    if all(isinstance(entry.inputs(), Numbers) for entry in config.domains):
        return {}
    listed = _report(config, chains, staging, "list")
    known = KnownInputs.load(staging.open()).entries
    same = {
        name: known[name] for name, total in listed.items() if name in known and known[name].listing == total.listing
    }
    if same.keys() == listed.keys():
        return same
    contents = _report(config, chains, staging, "hash")
    inputs = {name: total.model_copy(update={"content": contents[name].content}) for name, total in listed.items()}
    KnownInputs(entries=inputs).save(staging.open())
    return inputs


def _report(config: CorpusConfig, chains: Chains, staging: Staging, name: str) -> dict[str, InputTotal]:
    # Beam takes a second to import, and an unchanged corpus of generated records does without it.
    from step3vl.pipelines.core.beam import WriteReport, read_report, run_pipeline
    from step3vl.pipelines.core.listing import HashInputs, ListFiles

    path = f"control/report.{name}.json"

    def wire(pipeline: Any, staging: Staging) -> None:
        if name == "list":
            reports = (pipeline | ListFiles(chains, staging, config.fraction, packs=False)).reports
        else:
            reports = pipeline | HashInputs(chains, staging, config.fraction)
        _ = reports | WriteReport(staging, path)

    run_pipeline(f"{name} inputs", config.beam_options, staging, wire)
    inputs = read_report(staging, path).inputs
    return {name: total for name, total in inputs.items() if total.listing or total.content}


def _compare(new: Provenance, record: dict[str, Any]) -> list[str]:
    """As `changes`, with everything read: `record` is the `config` of a manifest."""
    # Earlier versions recorded neither assets nor versions of steps, and `inputs` was a hash of both together.
    assets = record.pop("assets", None)
    inputs, versions = record.pop("inputs", {}), record.pop("versions", {})
    exclusions = record.pop("exclusions", "")
    for name in ("fingerprint", "left_out"):
        record.pop(name, None)
    try:
        old = CorpusConfig.model_validate(_with_new_names(record)).content()
    except ValidationError:
        old = record
    lines = list(_differences(_by_name(old), _by_name(new.content)))
    names = [entry["name"] for entry in new.content["domains"] if entry["name"] in _by_name(old)["domains"]]
    if assets is not None:
        for before, after, what in ((inputs, new.inputs, "input files"), (assets, new.assets, "assets")):
            lines += [f"the {what} of domains.{name}" for name in names if before.get(name) != after.get(name)]
    if exclusions != new.exclusions:
        lines.append("what the datasets that it reads must forget")
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
