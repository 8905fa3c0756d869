"""What a stage reads, as hashes: the files, datasets and results of other stages that its configuration names."""

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step3vl.data.config import Config
from step3vl.workflows.records import read_record

MAX_HASHED_BYTES = 64 * 2**20
"""Of a larger file, its size and time of change stand for its content."""


def digest(value: Any) -> str:
    """The SHA-256 of a path's content (a folder: of every file's name and content in it), or of a JSON-able value."""
    if isinstance(value, Path):
        if value.is_dir():
            return digest([[str(path.relative_to(value)), _file_digest(path)] for path in _files(value)])
        return _file_digest(value)
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def input_digests(
    config: Config, out: Path, results: Mapping[Path, str], *, results_only: bool = False
) -> dict[str, str]:
    """Hash everything on disk that a configuration names, except its own output.

    Any string with a slash that names a file, a folder or a pattern with matches stands for their content. A path
    inside the output of a stage stands for that stage's result; a dataset, for its manifest.

    Args:
        config: The resolved configuration.
        out: The stage's own output directory.
        results: Output directory of each earlier stage of the workflow -> the hash of its result. Stages of other
            workflows are recognised by their records.
        results_only: Whether to leave out everything but the results of stages.

    Returns:
        Path, as the configuration names it, -> hash.
    """
    inputs: dict[str, str] = {}
    for text in sorted({text for text in _strings(config.model_dump(mode="json")) if "/" in text}):
        path = Path(text)
        if path == out or out in path.parents:
            continue
        if stage := _stage_of(path, results):
            folder, result = stage
            inputs[str(folder)] = result
        elif results_only:
            continue
        elif (path / "dataset.json").is_file():
            inputs[text] = _file_digest(path / "dataset.json")
        elif path.exists():
            inputs[text] = digest(path)
        elif matches := sorted(glob.glob(text, recursive=True)):  # noqa: PTH207 (absolute ones too)
            inputs[text] = digest([[match, digest(Path(match))] for match in matches])
    return inputs


def _stage_of(path: Path, results: Mapping[Path, str]) -> tuple[Path, str] | None:
    """The output directory of the stage that ``path`` lies in, with the hash of its result."""
    folders = [path, *path.parents]
    for folder in folders:
        if folder in results:
            return folder, results[folder]
    for folder in folders:
        if (record := read_record(folder)) and record.state == "done" and record.result:
            return folder, record.result
    return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _file_digest(path: Path) -> str:
    stat = path.stat()
    if stat.st_size > MAX_HASHED_BYTES:
        return f"{stat.st_size} bytes of {stat.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()
