"""Configurations: renamed fields are refused, and a validation error is one line."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from step3vl.data.config import Config, explain_validation_error


class Inner(Config):
    width: int = Field(default=1, ge=1)


class Outer(Config):
    RENAMED: ClassVar[Mapping[str, str]] = {"breadth": "inner.width"}

    inner: Inner = Inner()
    sizes: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"inner": {"width": 0}}, "inner.width: Input should be greater than or equal to 1; found 0"),
        ({"breadth": 3}, "'breadth' is now 'inner.width'; rename the field"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted; found 'red'"),
        ({"sizes": [1, "x"], "inner": 3}, "(and 1 more)"),
    ],
)
def test_validation_error_is_one_line(values: dict[str, object], line: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Outer.model_validate(values)
    text = explain_validation_error(refused.value)
    assert line in text
    assert "\n" not in text


def test_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().width = 2  # type: ignore[misc]
