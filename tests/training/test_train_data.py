"""What a run does when its data are damaged, changed, or all used up."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.training.monitor import read_metrics
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import train

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def run(settings: dict[str, Any], corpus: Path, tmp_path: Path) -> Any:
    """run(change to the source={}, other fields) trains on a copy of the corpus, which is at `tmp_path / "corpus"`."""
    copied = tmp_path / "corpus"
    shutil.copytree(corpus, copied)

    def start(source: dict[str, Any] | None = None, **fields: Any) -> Path:
        phase = {**settings["phases"][0], "mixture": {"sources": [{"dataset": str(copied), **(source or {})}]}}
        output = tmp_path / "run"
        config = {**settings, "processes": 1, "phases": [phase], "output": str(output), **fields}
        train(PretrainConfig.model_validate(config), "test")
        return output

    return start


def damage(root: Path, every: int) -> None:
    """Flip a byte in some samples of the training shard."""
    index = Dataset.open(root).index(["offset", "size"], split="train")
    shard = next((root / "shards").glob("*train*.tar"))
    data = bytearray(shard.read_bytes())
    for offset, size in list(zip(index["offset"].to_pylist(), index["size"].to_pylist(), strict=True))[::every]:
        data[offset + size // 2] ^= 1
    shard.write_bytes(data)


def test_samples_that_cannot_be_read_are_counted_and_each_has_its_letter(run: Any, tmp_path: Path) -> None:
    damage(tmp_path / "corpus", every=9)
    output = run(max_lost=0.01)
    rows = read_metrics(output / "metrics.jsonl")
    letters = read_metrics(output / "dead_letters.jsonl")
    assert 0 < rows[-1]["lost_samples"] == len(letters)
    assert all("train-00000-of-00001.tar at byte" in letter["source"] for letter in letters)
    progress = json.loads((output / "checkpoints" / "step-00000008" / "state.json").read_text())["progress"]
    assert progress["tokens"] + progress["lost_tokens"] == progress["cursor"]["streams"][0]["tokens"]
    assert progress["cursor"]["packs"] == rows[-1]["packs"] == 32

    # A run that repeats its last steps writes the same letters again, not twice.
    (output / "checkpoints" / "latest").write_text("step-00000004")
    run(max_lost=0.01)
    assert read_metrics(output / "dead_letters.jsonl") == letters
    assert read_metrics(output / "metrics.jsonl")[-1]["lost_samples"] == len(letters)


def test_a_run_that_loses_too_much_ends_with_one_line(run: Any, tmp_path: Path) -> None:
    damage(tmp_path / "corpus", every=2)
    with pytest.raises(UserError, match=r"^\d+ of \d+ samples could not be read, the last of them .*train.*max_lost"):
        run(max_lost=0.0005)  # five, for there are fewer than 10,000 samples
    assert len(read_metrics(tmp_path / "run" / "dead_letters.jsonl")) > 5


def test_phases_change_with_the_step_that_reaches_their_tokens(
    run: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    def phase(tokens: int, modality: str) -> dict[str, Any]:
        source = {"dataset": str(tmp_path / "corpus"), "modality": modality}
        rates = {"lr_start": 3e-3, "lr_end": 1e-3}
        return {"mixture": {"sources": [source]}, "tokens": tokens, **rates}

    output = run(phases=[phase(1_200, "text"), phase(900, "image")], checkpoint_every=1, keep=100)
    rows = read_metrics(output / "metrics.jsonl")
    by_phase = [[row for row in rows if row["phase"] == number] for number in (0, 1)]
    assert by_phase[0][-2]["tokens"] < 1_200 <= by_phase[0][-1]["tokens"]
    spent = by_phase[0][-1]["tokens"]
    assert rows[-2]["tokens"] - spent < 900 <= rows[-1]["tokens"] - spent
    assert by_phase[1][0]["lr"] == pytest.approx(3e-3)

    # From the middle of either phase a run goes on as it was.
    for step in (len(by_phase[0]) - 1, len(by_phase[0]) + 1):
        (output / "checkpoints" / "latest").write_text(f"step-{step:08d}")
        run(phases=[phase(1_200, "text"), phase(900, "image")], checkpoint_every=1, keep=100)
        again = read_metrics(output / "metrics.jsonl")
        assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]


def test_changed_data_are_refused_unless_they_are_accepted(run: Any, tmp_path: Path) -> None:
    output = run()
    (output / "checkpoints" / "latest").write_text("step-00000004")
    path = tmp_path / "corpus" / "dataset.json"
    manifest = json.loads(path.read_text())
    manifest["shards"] = [shard for shard in manifest["shards"] if shard["split"] == "train"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"another dataset \(.*corpus\): .*accept_changed_data=true goes on"):
        run()
    run(accept_changed_data=True)
    assert len(read_metrics(output / "metrics.jsonl")) == 8


def test_a_run_whose_sources_are_spent_ends_with_a_checkpoint_and_an_export(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    output = run({"epochs": 1}, capacity=2048, global_batch=2)
    rows = read_metrics(output / "metrics.jsonl")
    assert 1 <= len(rows) < 8
    assert "every source is spent" in caplog.text
    assert (output / "export" / "model.safetensors").is_file()
    assert (output / "checkpoints" / "latest").read_text() == f"step-{len(rows):08d}"
