"""Prompt templates of an entry, and what is read out of a model's response."""

import re
from collections.abc import Mapping

from step3vl.data.errors import UserError

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_REASONING = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


def check_template(template: str, fields: tuple[str, ...], owner: str) -> None:
    """Check the placeholders of a template, `{name}`; other braces, as of JSON, are text.

    Args:
        template: Of a prompt.
        fields: Names that it may use.
        owner: For the error.

    Raises:
        UserError: It uses another name.
    """
    for name in _PLACEHOLDER.findall(template):
        if name not in fields:
            raise UserError(f"{owner}: the prompt uses {{{name}}}; it may use {', '.join(f'{{{f}}}' for f in fields)}")


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders replaced, in one pass: what a value itself has in braces is kept."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def without_reasoning(text: str) -> str:
    """A response without the reasoning that it begins with."""
    return _REASONING.sub("", text).strip()
