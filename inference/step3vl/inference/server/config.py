"""The settings of `step3vl serve`, with the limits that keep one client from degrading the service for others."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError

KEYS_VARIABLE = "STEP3VL_API_KEYS"
MIB = 2**20


class ServerConfig(Config):
    """The server's limits."""

    api_keys: tuple[str, ...] = Field(default=(), repr=False)
    """Keys that clients must send; without any, everyone who reaches the port is served."""
    concurrency: int = Field(default=64, ge=1)
    """Requests that are answered at the same time."""
    queue: int = Field(default=4096, ge=0)
    """Requests that may wait for their turn; further ones get 429."""
    connections: int = Field(default=8192, ge=1)
    """Open requests of any kind; further ones get 503."""
    timeout: float = Field(default=7200, gt=0)
    """The longest that one request may take, in seconds."""
    stall: float = Field(default=60, gt=0)
    """The longest that a client may neither send nor read, in seconds."""
    request_bytes: int = Field(default=64 * MIB, ge=1024)
    """The largest request body, in bytes. All bodies together take eight times as much; further ones are read when
    others have been answered."""
    image_bytes: int = Field(default=20 * MIB, ge=1)
    """The largest image file, in bytes."""
    image_pixels: int = Field(default=64_000_000, ge=1)
    """The largest image, in pixels."""
    images: int = Field(default=32, ge=0)
    """Images in one request."""
    image_hosts: tuple[str, ...] = ()
    """Hosts that images may be fetched from by https; `*` for every public host."""
    image_folder: Path | None = None
    """The folder from which `file:` URLs may name images."""
    max_tokens: int = Field(default=65_536, ge=1)
    """The longest reply, in tokens."""
    default_max_tokens: int = Field(default=16_384, ge=1)
    """The longest chat reply of a request that names no limit, in tokens. Memory is taken as
    replies grow, so this only bounds those that never end. A gateway leaves the default to the server behind it."""
    rollouts: int = Field(default=64, ge=1)
    """Rollouts of one request: its `n`, or the hypotheses of all PaCoRe rounds."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the server, such as `https://app.example.com`; `*` for all. By default none but
    the server's own."""


def read_keys(file: Path | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Read the API keys.

    Args:
        file: Holds one key a line; `#` starts a comment.
        environment: Its STEP3VL_API_KEYS holds further keys between commas.

    Raises:
        UserError: When the file cannot be read or holds no key.
    """
    keys = [key.strip() for key in environment.get(KEYS_VARIABLE, "").split(",")]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read as a list of API keys ({error})") from None
        file_keys = [line.partition("#")[0].strip() for line in lines]
        if not any(file_keys):
            raise UserError(f"{file}: holds no API key; write one a line")
        keys += file_keys
    return tuple(dict.fromkeys(key for key in keys if key))
