"""Writes the package's sources beside the weights, so that a checkpoint runs where step3vl is not installed.

Hugging Face calls this remote code: `trust_remote_code=True` imports the Python files of a checkpoint's folder, which
must be in one folder and import each other relatively. They are generated from the installed modules when a checkpoint
is written; there is no second copy to maintain. Servers that implement the model (vLLM, SGLang) need only the
configuration.
"""

import ast
import importlib.util
import json
import re
from pathlib import Path

SUFFIX = "_step3vl"  # of every file name, as in `modeling_step3vl.py`: cached remote code shares one namespace
ROOTS = ("configuration", "modeling", "image_processing", "processing")
AUTO_MAP = {
    "AutoConfig": f"configuration{SUFFIX}.Step3VLConfig",
    "AutoModelForCausalLM": f"modeling{SUFFIX}.Step3VLForConditionalGeneration",
    "AutoModelForImageTextToText": f"modeling{SUFFIX}.Step3VLForConditionalGeneration",
    "AutoImageProcessor": f"image_processing{SUFFIX}.Step3VLImageProcessor",
    "AutoProcessor": f"processing{SUFFIX}.Step3VLProcessor",
}
_IMPORT = re.compile(r"^(\s*)from step3vl\.(?:\w+\.)*(\w+) import\b", re.MULTILINE)


def write_remote_code(folder: str | Path) -> None:
    """Add the sources to a saved checkpoint, and their classes as `auto_map` to its `config.json` and processor files.

    Args:
        folder: A folder that `save_pretrained` wrote.

    Raises:
        ValueError: When a module cannot be copied.
    """
    folder = Path(folder)
    for name, source in remote_sources().items():
        (folder / name).write_text(source, encoding="utf-8")
    for name in ("config.json", "preprocessor_config.json", "processor_config.json"):
        file = folder / name
        if file.is_file():
            values = json.loads(file.read_text(encoding="utf-8"))
            for part in (values, values.get("image_processor")):
                if part is not None:
                    part["auto_map"] = AUTO_MAP
            file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def remote_sources() -> dict[str, str]:
    """Collect the modules that the model and its processors import from this distribution.

    Returns:
        File name to source, with relative imports.

    Raises:
        ValueError: When a module cannot be copied: it is a package, it imports a module instead of names, it imports
            relatively, or another module has the same file name.
    """
    sources: dict[str, str] = {}
    origins: dict[str, str] = {}
    pending = [f"step3vl.model.{root}" for root in ROOTS]
    while pending:
        module = pending.pop()
        name = f"{module.rpartition('.')[2]}{SUFFIX}.py"
        if origins.setdefault(name, module) != module:
            raise ValueError(f"{module} and {origins[name]} would share the file {name}: rename one")
        if name not in sources:
            source = _read_source(module)
            pending += _imported_modules(source, module)
            sources[name] = _IMPORT.sub(rf"\1from .\2{SUFFIX} import", source)
            if "step3vl" in _absolute_imports(sources[name]):
                raise ValueError(f"{module} has an import that cannot be rewritten: write from step3vl.x.y import z")
    return dict(sorted(sources.items()))


def _read_source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or spec.submodule_search_locations is not None:
        raise ValueError(f"{module} is not a single module: import from the module that defines the name")
    return Path(spec.origin).read_text(encoding="utf-8")


def _imported_modules(source: str, module: str) -> list[str]:
    """The modules of this distribution that a source imports from, also inside functions."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{module} imports relatively; write: from step3vl.x.y import z")
            if str(node.module).partition(".")[0] == "step3vl":
                modules.append(str(node.module))
        elif isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "step3vl" for alias in node.names):
            raise ValueError(f"{module} imports a module of step3vl; write: from step3vl.x.y import z")
    return modules


def _absolute_imports(source: str) -> set[str]:
    """The top-level packages of all imports that are not relative."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
    return names
