"""Samples that cannot be read are counted and listed, and too many of them stop a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.errors import UserError
from step3vl.training.monitor import read_metrics

pytestmark = pytest.mark.usefixtures("single_rank")


def test_unreadable_samples_are_counted_and_each_has_a_dead_letter(
    run_on_copy: Any, damage: Any, tmp_path: Path
) -> None:
    damage(tmp_path / "corpus", slice(None, None, 9))
    output = run_on_copy({"data": {"max_unreadable": 0.01}})
    rows = read_metrics(output / "metrics.jsonl")
    dead_letters = read_metrics(output / "dead_letters.jsonl")
    assert 0 < rows[-1]["unreadable_samples"] == len(dead_letters)
    assert all("train-00000-of-00001.tar at byte" in dead_letter["source"] for dead_letter in dead_letters)
    progress = json.loads((output / "checkpoints" / "step-00000008" / "state.json").read_text())["progress"]
    assert progress["tokens"] + progress["unreadable_tokens"] == progress["cursor"]["streams"][0]["tokens"]
    assert progress["cursor"]["packs"] == rows[-1]["packs"] == 32

    # A run that repeats its last steps lists the same dead letters once.
    (output / "checkpoints" / "latest").write_text("step-00000004")
    run_on_copy({"data": {"max_unreadable": 0.01}})
    assert read_metrics(output / "dead_letters.jsonl") == dead_letters
    assert read_metrics(output / "metrics.jsonl")[-1]["unreadable_samples"] == len(dead_letters)


def test_a_run_that_loses_too_many_samples_stops_with_one_line(run_on_copy: Any, damage: Any, tmp_path: Path) -> None:
    damage(tmp_path / "corpus", slice(None, None, 2))
    with pytest.raises(UserError, match=r"^\d+ of \d+ samples could not be read, the last of them .*max_unreadable"):
        run_on_copy({"data": {"max_unreadable": 0.0005}})  # five, for there are fewer than 10,000 samples
    assert len(read_metrics(tmp_path / "run" / "dead_letters.jsonl")) > 5
