"""Python code of labels is run in this process, and can do nothing but call the libraries that it may import.

It names no other modules, has no private names, and finds only harmless built-in functions. The step around it has a
time limit, so its process is one of its own.
"""

import ast
import builtins
import importlib
import sys
import types
from collections.abc import Sequence
from typing import Any

_BUILTINS = (
    "dict",
    "enumerate",
    "float",
    "int",
    "len",
    "list",
    "map",
    "max",
    "min",
    "range",
    "round",
    "sorted",
    "str",
    "sum",
    "tuple",
    "zip",
)


def check_code(code: str, modules: Sequence[str]) -> ast.Module:
    """Parse a script and refuse all but plain calls of some modules.

    Args:
        code: The script.
        modules: That it may import.

    Raises:
        ValueError: It imports other modules or touches a private name.
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["."]
        else:
            names = []
        refused = [name for name in names if name not in modules]
        if refused:
            raise ValueError(f"the code imports {refused[0]}")
        private = getattr(node, "attr", None) or getattr(node, "id", None) or ""
        if private.startswith("_"):
            raise ValueError(f"the code uses {private}")
    return tree


def run_script(tree: ast.Module, modules: Sequence[str]) -> dict[str, Any]:
    """Run a script.

    Args:
        tree: As `check_code` returns it, maybe changed.
        modules: That it may import.

    Returns:
        The names that it defines.
    """

    def load(name: str, *_: Any) -> types.ModuleType:
        if name not in modules:
            raise ImportError(f"the code imports {name}")
        importlib.import_module(name)
        return sys.modules[name.partition(".")[0]]

    allowed: dict[str, Any] = {name: getattr(builtins, name) for name in _BUILTINS} | {"__import__": load}
    names: dict[str, Any] = {"__builtins__": allowed}
    exec(compile(tree, "<label>", "exec"), names)
    return names
