"""Whole runs of the trainer in real ranks: independence of how a run is distributed, and resuming after a kill."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from step3vl.data.plan import PlanPhase
from step3vl.training.launch import launch
from step3vl.training.loader import PackLoader
from step3vl.training.monitor import read_metrics
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import start_model, train

pytestmark = pytest.mark.slow


def losses(output: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(output / "metrics.jsonl")]


def norms(output: Path) -> list[float]:
    return [row["grad_norm"] for row in read_metrics(output / "metrics.jsonl")]


@pytest.mark.parametrize("name", ["zero0", "zero2", "zero3", "accumulated"])
def test_losses_depend_neither_on_the_zero_stage_nor_on_the_micro_batch(variants: Path, name: str) -> None:
    assert losses(variants / name) == pytest.approx(losses(variants / "zero1"), rel=2e-4)


def test_validation_answers_are_those_of_the_exported_model(
    variants: Path, variant_settings: dict[str, Any], tmp_path: Path
) -> None:
    from step3vl.evaluation.heldout import HeldOut
    from step3vl.evaluation.runner import EvalConfig, run_benchmark
    from step3vl.inference import Engine, EngineBackend, Sampling
    from step3vl.model import load_model

    settings = variant_settings["zero3"]["evaluation"]["answers"]
    answers = read_metrics(variants / "zero3" / "metrics.jsonl")[-1]["evaluation"]["answers"]
    suite = HeldOut(f"corpus:{settings['dataset']}#vqa.*")
    sampling = Sampling(temperature=0.0, max_new_tokens=settings["max_new_tokens"])
    backend = EngineBackend(Engine(*load_model(str(variants / "zero3" / "export"))))
    work = run_benchmark(
        suite, Path(), backend, tmp_path, EvalConfig(sampling=sampling, limit=settings["items"]), {"name": "export"}
    )
    result = asyncio.run(work)
    assert Counter(line["verdict"] for line in result.items()) == Counter(answers["verdicts"])
    assert result.metrics["value"] == pytest.approx(answers["score"])
    assert result.metrics["items"] == answers["items"] == 7


@pytest.mark.parametrize("name", ["autocast", "bf16"])
def test_low_precision_learns_the_same(variants: Path, name: str) -> None:
    assert losses(variants / name) == pytest.approx(losses(variants / "zero1"), rel=5e-2)
    assert norms(variants / name) == pytest.approx(norms(variants / "zero1"), rel=0.2)


@pytest.mark.usefixtures("single_rank")
def test_a_run_does_not_depend_on_the_number_of_ranks(
    variants: Path, configure: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    train(PretrainConfig.model_validate(configure({"engine": {"processes": 1}, "output": str(tmp_path)})), "test")
    assert losses(tmp_path) == pytest.approx(losses(variants / "zero1"), rel=2e-4)
    # Adam and clipping hide a wrong scale of the gradient; its norm does not.
    assert norms(tmp_path) == pytest.approx(norms(variants / "zero1"), rel=1e-2)
    single, pair = (load_file(path / "export" / "model.safetensors") for path in (tmp_path, variants / "zero1"))
    assert all(torch.allclose(single[name], pair[name], atol=2e-3) for name in single)


def test_the_first_gradient_is_that_of_the_plain_model(
    variants: Path, configure: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    config = PretrainConfig.model_validate(configure({"engine": {"processes": 1}, "output": "unused"}))
    torch.manual_seed(config.seed)
    model, processor = start_model(config)
    loader = PackLoader(
        [PlanPhase(config.phases[0].mixture)],
        sequence_length=config.data.sequence_length,
        seed=config.seed,
        tokenizer=processor.plain_tokenizer(),
        image_processor=processor.image_processor,
        micro_batch=config.data.global_batch,
        rank=0,
        world=1,
    )
    loss = model(**next(loader.batches()).inputs).loss
    loss.backward()
    assert losses(variants / "zero1")[0] == pytest.approx(loss.item(), rel=1e-5)
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    for name in ("zero0", "zero1", "zero2", "zero3", "accumulated"):
        assert norms(variants / name)[0] == pytest.approx(float(norm), rel=1e-4), name


def is_running(rank: psutil.Process) -> bool:
    try:
        return rank.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_run_resumes_to_the_same_result(thirty_steps: dict[str, Any], variants: Path, tmp_path: Path) -> None:
    """kill -9 of the launcher in the middle, a half-written checkpoint beside it, and the same command again."""
    output = tmp_path / "run"
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**thirty_steps, "output": str(output)}))
    code = f"from step3vl.training.launch import launch; launch('step3vl.training.pretrain', {str(path)!r}, 2)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    while len(read_metrics(output / "metrics.jsonl")) < 6:
        assert parent.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    ranks = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while any(map(is_running, ranks)):
        assert time.monotonic() < deadline, "the kernel kills the ranks with the launcher"
        time.sleep(0.01)
    assert len(read_metrics(output / "metrics.jsonl")) < 30
    (output / "checkpoints" / ".step-00000028.draft").mkdir(parents=True)
    launch("step3vl.training.pretrain", path, 2)
    rows = read_metrics(output / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert losses(output) == losses(variants / "long")
    resumed, expected = (load_file(run / "export" / "model.safetensors") for run in (output, variants / "long"))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert sorted(p.name for p in (output / "checkpoints").glob("*step*")) == ["step-00000028", "step-00000030"]
    state = json.loads((output / "checkpoints" / "step-00000030" / "state.json").read_text(encoding="utf-8"))
    assert state["progress"]["step"] == 30
