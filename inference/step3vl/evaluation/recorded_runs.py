"""Files that hold the recorded outputs of several models or checkpoints."""

from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.files import COMPRESSIONS, read_json


def select_run(path: Path) -> tuple[str, Any]:
    """A run of a file that maps the names of runs to their outputs: `answers.json#LLaVA` is that of LLaVA.

    Returns:
        The run's name and its outputs. The name may be left out where the file has one run only.

    Raises:
        UserError: the file is missing or no such mapping, the run is not in it, or several are and none is named.
    """
    file, _, name = str(path).partition("#")
    runs = read_json(Path(file))
    if not isinstance(runs, dict):
        raise UserError(f"{file}: not an object that maps names of runs to their outputs")
    if not name and len(runs) == 1:
        name = next(iter(runs))
    if name not in runs:
        raise UserError(f"{file}: name one of its runs after '#': {', '.join(map(str, runs))}")
    return name, runs[name]


def find_near(path: Path, name: str) -> Path:
    """A file beside recorded outputs, or in the folder above, also compressed.

    Raises:
        UserError: there is none.
    """
    folders = (path.parent, path.parent.parent, path.parent.parent.parent)
    candidates = [folder / f"{name}{suffix}" for folder in folders for suffix in COMPRESSIONS]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(f"{path.parent / name}: no such file; the outputs are scored against it, put it beside them")
