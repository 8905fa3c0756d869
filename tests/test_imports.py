"""Imports run one way through the packages, without cycles, and the light packages stay light."""

import ast
import importlib.util
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

MAY_IMPORT = {
    "data": set(),
    "grading": {"data"},
    "pipelines": {"data", "grading"},
    "model": {"data", "grading"},
    "inference": {"data", "grading", "model"},
    "evaluation": {"data", "grading", "model", "inference"},
    "training": {"data", "grading", "model", "inference", "evaluation"},
    "workflows": {"data", "grading", "pipelines", "model", "inference", "evaluation", "training"},
    "vllm_plugin": {"data", "model"},
}
"""Package -> the packages that it may import, at module level or inside functions."""
NEVER = {
    "data": {"torch", "apache_beam", "transformers"},
    "grading": {"torch", "apache_beam", "transformers", "ray"},
}
NOT_AT_MODULE_LEVEL = {
    "data": {"ray"},
    "pipelines": {"torch"},
    "evaluation": {"torch", "transformers", "ray"},
    "workflows": {"torch", "transformers", "ray", "deepspeed", "apache_beam"},
}
LIGHT = {
    "step3vl.inference": ("torch", "transformers", "ray", "apache_beam"),
    "step3vl.inference.client": ("torch", "transformers", "ray", "apache_beam"),
    "step3vl.inference.pacore": ("torch", "transformers", "ray", "apache_beam"),
    "step3vl.inference.server": ("torch", "transformers", "ray", "apache_beam"),
    "step3vl.evaluation.runner": ("torch", "transformers", "ray", "apache_beam"),
    "step3vl.grading": ("torch", "transformers", "ray", "apache_beam", "sympy"),
    "step3vl.workflows.cli": (
        *("torch", "apache_beam", "transformers", "ray", "deepspeed"),
        *("pydantic", "pyarrow", "numpy", "PIL", "yaml"),
    ),
}
"""Module -> what importing it must not import."""


@cache
def modules() -> dict[str, Path]:
    """Full name -> file of every module of step3vl."""
    names = {}
    for package in MAY_IMPORT:
        spec = importlib.util.find_spec(f"step3vl.{package}")
        assert spec, package
        for folder in map(Path, spec.submodule_search_locations or []):
            for path in sorted(folder.rglob("*.py")):
                parts = path.relative_to(folder).with_suffix("").parts
                names[".".join(["step3vl", package, *parts]).removesuffix(".__init__")] = path
    return names


def imports(tree: ast.AST, top_only: bool = False, typing_too: bool = True) -> Iterator[str]:
    """The full names that a module imports.

    Args:
        tree: The module.
        top_only: Only what importing the module runs.
        typing_too: Also what only a type checker imports.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides which folder it comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (top_only and (lazy or typing_only)) and (typing_too or not typing_only):
            yield from imports(node, top_only, typing_too)


@cache
def syntax_tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def imports_of(package: str, top_only: bool = False) -> Iterator[tuple[str, str]]:
    for name in modules():
        if name.split(".")[1] == package:
            for imported in imports(syntax_tree(name), top_only):
                yield name, imported


def module_graph() -> dict[str, set[str]]:
    """Module -> the modules of step3vl that it imports, also inside functions; not those for a type checker alone."""
    graph: dict[str, set[str]] = defaultdict(set)
    for name in modules():
        for imported in imports(syntax_tree(name), typing_too=False):
            target = imported if imported in modules() else imported.rpartition(".")[0]
            if target in modules() and target != name:
                graph[name].add(target)
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph.get(name, ())):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                components.append(sorted(component))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return components


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{name}: {imported}"
        for name, imported in imports_of(package)
        if imported.startswith("step3vl.") and imported.split(".")[1] not in allowed
    ]
    assert not wrong


def test_every_package_has_its_rule() -> None:
    roots = {path for module in modules().values() for path in module.parents if path.name == "step3vl"}
    packages = {folder.name for root in roots for folder in root.iterdir() if any(folder.glob("*.py"))}
    assert packages == set(MAY_IMPORT)


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(module_graph()) == []


def test_the_graph_has_what_it_should() -> None:
    graph = module_graph()
    assert "step3vl.data.errors" in graph["step3vl.workflows.runner"]
    assert "step3vl.workflows.kinds" in graph["step3vl.workflows.cli"], "an import inside a function"
    assert len(graph) > 100


def test_a_cycle_is_found_through_three_modules() -> None:
    assert cycles({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()}) == [["a", "b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("package", NEVER)
def test_light_packages_never_import_heavy_ones(package: str) -> None:
    wrong = [
        f"{name}: {imported}" for name, imported in imports_of(package) if imported.split(".")[0] in NEVER[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", NOT_AT_MODULE_LEVEL)
def test_heavy_imports_wait_until_they_are_needed(package: str) -> None:
    heavy = NOT_AT_MODULE_LEVEL[package]
    wrong = [
        f"{name}: {imported}"
        for name, imported in imports_of(package, top_only=True)
        if imported.split(".")[0] in heavy
    ]
    assert not wrong


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_light_module_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {LIGHT[module]!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_step3vl_is_a_namespace_package() -> None:
    roots = {path for module in modules().values() for path in module.parents if path.name == "step3vl"}
    assert len(roots) == 5
    assert not [root for root in roots if (root / "__init__.py").exists()]


def test_the_rules_see_an_import_inside_a_function() -> None:
    tree = ast.parse("def f():\n    from step3vl.training import x\nif TYPE_CHECKING:\n    import torch\nimport ray\n")
    assert list(imports(tree)) == ["step3vl.training.x", "torch", "ray"]
    assert list(imports(tree, typing_too=False)) == ["step3vl.training.x", "ray"]
    assert list(imports(tree, top_only=True)) == ["ray"]
