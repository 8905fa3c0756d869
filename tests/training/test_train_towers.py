"""What is trained and what is not, and how a stage hands its model to the next."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from step3vl.data.errors import UserError
from step3vl.data.mixture import Stretch
from step3vl.model import tower_of
from step3vl.training.checkpoint import export_checkpoint
from step3vl.training.config import OptimizerConfig, read_config
from step3vl.training.engine import parameter_groups
from step3vl.training.loader import PackLoader
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.sft import SFTConfig
from step3vl.training.trainer import start_model, train

TOWERS = ("vision", "projector", "decoder")


@pytest.fixture
def short(settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Two steps on one rank."""
    phase = {**settings["phases"][0], "steps": 2}
    return {**settings, "phases": [phase], "processes": 1, "output": str(tmp_path / "first")}


def test_gradients_reach_every_tower_and_every_view(short: dict[str, Any]) -> None:
    config = PretrainConfig.model_validate(short)
    torch.manual_seed(0)
    model, processor = start_model(config)
    loader = PackLoader(
        [Stretch(config.phases[0].mixture)],
        capacity=128,
        seed=0,
        tokenizer=processor.plain_tokenizer(),
        image_processor=processor.image_processor,
        micro_batch=8,
        rank=0,
        world=1,
    )
    batch = next(loader.batches())
    assert batch.inputs["num_patches"].sum() > 0
    model(**batch.inputs).loss.backward()
    for tower in TOWERS:
        gradients = [p.grad for name, p in model.named_parameters() if tower_of(name) == tower]
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), tower


def test_groups_freeze_scale_and_do_not_decay_vectors(short: dict[str, Any]) -> None:
    model, _ = start_model(PretrainConfig.model_validate(short))
    rates = {"vision": 0.0, "projector": 0.5, "decoder": 1.0}
    groups = parameter_groups(model, OptimizerConfig.model_validate({"lr_scale": rates, "weight_decay": 0.1}))
    found = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        rate = rates[tower_of(name)]
        assert parameter.requires_grad == (rate > 0)
        expected = (rate, 0.1 if parameter.ndim > 1 else 0.0)
        assert found.get(id(parameter)) == (expected if rate else None), name
    assert {tower_of(name) for name, _ in model.named_parameters()} == set(TOWERS)


@pytest.mark.usefixtures("alone")
def test_pretraining_hands_over_to_fine_tuning_with_a_frozen_tower(short: dict[str, Any], tmp_path: Path) -> None:
    train(PretrainConfig.model_validate(short), "pretrain")
    first = tmp_path / "first" / "export"
    dataset = short["phases"][0]["mixture"]["sources"][0]["dataset"]

    def stage(text: float, image: float) -> dict[str, Any]:
        sources = [
            {"dataset": dataset, "modality": "text", "weight": text},
            {"dataset": dataset, "modality": "image", "weight": image},
        ]
        return {"mixture": {"sources": sources}, "steps": 2, "lr_start": 1e-3, "lr_end": 1e-4, "decay": "cosine"}

    config = {name: value for name, value in short.items() if name not in ("model", "tokenizer")} | {
        "init": str(first),
        "output": str(tmp_path / "second"),
        "phases": [stage(9, 1), stage(1, 1)],
        "optimizer": {"lr_scale": {"vision": 0.0}},
        "evaluation": {"every": 2, "packs": 4},
    }
    train(SFTConfig.model_validate(config), "sft")
    before, after = (load_file(tmp_path / run / "export" / "model.safetensors") for run in ("first", "second"))
    moved = {name: not torch.equal(before[name], after[name]) for name in before}
    assert {name for name in moved if not moved[name]} == {name for name in moved if tower_of(name) == "vision"}

    export_checkpoint(tmp_path / "second", tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(again[name], after[name]) for name in after), "a checkpoint holds the frozen tower too"

    rows = [json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [0, 0, 1, 1]
    assert [row["lr"] for row in rows] == pytest.approx([1e-3, 5.5e-4, 1e-3, 5.5e-4])
    # Fine-tuning takes conversations only, held out as well as trained.
    assert set(rows[-1]["evaluation"]["tasks"]) == {"vqa.colour", "education.sum"}
    assert "evaluation" not in rows[0]


@pytest.mark.usefixtures("alone")
def test_a_model_of_another_shape_is_one_line(short: dict[str, Any], tmp_path: Path) -> None:
    train(PretrainConfig.model_validate(short), "pretrain")
    wider = {**short, "model": {**short["model"], "hidden_size": 64}}
    with pytest.raises(UserError, match="was made with another model: restore it, or give another output"):
        train(PretrainConfig.model_validate(wider), "pretrain")

    shutil.copytree(tmp_path / "first" / "export", tmp_path / "mixed")
    values = json.loads((tmp_path / "mixed" / "config.json").read_text(encoding="utf-8"))
    values["text_config"]["vocab_size"] += 1
    (tmp_path / "mixed" / "config.json").write_text(json.dumps(values), encoding="utf-8")
    config = {name: value for name, value in short.items() if name not in ("model", "tokenizer")}
    with pytest.raises(UserError, match=r"do not fit its config\.json") as caught:
        start_model(PretrainConfig.model_validate({**config, "init": str(tmp_path / "mixed")}))
    assert "\n" not in str(caught.value)


def test_configurations_say_what_is_wrong(short: dict[str, Any], tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"init": "x"}, "either init"),
        ({"tokenizer": None}, "needs a tokenizer"),
        ({"global_batch": 3}, "global_batch 3 is no multiple of micro_batch 2 x processes 1"),
    ]
    for change, message in wrong:
        with pytest.raises(ValidationError, match=message):
            PretrainConfig.model_validate({**short, **change})
    with pytest.raises(ValidationError, match="fine-tuning needs init"):
        SFTConfig.model_validate(short)
    (tmp_path / "typo.yaml").write_text("output: x\nphasis: []\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"typo\.yaml: "):
        read_config(str(tmp_path / "typo.yaml"), PretrainConfig)
