"""A checkpoint carries its own code: `trust_remote_code=True` runs it in a Python that has no step3vl."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from step3vl.model import load_model, save_checkpoint
from step3vl.model.remote import AUTO_MAP, remote_sources, write_remote_code

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
turns = [{"role": "user", "content": [{"type": "image", "image": Image.open(folder + "/picture.png")},
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


def test_the_files_import_each_other_and_nothing_unusual() -> None:
    sources = remote_sources()
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                wanted = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert f"{node.module}.py" in sources, f"{name} imports {node.module}, which does not travel"
                continue
            elif isinstance(node, ast.ImportFrom):
                wanted = {str(node.module).partition(".")[0]}
            else:
                continue
            unusual = wanted - ALLOWED - set(sys.stdlib_module_names)
            assert not unusual, f"{name} imports {unusual}"
    for target in AUTO_MAP.values():
        module, _, cls = target.partition(".")
        assert f"class {cls}(" in sources[f"{module}.py"]


def test_only_the_configuration_s_own_files_are_needed_to_serve() -> None:
    """Servers that have the model built in import the configuration alone: it must not reach for the model."""
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


def test_each_part_of_a_checkpoint_names_its_code(model, processor, tmp_path) -> None:
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


@pytest.fixture(scope="module")
def elsewhere(model, processor, noise, tmp_path_factory) -> Path:
    """A checkpoint after a Python without the package has read it, answered with it and saved it to `again`."""
    folder = tmp_path_factory.mktemp("remote")
    save_checkpoint(model, processor, folder / "model")
    noise(150, 90).save(folder / "model" / "picture.png")
    root = Path(__file__).parents[2]
    own = [str(root / part) for part in ("data", "inference", "pipelines", "training", "workflows")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(folder / "cache")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, str(folder / "model"), str(folder / "again"), json.dumps(own)],
        capture_output=True, text=True, env=environment, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_without_the_package_the_same_prompt_gives_the_same_answer(elsewhere, model, processor) -> None:
    seen = torch.load(elsewhere / "model" / "seen.pt")
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": Image.open(elsewhere / "model" / "picture.png")},
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


def test_what_is_saved_without_the_package_carries_the_code_on_and_is_read_with_it(elsewhere, model) -> None:
    config = json.loads((elsewhere / "again" / "config.json").read_text())
    for target in config["auto_map"].values():
        assert (elsewhere / "again" / f"{target.partition('.')[0]}.py").is_file()
    assert config["architectures"] == ["StepVLForConditionalGeneration"]
    loaded, _ = load_model(elsewhere / "again")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
