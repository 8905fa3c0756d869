"""The remote code of a checkpoint: `trust_remote_code=True` runs it in a Python without step3vl."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from step3vl.model import load_model, remote, save_checkpoint
from step3vl.model.remote import AUTO_MAP, remote_sources, write_remote_code

pytestmark = pytest.mark.slow

# What transformers with vision needs anyway, and pydantic, which every server has.
ALLOWED = {"PIL", "huggingface_hub", "numpy", "pydantic", "safetensors", "tokenizers", "torch", "transformers"}

HIDDEN = """
import importlib.util, json, sys
sys.path[:] = [path for path in sys.path if path not in json.loads(sys.argv[3])]
assert importlib.util.find_spec("step3vl") is None, "the package must not be importable here"
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

folder, again = sys.argv[1:3]
trust = {"trust_remote_code": True}
config = AutoConfig.from_pretrained(folder, **trust)
model = AutoModelForCausalLM.from_pretrained(folder, **trust)
assert type(AutoModelForImageTextToText.from_pretrained(folder, **trust)).__name__ == type(model).__name__
assert AutoImageProcessor.from_pretrained(folder, **trust).image_size == config.vision_config.image_size
processor = AutoProcessor.from_pretrained(folder, **trust)
turns = [{"role": "user", "content": [{"type": "image", "image": Image.open(folder + "/image.png")},
                                      {"type": "text", "text": "How many?"}]}]
inputs = processor.apply_chat_template(
    turns, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True)
with torch.inference_mode():
    logits = model(**inputs).logits
    answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)
torch.save({"inputs": dict(inputs), "logits": logits, "answer": answer}, folder + "/seen.pt")
model.save_pretrained(again)
processor.save_pretrained(again)
assert "step3vl" not in sys.modules
"""


def test_the_files_import_only_each_other_and_common_packages() -> None:
    sources = remote_sources()
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                packages = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert f"{node.module}.py" in sources, f"{name} imports {node.module}, which is not copied"
                continue
            elif isinstance(node, ast.ImportFrom):
                packages = {str(node.module).partition(".")[0]}
            else:
                continue
            unusual = packages - ALLOWED - set(sys.stdlib_module_names)
            assert not unusual, f"{name} imports {unusual}"
    for target in AUTO_MAP.values():
        module, _, cls = target.partition(".")
        assert f"class {cls}(" in sources[f"{module}.py"]


def test_the_configuration_does_not_import_the_model() -> None:
    """Servers that implement the model import the configuration only."""
    sources = remote_sources()
    needed, waiting = set(), ["configuration_step3vl"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        tree = ast.parse(sources[f"{name}.py"])
        waiting += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not {name for name in needed if name.startswith(("modeling", "vision", "processing", "image_processing"))}
    assert "torch" not in "".join(
        line for name in needed for line in sources[f"{name}.py"].splitlines() if "import" in line
    )


def test_every_config_file_names_its_classes(model, processor, tmp_path) -> None:
    save_checkpoint(model, processor, tmp_path / "with")
    save_checkpoint(model, processor, tmp_path / "without", remote_code=False)
    assert not list((tmp_path / "without").glob("*.py"))
    for name in ("config.json", "processor_config.json", "preprocessor_config.json"):
        assert json.loads((tmp_path / "with" / name).read_text())["auto_map"] == AUTO_MAP
        assert "auto_map" not in json.loads((tmp_path / "without" / name).read_text())
    write_remote_code(tmp_path / "without")
    assert {file.name for file in (tmp_path / "without").iterdir()} == {
        file.name for file in (tmp_path / "with").iterdir()
    }


UNCOPYABLE = {
    "from step3vl.data.sample import ImageSpec": "step3vl.data.sample is not a single module",
    "import step3vl.data.sample.crops": "imports a module of step3vl",
    "def f():\n    from . import masks": "imports relatively",
    "from step3vl.data.nowhere import x": "is not a single module",
    "if True: from step3vl.model.masks import sample_starts": "cannot be rewritten",
}


@pytest.mark.parametrize("source", UNCOPYABLE)
def test_modules_that_cannot_be_copied_are_refused(monkeypatch, source) -> None:
    read = remote._read_source
    monkeypatch.setattr(
        remote, "_read_source", lambda module: source if module.endswith(".modeling") else read(module)
    )
    with pytest.raises(ValueError, match=UNCOPYABLE[source]):
        remote_sources()


@pytest.fixture(scope="module")
def elsewhere(model, processor, noise, tmp_path_factory) -> Path:
    """A checkpoint that a Python without the package has loaded, used and saved to `again`."""
    folder = tmp_path_factory.mktemp("remote")
    save_checkpoint(model, processor, folder / "model")
    noise(150, 90).save(folder / "model" / "image.png")
    root = Path(__file__).parents[2]
    roots = [str(root / part) for part in ("data", "inference", "pipelines", "training", "workflows")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(folder / "cache")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, str(folder / "model"), str(folder / "again"), json.dumps(roots)],
        capture_output=True, text=True, env=environment, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_remote_code_gives_the_same_answer_without_the_package(elsewhere, model, processor) -> None:
    seen = torch.load(elsewhere / "model" / "seen.pt")
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": Image.open(elsewhere / "model" / "image.png")},
                {"type": "text", "text": "How many?"},
            ],
        }
    ]
    inputs = processor.apply_chat_template(
        turns, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    for name, tensor in inputs.items():
        assert torch.equal(tensor, seen["inputs"][name]), name
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, seen["logits"])
        answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert torch.equal(answer, seen["answer"])


def test_a_copy_saved_by_remote_code_is_complete(elsewhere, model) -> None:
    config = json.loads((elsewhere / "again" / "config.json").read_text())
    for target in config["auto_map"].values():
        assert (elsewhere / "again" / f"{target.partition('.')[0]}.py").is_file()
    assert config["architectures"] == ["StepVLForConditionalGeneration"]
    loaded, _ = load_model(elsewhere / "again")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
