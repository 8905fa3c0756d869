"""Checkpoints: what they export to, and which of them are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from step3vl.data.errors import UserError
from step3vl.model import load_model
from step3vl.training.checkpoint import export_checkpoint
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import train

Configure = Callable[[dict[str, Any]], dict[str, Any]]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3"])
def test_a_checkpoint_exports_to_what_the_run_exported(variants: Path, tmp_path: Path, name: str) -> None:
    export_checkpoint(variants / name, tmp_path / "model")
    exported, processor = load_model(tmp_path / "model")
    expected, _ = load_model(variants / name / "export")
    image = Image.new("RGB", (40, 28), "red")
    inputs = processor(text="<im_patch>Colour?", images=[image], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(exported(**inputs).logits, expected(**inputs).logits)


def test_a_damaged_checkpoint_is_refused_and_the_file_named(variants: Path, tmp_path: Path) -> None:
    shutil.copytree(variants / "zero1" / "checkpoints", tmp_path / "checkpoints")
    file = next((tmp_path / "checkpoints" / "step-00000008" / "model").glob("zero_pp_rank_1*"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=f"{file.name} has changed.*write step-00000004 into"):
        export_checkpoint(tmp_path, tmp_path / "model")
    file.unlink()
    with pytest.raises(UserError, match=f"{file.name} is missing"):
        export_checkpoint(tmp_path / "checkpoints", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.usefixtures("single_rank")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": {"zero_stage": 0}}, "was written with another zero stage: restore it, or give another output"),
        ({"seed": 3}, r"was written with another configuration \(seed\)"),
        ({"data": {"sequence_length": 64}}, r"was written with another configuration \(data\.sequence_length\)"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    variants: Path, configure: Configure, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    shutil.copytree(variants / "zero1", tmp_path / "run")
    engine = {"processes": 1, **changes.get("engine", {})}
    config = configure({**changes, "engine": engine, "output": str(tmp_path / "run")})
    with pytest.raises(UserError, match=message):
        train(PretrainConfig.model_validate(config), "test")


@pytest.mark.usefixtures("single_rank")
@pytest.mark.parametrize(("version", "exports"), [(1, True), (3, False)])
def test_a_checkpoint_of_another_format_is_refused_and_an_older_one_still_exports(
    variants: Path, configure: Configure, tmp_path: Path, version: int, exports: bool
) -> None:
    shutil.copytree(variants / "zero1", tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "step-00000008" / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    assert state["format"] == 2
    if version == 1:  # the first format had no number
        del state["format"]
        state["made_with"] = state.pop("provenance")  # words: a key of the first checkpoint format
    else:
        state["format"] = version
    path.write_text(json.dumps(state), encoding="utf-8")
    config = configure({"engine": {"processes": 1}, "output": str(tmp_path / "run")})
    with pytest.raises(
        UserError, match=f"has checkpoint format {version}, and this version of step3vl resumes format 2"
    ):
        train(PretrainConfig.model_validate(config), "test")
    if exports:
        export_checkpoint(tmp_path / "run", tmp_path / "model")
        assert (tmp_path / "model" / "model.safetensors").is_file()
    else:
        with pytest.raises(UserError, match="needs a newer version of step3vl"):
            export_checkpoint(tmp_path / "run", tmp_path / "model")
