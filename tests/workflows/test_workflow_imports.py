"""Imports run one way through the house, and the light packages stay light."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

MAY_IMPORT = {
    "data": set(),
    "pipelines": {"data"},
    "model": {"data"},
    "inference": {"data", "model"},
    "evaluation": {"data", "model", "inference"},
    "training": {"data", "model", "inference", "evaluation"},
    "workflows": {"data", "pipelines", "model", "inference", "evaluation", "training"},
}
NEVER = {"data": {"torch", "apache_beam", "transformers", "ray"}}
NOT_AT_MODULE_LEVEL = {
    "pipelines": {"torch"},
    "workflows": {"torch", "transformers", "ray", "deepspeed", "apache_beam"},
}


def sources(package: str) -> list[Path]:
    spec = importlib.util.find_spec(f"step3vl.{package}")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]


def imports(tree: ast.AST, top_only: bool = False) -> Iterator[str]:
    """The full names that a module imports; only those that importing it runs, if ``top_only``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides which folder it comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (top_only and (lazy or typing_only)):
            yield from imports(node, top_only)


def found(package: str, top_only: bool = False) -> Iterator[tuple[Path, str]]:
    for path in sources(package):
        for name in imports(ast.parse(path.read_text(encoding="utf-8")), top_only):
            yield path, name


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path}: {name}"
        for path, name in found(package)
        if name.startswith("step3vl.") and name.split(".")[1] not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("package", NEVER)
def test_light_packages_never_import_heavy_ones(package: str) -> None:
    wrong = [f"{path}: {name}" for path, name in found(package) if name.split(".")[0] in NEVER[package]]
    assert not wrong


@pytest.mark.parametrize("package", NOT_AT_MODULE_LEVEL)
def test_heavy_imports_wait_until_they_are_needed(package: str) -> None:
    heavy = NOT_AT_MODULE_LEVEL[package]
    wrong = [f"{path}: {name}" for path, name in found(package, top_only=True) if name.split(".")[0] in heavy]
    assert not wrong


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_init_stands_where_the_folders_meet(package: str) -> None:
    for path in sources(package)[:1]:
        house = next(parent for parent in path.parents if parent.name == "step3vl")
        assert not (house / "__init__.py").exists()


def test_the_rules_see_an_import_inside_a_function() -> None:
    tree = ast.parse("def f():\n    from step3vl.training import x\nif TYPE_CHECKING:\n    import torch\nimport ray\n")
    assert list(imports(tree)) == ["step3vl.training.x", "torch", "ray"]
    assert list(imports(tree, top_only=True)) == ["ray"]
