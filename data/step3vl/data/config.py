"""The base class of every configuration: frozen, typed, and strict about unknown keys."""

import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class FrozenModel(BaseModel):
    """Values that do not change, typed and strict about unknown keys: what configurations and samples are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


class Config(FrozenModel):
    """A configuration, defined in the module of the code that it configures.

    A field that was renamed is listed in `RENAMED`; a configuration that still uses the old name is refused with the
    new one named.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Old field name -> new name, dotted where the field moved into a nested model."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_renamed(cls, values: Any) -> Any:
        if cls.RENAMED and isinstance(values, Mapping):
            renamed = [f"'{name}' is now '{cls.RENAMED[name]}'" for name in values if name in cls.RENAMED]
            if renamed:
                raise ValueError(f"{', '.join(renamed)}; rename the {'field' if len(renamed) == 1 else 'fields'}")
        return values


def explain_validation_error(error: ValidationError) -> str:
    """Describe the first mistake of a validated value in one line: the field, what is wrong, and its value.

    Args:
        error: What pydantic raised.

    Returns:
        For example `images.0.width: Input should be greater than or equal to 1; found 0 (and 2 more)`.
    """
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] in ("value_error", "missing") else f"; found {reprlib.repr(first['input'])}"
    more = error.error_count() - 1
    return f"{field + ': ' if field else ''}{message}{value}" + (f" (and {more} more)" if more else "")
