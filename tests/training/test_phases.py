"""Phases of a run, and what happens when its data change or are exhausted."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.errors import UserError
from step3vl.training.monitor import read_metrics

pytestmark = pytest.mark.usefixtures("single_rank")


def test_a_phase_ends_with_the_step_that_reaches_its_tokens(run_on_copy: Any, tmp_path: Path) -> None:
    def phase(tokens: int, modality: str) -> dict[str, Any]:
        source = {"dataset": str(tmp_path / "corpus"), "modality": modality}
        return {"mixture": {"sources": [source]}, "tokens": tokens, "lr_start": 3e-3, "lr_end": 1e-3}

    changes = {
        "phases": [phase(1_200, "text"), phase(900, "image")],
        "checkpoint": {"every": 1, "keep": 100},
    }
    output = run_on_copy(changes)
    rows = read_metrics(output / "metrics.jsonl")
    first, second = ([row for row in rows if row["phase"] == number] for number in (0, 1))
    assert first[-2]["tokens"] < 1_200 <= first[-1]["tokens"]
    budget = first[-1]["tokens"]
    assert rows[-2]["tokens"] - budget < 900 <= rows[-1]["tokens"] - budget
    assert second[0]["lr"] == pytest.approx(3e-3)

    # From the middle of either phase a run resumes to the same result.
    for step in (len(first) - 1, len(first) + 1):
        (output / "checkpoints" / "latest").write_text(f"step-{step:08d}")
        run_on_copy(changes)
        resumed = read_metrics(output / "metrics.jsonl")
        assert [{**row, "seconds": 0} for row in resumed] == [{**row, "seconds": 0} for row in rows]


def test_changed_data_are_refused_unless_they_are_accepted(run_on_copy: Any, tmp_path: Path) -> None:
    output = run_on_copy({})
    (output / "checkpoints" / "latest").write_text("step-00000004")
    path = tmp_path / "corpus" / "dataset.json"
    manifest = json.loads(path.read_text())
    manifest["shards"] = [shard for shard in manifest["shards"] if shard["split"] == "train"]
    path.write_text(json.dumps(manifest))
    expected = r"another dataset \(.*corpus\): .*checkpoint\.accept_changed_data=true resumes"
    with pytest.raises(UserError, match=expected):
        run_on_copy({})
    run_on_copy({"checkpoint": {"accept_changed_data": True}})
    assert len(read_metrics(output / "metrics.jsonl")) == 8


def test_a_run_whose_sources_are_exhausted_ends_with_a_checkpoint_and_an_export(
    run_on_copy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    output = run_on_copy({"data": {"sequence_length": 2048, "global_batch": 2}}, source={"epochs": 1})
    rows = read_metrics(output / "metrics.jsonl")
    assert 1 <= len(rows) < 8
    assert "every source is exhausted" in caplog.text
    assert (output / "export" / "model.safetensors").is_file()
    assert (output / "checkpoints" / "latest").read_text() == f"step-{len(rows):08d}"
