"""Whole runs of the trainer, in real ranks: what must not depend on how a run is spread out or interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from step3vl.data.errors import UserError
from step3vl.data.mixture import Stretch
from step3vl.model import load_model
from step3vl.training.checkpoint import export_checkpoint
from step3vl.training.launch import launch
from step3vl.training.loader import PackLoader
from step3vl.training.monitor import read_metrics
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import start_model, train

VARIANTS: dict[str, dict[str, Any]] = {
    "zero0": {"zero_stage": 0},
    "zero1": {"zero_stage": 1},
    "zero2": {"zero_stage": 2},
    "zero3": {"zero_stage": 3, "evaluation": {"every": 4, "packs": 4}},
    "accumulated": {"micro_batch": 1},
    "autocast": {"precision": "autocast"},
    "bf16": {"precision": "bf16"},
    "frozen1": {"zero_stage": 1, "optimizer": {"lr_scale": {"vision": 0.0, "projector": 0.2}}},
    "frozen3": {"zero_stage": 3, "optimizer": {"lr_scale": {"vision": 0.0, "projector": 0.2}}},
}
GROWN = ("zero1", "frozen3")  # also begun by one rank, and ended by two


def losses(output: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(output / "metrics.jsonl")]


def norms(output: Path) -> list[float]:
    return [row["grad_norm"] for row in read_metrics(output / "metrics.jsonl")]


def write(path: Path, values: Any) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def long(settings: dict[str, Any]) -> dict[str, Any]:
    """Steps enough for the run to be killed among them on any machine."""
    return {**settings, "phases": [{**settings["phases"][0], "steps": 30}]}


def halfway(output: Path) -> None:
    """Makes a run go on from its fourth step."""
    (output / "checkpoints" / "latest").write_text("step-00000004")


@pytest.fixture(scope="module")
def variants(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the output of each of VARIANTS, all run by the same two ranks, and of GROWN as NAME-grown."""
    root = tmp_path_factory.mktemp("variants")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
        configs = [{**settings, **variant, "output": str(root / name)} for name, variant in VARIANTS.items()]
        configs.append({**long(settings), "output": str(root / "long")})
        grown = [{**settings, **VARIANTS[name], "output": str(root / f"{name}-grown")} for name in GROWN]
        launch("several_runs", write(root / "alone.yaml", [{**config, "processes": 1} for config in grown]), 1)
        for config in grown:
            halfway(Path(config["output"]))
        launch("several_runs", write(root / "runs.yaml", configs + grown), 2)
    return root


@pytest.mark.parametrize("name", ["zero0", "zero2", "zero3", "accumulated"])
def test_losses_depend_neither_on_the_zero_stage_nor_on_the_micro_batch(variants: Path, name: str) -> None:
    assert losses(variants / name) == pytest.approx(losses(variants / "zero1"), rel=2e-4)


@pytest.mark.parametrize("name", ["autocast", "bf16"])
def test_low_precision_learns_the_same(variants: Path, name: str) -> None:
    assert losses(variants / name) == pytest.approx(losses(variants / "zero1"), rel=5e-2)
    assert norms(variants / name) == pytest.approx(norms(variants / "zero1"), rel=0.2)


@pytest.mark.usefixtures("alone")
def test_nothing_depends_on_the_number_of_ranks(variants: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    train(PretrainConfig.model_validate({**settings, "processes": 1, "output": str(tmp_path)}), "alone")
    assert losses(tmp_path) == pytest.approx(losses(variants / "zero1"), rel=2e-4)
    # Adam and clipping hide a wrong scale of the gradient; its norm does not.
    assert norms(tmp_path) == pytest.approx(norms(variants / "zero1"), rel=1e-2)
    alone, pair = (load_file(path / "export" / "model.safetensors") for path in (tmp_path, variants / "zero1"))
    assert all(torch.allclose(alone[name], pair[name], atol=2e-3) for name in alone)


def test_the_first_gradient_is_that_of_the_plain_model(variants: Path, settings: dict[str, Any]) -> None:
    config = PretrainConfig.model_validate({**settings, "processes": 1, "output": "unused"})
    torch.manual_seed(config.seed)
    model, processor = start_model(config)
    loader = PackLoader(
        [Stretch(config.phases[0].mixture)],
        capacity=config.capacity,
        seed=config.seed,
        tokenizer=processor.plain_tokenizer(),
        image_processor=processor.image_processor,
        micro_batch=config.global_batch,
        rank=0,
        world=1,
    )
    loss = model(**next(loader.batches()).inputs).loss
    loss.backward()
    assert losses(variants / "zero1")[0] == pytest.approx(loss.item(), rel=1e-5)
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    for name in ("zero0", "zero1", "zero2", "zero3", "accumulated"):
        assert norms(variants / name)[0] == pytest.approx(float(norm), rel=1e-4), name


@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3"])
def test_a_checkpoint_exports_to_what_the_run_exported(variants: Path, tmp_path: Path, name: str) -> None:
    export_checkpoint(variants / name, tmp_path / "model")
    again, processor = load_model(tmp_path / "model")
    first, _ = load_model(variants / name / "export")
    inputs = processor(text="<im_patch>Colour?", images=[picture()], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, first(**inputs).logits)


def picture() -> Any:
    from PIL import Image

    return Image.new("RGB", (40, 28), "red")


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


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zero_stage": 0}, "made with another zero stage"),
        ({"zero_stage": 0, "seed": 3}, "made with another"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    variants: Path, settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    shutil.copytree(variants / "zero1", tmp_path / "run")
    config = {**settings, **change, "processes": 1, "output": str(tmp_path / "run")}
    with pytest.raises(UserError, match=message):
        train(PretrainConfig.model_validate(config), "other")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3", "bf16", "frozen1", "frozen3"])
def test_a_run_goes_on_with_fewer_ranks(variants: Path, settings: dict[str, Any], tmp_path: Path, name: str) -> None:
    shutil.copytree(variants / name, tmp_path / "run")
    halfway(tmp_path / "run")
    config = {**settings, **VARIANTS[name], "processes": 1, "output": str(tmp_path / "run")}
    train(PretrainConfig.model_validate(config), "alone")
    close = 2e-2 if name == "bf16" else 2e-4
    assert losses(tmp_path / "run") == pytest.approx(losses(variants / name), rel=close)
    assert norms(tmp_path / "run") == pytest.approx(norms(variants / name), rel=50 * close)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*")), "what was put together is gone again"


@pytest.mark.parametrize("name", GROWN)
def test_a_run_goes_on_with_more_ranks(variants: Path, name: str) -> None:
    assert losses(variants / f"{name}-grown") == pytest.approx(losses(variants / name), rel=2e-4)


def runs(rank: psutil.Process) -> bool:
    try:
        return rank.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    settings: dict[str, Any], variants: Path, tmp_path: Path
) -> None:
    """kill -9 of the launcher in the middle, a half-written checkpoint beside it, and the same command again."""
    output = tmp_path / "run"
    path = write(tmp_path / "run.yaml", {**long(settings), "output": str(output)})
    code = f"from step3vl.training.launch import launch; launch('step3vl.training.pretrain', {str(path)!r}, 2)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    while len(read_metrics(output / "metrics.jsonl")) < 6:
        assert parent.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    ranks = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while any(map(runs, ranks)):
        assert time.monotonic() < deadline, "the kernel ends the ranks"
        time.sleep(0.01)
    stopped = len(read_metrics(output / "metrics.jsonl"))
    assert stopped < 30
    (output / "checkpoints" / ".step-00000028.draft").mkdir(parents=True)
    launch("step3vl.training.pretrain", path, 2)
    rows = read_metrics(output / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert losses(output) == losses(variants / "long")
    resumed, whole = (load_file(run / "export" / "model.safetensors") for run in (output, variants / "long"))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert sorted(p.name for p in (output / "checkpoints").glob("*step*")) == ["step-00000028", "step-00000030"]
    state = json.loads((output / "checkpoints" / "step-00000030" / "state.json").read_text(encoding="utf-8"))
    assert state["progress"]["step"] == 30
