"""What `serve` may be told, and the limits that keep one client from spoiling the service for the others."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError

KEYS_VARIABLE = "STEP3VL_API_KEYS"
MIB = 2**20


class ServerConfig(Config):
    """Sizes are bytes, times seconds. Without `api_keys` everybody who reaches the port may ask."""

    api_keys: tuple[str, ...] = Field(default=(), repr=False)
    concurrency: int = Field(default=64, ge=1, description="requests that are answered at once")
    queue: int = Field(default=256, ge=0, description="requests that wait for their turn; more are told 429")
    connections: int = Field(default=1024, ge=1, description="open requests of any kind; more are told 503")
    timeout: float = Field(default=7200, gt=0, description="the longest that one request may take")
    stall: float = Field(default=60, gt=0, description="the longest that a client may neither send nor read")
    request_bytes: int = Field(default=64 * MIB, ge=1024)
    image_bytes: int = Field(default=20 * MIB, ge=1)
    image_pixels: int = Field(default=64_000_000, ge=1)
    images: int = Field(default=32, ge=0, description="pictures in one request")
    image_hosts: tuple[str, ...] = Field(
        default=(), description="hosts that pictures may be fetched from by https; `*` for every public host"
    )
    image_folder: Path | None = Field(default=None, description="the folder that file: URLs may name pictures in")
    max_tokens: int = Field(default=65_536, ge=1, description="the longest reply")
    rollouts: int = Field(default=64, ge=1, description="replies of one request: its n, or the rollouts of all rounds")


def read_keys(file: Path | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """API keys: one a line in the file, where `#` starts a comment, and those in STEP3VL_API_KEYS between commas.

    Raises UserError when the file cannot be read or holds none.
    """
    keys = [key.strip() for key in environment.get(KEYS_VARIABLE, "").split(",")]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read as a list of API keys ({error})") from None
        found = [line.partition("#")[0].strip() for line in lines]
        if not any(found):
            raise UserError(f"{file}: holds no API key; write one a line")
        keys += found
    return tuple(dict.fromkeys(key for key in keys if key))
