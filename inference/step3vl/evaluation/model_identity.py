"""What identifies a model in the results of a run."""

from pathlib import Path
from typing import Any

from blake3 import blake3

from step3vl.data.errors import UserError
from step3vl.inference.client import Backend, RemoteBackend

_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt")
"""What of a model folder decides what it answers."""


async def identify_model(backend: Backend, folder: Path | None) -> dict[str, Any]:
    """The name of a model, with a fingerprint of its folder, or the address and entry of its server.

    Args:
        backend: Who answers.
        folder: The model folder that it runs; None for a server, whose weights cannot be seen.

    Raises:
        BackendError: the server cannot be reached.
        UserError: the folder holds no model.
    """
    if folder is not None:
        return {"name": _folder_name(folder.resolve()), "fingerprint": folder_fingerprint(folder)}
    identity: dict[str, Any] = {}
    if isinstance(backend, RemoteBackend):
        await backend.resolve_model()
        entries = [entry for entry in await backend.models() if entry.get("id") == backend.name]
        names = ("root", "max_model_len", "owned_by")
        identity = {name: entries[0][name] for name in names if entries and entries[0].get(name) is not None}
        identity["server"] = getattr(backend, "url", "")
    return {"name": backend.name, **identity}


def _folder_name(folder: Path) -> str:
    """The name of a model folder; all that trainers leave are called `export`, in the folder of the run."""
    return f"{folder.parent.name}/{folder.name}" if folder.name == "export" else folder.name


def folder_fingerprint(folder: Path) -> str:
    """A hash of the names and contents of a model folder's files: weights, configuration, tokenizer and template."""
    paths = sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()})
    if not paths:
        raise UserError(f"{folder}: not a model folder; it holds no {' or '.join(_FILES)}")
    digest = blake3(max_threads=blake3.AUTO)
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update_mmap(path)
    return digest.hexdigest()[:32]
