"""`step3vl serve`: a model of this machine, or PaCoRe in front of a running server."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.inference.server import ServerConfig, serve
from step3vl.inference.server.config import read_keys
from step3vl.workflows.answering import open_backend
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
    """Serve until a signal comes. `overrides` change fields of ServerConfig.

    Raises UserError for a model that cannot be read, wrong settings, or a port that is taken.
    """
    config = validate({"api_keys": read_keys(keys)}, overrides, ServerConfig, Path("serve"))
    if not backend and model is None:
        raise UserError("serve: name a model folder, or a running server with --backend URL")
    key = os.environ.get(BACKEND_KEY)  # where no process list shows it
    opened = open_backend(model, backend or None, key, device)
    serve({name or shown_name(model, backend): opened}, config, host=host, port=port, drain=drain)


def shown_name(model: str | None, backend: str | None) -> str:
    """What clients call the model: a folder's last name, or the other server's name for it."""
    if model is None:
        return "step3-vl"
    return model if backend else Path(model).resolve().name
