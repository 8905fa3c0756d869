"""The formats by name. Every module of this folder with a `FORMAT` is one; they are imported when used."""

import importlib
import pkgutil
from difflib import get_close_matches
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.pipelines.gui.sets.format import SetFormat

_SHARED = frozenset({"actions", "format", "formats", "records", "tfrecord"})

FORMATS: tuple[str, ...] = tuple(
    sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name not in _SHARED)
)
"""The names of all formats."""


def load_format(name: str) -> SetFormat:
    """The format of a name.

    Raises:
        UserError: There is none.
    """
    if name not in FORMATS:
        close = get_close_matches(name, FORMATS, n=3) or FORMATS
        raise UserError(f"no format {name!r}; there are: {', '.join(close)}")
    format: SetFormat = importlib.import_module(f"{__package__}.{name}").FORMAT
    return format
