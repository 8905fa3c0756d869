"""The package's own sources beside the weights, so that a checkpoint runs where step3vl is not installed.

Hugging Face calls this remote code: `trust_remote_code=True` imports the Python files of a checkpoint's folder, which
must lie side by side and import each other relatively. They are made from the installed modules when a checkpoint is
written; there is no second copy to keep. Servers that have the model built in (vLLM, SGLang) need the configuration.
"""

import ast
import importlib.util
import json
import re
from pathlib import Path

SUFFIX = "_step3vl"  # of each file's name: cached folders of remote code lie in one namespace
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
    """Add the sources to a saved checkpoint, and name their classes in its `config.json` and processor files."""
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
    """File name and text of every module that the model and its processors need, with relative imports."""
    sources: dict[str, str] = {}
    waiting = [f"step3vl.model.{root}" for root in ROOTS]
    origins: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        name = _file_of(module)
        if origins.setdefault(name, module) != module:
            raise ValueError(f"{module} and {origins[name]} would share the file {name}: rename one")
        if name not in sources:
            text = _source_of(module)
            waiting += _own_imports(text)
            sources[name] = _IMPORT.sub(rf"\1from .\2{SUFFIX} import", text)
    return dict(sorted(sources.items()))


def _file_of(module: str) -> str:
    return f"{module.rpartition('.')[2]}{SUFFIX}.py"


def _source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or spec.submodule_search_locations is not None:
        raise ValueError(f"{module} is no single module: import from the module that defines the name")
    return Path(spec.origin).read_text(encoding="utf-8")


def _own_imports(text: str) -> list[str]:
    """The modules of this distribution that a source imports from, wherever the import stands."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "step3vl":
            found.append(str(node.module))
        elif isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "step3vl" for alias in node.names):
            raise ValueError("a module of a checkpoint imports names only: from step3vl.x.y import z")
    return found
