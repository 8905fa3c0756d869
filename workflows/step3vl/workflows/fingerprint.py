"""What a stage depends on, as hashes: its configuration's content and the files and stages that it names."""

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step3vl.data.config import Config

WHOLE = 64 * 2**20
"""Bytes up to which a file's content is hashed; of a larger one, its size and time of change."""


def digest(thing: Any) -> str:
    """The SHA-256 of a path's content (a folder: of every file's name and content in it), or of a JSON-able value."""
    if isinstance(thing, Path):
        if thing.is_dir():
            return digest([[str(path.relative_to(thing)), _file(path)] for path in _files(thing)])
        return _file(thing)
    return hashlib.sha256(json.dumps(thing, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def input_digests(config: Config, out: Path, results: Mapping[Path, str]) -> dict[str, str]:
    """Name -> hash of everything on disk that a configuration names, its own output ``out`` apart.

    ``results`` holds, for the output directory of each earlier stage, the hash of its result: any path inside one
    stands for that. Any other string with a slash that names a file, a folder or a pattern with matches stands for
    their content; of a dataset, the manifest says everything.
    """
    inputs: dict[str, str] = {}
    for text in sorted({text for text in _strings(config.model_dump(mode="json")) if "/" in text}):
        path = Path(text)
        if path == out or out in path.parents:
            continue
        stage = next((place for place in results if place == path or place in path.parents), None)
        if stage is not None:
            inputs[str(stage)] = results[stage]
        elif (path / "dataset.json").is_file():
            inputs[text] = _file(path / "dataset.json")
        elif path.exists():
            inputs[text] = digest(path)
        elif matches := sorted(glob.glob(text, recursive=True)):  # noqa: PTH207 (absolute ones too)
            inputs[text] = digest([[match, digest(Path(match))] for match in matches])
    return inputs


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


def _file(path: Path) -> str:
    stat = path.stat()
    if stat.st_size > WHOLE:
        return f"{stat.st_size} bytes of {stat.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()
