"""Runs that resume with another number of ranks."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from step3vl.training.monitor import read_metrics
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import train

pytestmark = pytest.mark.slow


def column(output: Path, name: str) -> list[float]:
    return [row[name] for row in read_metrics(output / "metrics.jsonl")]


@pytest.mark.usefixtures("single_rank")
@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3", "bf16", "frozen1", "frozen3"])
def test_a_run_resumes_with_fewer_ranks(
    variants: Path, variant_settings: dict[str, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    output = tmp_path / "run"
    shutil.copytree(variants / name, output)
    (output / "checkpoints" / "latest").write_text("step-00000004")
    settings = variant_settings[name]
    config = {**settings, "engine": {**settings["engine"], "processes": 1}, "output": str(output)}
    train(PretrainConfig.model_validate(config), "test")
    tolerance = 2e-2 if name == "bf16" else 2e-4
    assert column(output, "loss") == pytest.approx(column(variants / name, "loss"), rel=tolerance)
    assert column(output, "grad_norm") == pytest.approx(column(variants / name, "grad_norm"), rel=50 * tolerance)
    assert not list((output / "checkpoints").glob(".*")), "the consolidated copy is removed"


@pytest.mark.parametrize("name", ["zero1", "frozen3"])
def test_a_run_resumes_with_more_ranks(variants: Path, name: str) -> None:
    assert column(variants / f"{name}-resumed", "loss") == pytest.approx(column(variants / name, "loss"), rel=2e-4)
