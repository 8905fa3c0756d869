"""The base of every configuration: frozen, typed, and strict about unknown keys."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A configuration stands beside the thing it configures and never changes after it was validated."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
