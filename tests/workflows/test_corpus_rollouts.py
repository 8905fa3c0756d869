"""`step3vl corpus rollouts` with a real model behind its own server."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from step3vl.data.dataset import Dataset
from step3vl.workflows.cli import app


@pytest.mark.slow
def test_pass_rates_of_a_model_folder_are_scores_of_a_new_dataset(corpus: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "measured"
    options = ["--samples", "2", "--max-new-tokens", "4", "--solved", "0", "--task", "counting", "--port", "8798"]
    result = CliRunner().invoke(app, ["corpus", "rollouts", str(corpus), str(model), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    samples = list(Dataset.open(str(out)).samples(split="heldout"))
    rates = [sample.scores.get("pass_rate") for sample in samples if sample.task == "counting"]
    assert rates and set(rates) <= {0.0, 0.5, 1.0}
    assert not any(sample.scores for sample in samples if sample.task != "counting")
    kept = [json.loads(path.read_text()) for path in (out / ".staging" / "rollouts").rglob("*.json")]
    assert {each["request"]["seed"] for each in kept} == {0, 1}
    assert {each["request"]["model"].rpartition("-")[0] for each in kept} == {model.name}
