"""Studies: what they run, and what they conclude from it."""

import json
import runpy
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[2] / "workflows" / "studies" / "importance.py"


def test_the_importance_study_compares_both_objectives_over_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def launch(module: str, config_path: Path, processes: int) -> None:
        started.append((config_path.parent.name, processes))
        fell = config_path.parent.name.startswith("none")
        for name, reward in (("start", 0.8), ("end", 0.7 if fell else 0.9)):
            (config_path.parent / f"eval_{name}.json").write_text(json.dumps({"reward_mean": reward}))
        rows = [{"step": 1, "reward_mean": 0.5, "kl_k3": 0.1}, {"step": 2, "reward_mean": 0.6}]
        (config_path.parent / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    monkeypatch.setattr("step3vl.training.launch.launch", launch)
    monkeypatch.setattr(sys, "argv", ["importance.py", "--out", str(tmp_path), "--seeds", "3", "4"])
    runpy.run_path(str(STUDY), run_name="__main__")
    assert [name for name, _ in started] == ["none-3", "clip-3", "none-4", "clip-4"]
    config = (tmp_path / "clip-4" / "config.yaml").read_text()
    assert "importance: clip" in config
    assert "minibatches: 4" in config
    assert "seed: 4" in config
    results = (tmp_path / "results.md").read_text()
    assert "| none | 3 | 0.800 | 0.700 | 0.500 | 0.100 |" in results
    assert "`clip`: +0.100" in results

    runpy.run_path(str(STUDY), run_name="__main__")  # finished runs are read, not repeated
    assert len(started) == 4
