"""`step3vl serve`: a model folder, or PaCoRe in front of a running server."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.inference.server import ServerConfig, serve
from step3vl.inference.server.config import read_keys
from step3vl.workflows.backends import open_backend
from step3vl.workflows.config import validate

BACKEND_KEY = "STEP3VL_BACKEND_KEY"


def run_serve(
    model: str | None,
    overrides: Mapping[str, Any],
    *,
    backend: str | None,
    name: str | None,
    host: str,
    port: int,
    keys: Path | None,
    device: str,
    drain: int,
) -> None:
    """Serve until a signal comes. Arguments are those of ``step3vl serve``.

    Args:
        overrides: Fields of ``ServerConfig``, dotted key -> value.

    Raises:
        UserError: the model cannot be read, a setting is wrong, or the port is in use.
    """
    config = validate({"api_keys": read_keys(keys)}, overrides, ServerConfig, Path("serve"))
    if not backend and model is None:
        raise UserError("serve: name a model folder, or a running server with --backend URL")
    key = os.environ.get(BACKEND_KEY)  # where no process list shows it
    served = open_backend(model, backend or None, key, device)
    serve({name or public_name(model, backend): served}, config, host=host, port=port, drain=drain)


def public_name(model: str | None, backend: str | None) -> str:
    """The model's name for clients: that of its folder, or the other server's name for it."""
    if model is None:
        return "step3-vl"
    return model if backend else Path(model).resolve().name
