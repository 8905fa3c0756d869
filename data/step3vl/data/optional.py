"""Optional dependencies, checked once, with the extra to install named in the error."""

from __future__ import annotations

import importlib
from types import ModuleType

from step3vl.data.errors import UserError


def require(module: str, extra: str) -> ModuleType:
    """Import a module that only an extra of this distribution installs.

    Args:
        module: Dotted name of the module, for example `"ray.data"`.
        extra: The extra that installs it, for example `"pipelines"`.

    Returns:
        The imported module.

    Raises:
        UserError: The package is not installed. An installed package that fails to import raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise UserError(f"this needs the package {package}; install it: pip install 'step3vl[{extra}]'") from error
