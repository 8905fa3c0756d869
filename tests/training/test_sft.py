"""Which components are trained, and how a stage passes its model to the next."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from step3vl.data.errors import UserError
from step3vl.data.plan import PlanPhase
from step3vl.model import component_of
from step3vl.training.checkpoint import export_checkpoint
from step3vl.training.loader import PackLoader
from step3vl.training.monitor import read_metrics
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.sft import SFTConfig
from step3vl.training.trainer import start_model, train


@pytest.fixture
def short(configure: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """Two steps on a single rank."""
    phase = {**configure({})["phases"][0], "steps": 2}
    return configure({"phases": [phase], "engine": {"processes": 1}, "output": str(tmp_path / "first")})


def test_gradients_reach_every_component(short: dict[str, Any]) -> None:
    config = PretrainConfig.model_validate(short)
    torch.manual_seed(0)
    model, processor = start_model(config)
    loader = PackLoader(
        [PlanPhase(config.phases[0].mixture)],
        sequence_length=128,
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
    for component in ("vision", "projector", "decoder"):
        gradients = [p.grad for name, p in model.named_parameters() if component_of(name) == component]
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), component


@pytest.mark.usefixtures("single_rank")
def test_fine_tuning_starts_from_a_pretrained_model_and_keeps_its_encoder_frozen(
    short: dict[str, Any], tmp_path: Path
) -> None:
    train(PretrainConfig.model_validate(short), "pretrain")
    pretrained = tmp_path / "first" / "export"
    dataset = short["phases"][0]["mixture"]["sources"][0]["dataset"]

    def phase(text: float, image: float) -> dict[str, Any]:
        sources = [
            {"dataset": dataset, "modality": "text", "weight": text},
            {"dataset": dataset, "modality": "image", "weight": image},
        ]
        return {"mixture": {"sources": sources}, "steps": 2, "lr_start": 1e-3, "lr_end": 1e-4, "decay": "cosine"}

    config = {name: value for name, value in short.items() if name not in ("model", "tokenizer")} | {
        "init": str(pretrained),
        "output": str(tmp_path / "second"),
        "phases": [phase(9, 1), phase(1, 1)],
        "optimizer": {"lr_scale": {"vision": 0.0}},
        "evaluation": {"every": 2, "packs": 4, "answers": {"dataset": dataset, "items": 4, "max_new_tokens": 4}},
    }
    train(SFTConfig.model_validate(config), "sft")
    before, after = (load_file(tmp_path / run / "export" / "model.safetensors") for run in ("first", "second"))
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {name for name in before if component_of(name) == "vision"}

    export_checkpoint(tmp_path / "second", tmp_path / "exported")
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    assert all(torch.equal(exported[name], after[name]) for name in after), "a checkpoint has the frozen encoder too"

    rows = read_metrics(tmp_path / "second" / "metrics.jsonl")
    assert [row["phase"] for row in rows] == [0, 0, 1, 1]
    assert [row["lr"] for row in rows] == pytest.approx([1e-3, 5.5e-4, 1e-3, 5.5e-4])
    # Fine-tuning takes conversations only, held out as well as trained.
    assert set(rows[-1]["evaluation"]["tasks"]) == {"vqa.colour", "education.sum"}
    assert "evaluation" not in rows[0]
    answers = rows[-1]["evaluation"]["answers"]
    assert (set(answers["tasks"]), answers["items"]) == ({"vqa.colour"}, 4), "sums have no truth"
    assert sum(answers["verdicts"].values()) == 4


@pytest.mark.usefixtures("single_rank")
def test_a_model_of_another_size_is_refused_in_one_line(short: dict[str, Any], tmp_path: Path) -> None:
    train(PretrainConfig.model_validate(short), "pretrain")
    wider = {**short, "model": {**short["model"], "hidden_size": 64}}
    with pytest.raises(UserError, match="was written with another model: restore it, or give another output"):
        train(PretrainConfig.model_validate(wider), "pretrain")

    shutil.copytree(tmp_path / "first" / "export", tmp_path / "mixed")
    values = json.loads((tmp_path / "mixed" / "config.json").read_text(encoding="utf-8"))
    values["text_config"]["vocab_size"] += 1
    (tmp_path / "mixed" / "config.json").write_text(json.dumps(values), encoding="utf-8")
    config = {name: value for name, value in short.items() if name not in ("model", "tokenizer")}
    with pytest.raises(UserError, match=r"do not fit its config\.json") as caught:
        start_model(PretrainConfig.model_validate({**config, "init": str(tmp_path / "mixed")}))
    assert "\n" not in str(caught.value)
