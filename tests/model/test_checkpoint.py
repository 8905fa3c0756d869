"""Checkpoint folders: saving and loading is exact, and broken folders are reported."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from step3vl.data.errors import UserError
from step3vl.data.tokens import TokenIds, fingerprint, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, load_model, save_checkpoint
from step3vl.model.checkpoint import suppressed_token_ids


@pytest.fixture(scope="module")
def saved(model, processor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_checkpoint(model, processor, folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_a_checkpoint_contains_everything_to_serve_it(saved, tokenizer) -> None:
    assert {file.name for file in saved.iterdir() if file.suffix != ".py"} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    ids = TokenIds.of(tokenizer)
    generation = json.loads((saved / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [ids.pad, ids.chat_end, ids.image_patch]
    assert (generation["temperature"], generation["top_p"], generation["top_k"]) == (1.0, 1.0, 0)
    assert set(generation["suppress_tokens"]) == set(suppressed_token_ids(ids)) - {ids.image_patch}
    config = json.loads((saved / "config.json").read_text())
    assert config["model_type"] == "step_robotics"
    assert config["architectures"] == ["StepVLForConditionalGeneration"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_are_saved_exactly_under_the_published_names(fresh_model, processor, tmp_path, dtype) -> None:
    model = fresh_model.to(dtype)
    save_checkpoint(model, processor, tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    loaded, _ = load_model(tmp_path / "model")
    assert stored.keys() == model.state_dict().keys() == loaded.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert stored[name].dtype == loaded.state_dict()[name].dtype == dtype
        assert torch.equal(stored[name], tensor)
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize("max_shard_size", ["5GB", "100KB"])
def test_all_files_are_equally_readable(fresh_model, processor, tmp_path, max_shard_size) -> None:
    """A server that runs as another user reads the weights as well."""
    save_checkpoint(fresh_model, processor, tmp_path / "model", max_shard_size=max_shard_size)
    assert len({file.stat().st_mode for file in (tmp_path / "model").iterdir()}) == 1


def test_a_loaded_model_has_the_same_prompts_and_logits(model, saved, processor, tokenizer, noise) -> None:
    loaded, its_processor = load_model(saved)
    assert its_processor.spec == processor.spec
    assert fingerprint(its_processor.plain_tokenizer()) == fingerprint(tokenizer)
    assert fingerprint(load_tokenizer(saved)) == fingerprint(tokenizer)
    turns = [
        {"role": "user", "content": [{"type": "image", "image": noise(150, 90)}, {"type": "text", "text": "see"}]}
    ]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    inputs = processor.apply_chat_template(turns, **options)
    again = its_processor.apply_chat_template(turns, **options)
    assert torch.equal(inputs["input_ids"], again["input_ids"])
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, loaded(**again).logits)


def test_auto_classes_read_the_folder_without_remote_code(saved) -> None:
    assert type(AutoConfig.from_pretrained(saved)).__name__ == "Step3VLConfig"
    assert isinstance(AutoProcessor.from_pretrained(saved), Step3VLProcessor)
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
        model, info = auto.from_pretrained(saved, output_loading_info=True)
        assert isinstance(model, Step3VLForConditionalGeneration)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]


def test_sharded_weights_are_loaded_by_their_index(model, folder) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    assert (folder / "model.safetensors.index.json").is_file()
    loaded, _ = load_model(folder)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_released_folder_without_processor_files_gets_the_released_sizes(folder) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        '{"auto_map": {"AutoProcessor": "processing_step3.Step3VLProcessor"}}'
    )
    spec = load_model(folder)[1].spec
    assert (spec.image_size, spec.crop_size, spec.patch_size, spec.max_side) == (728, 504, 14, 3024)


def test_the_chat_template_of_a_folder_is_kept(folder) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}!")
    processor = load_model(folder)[1]
    assert processor.apply_chat_template([{"role": "user", "content": "hi"}]) == "hi!"


BROKEN = {
    "no such folder": (lambda folder: shutil.rmtree(folder), "no model folder at"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"has no config\.json"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
    "another model": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "qwen3"}'),
        "model_type 'qwen3'; this command needs 'step_robotics'",
    ),
    "another architecture": (
        lambda folder: (folder / "config.json").write_text(
            '{"model_type": "step_robotics", "vision_config": {"use_cls_token": true}}'
        ),
        "use_cls_token is True",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "no tokenizer": (
        lambda folder: [file.unlink() for file in folder.glob("tokenizer*")],
        "has no usable tokenizer",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_errors_of_broken_folders_are_a_single_line(folder, case) -> None:
    breaks, expected = BROKEN[case]
    breaks(folder)
    with pytest.raises(UserError, match=expected) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
