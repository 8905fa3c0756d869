"""A real corpus, built by `step3vl run`, killed, and resumed."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from step3vl.workflows.kinds import KINDS
from step3vl.workflows.runner import run_workflow

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]  # the configurations name fonts from here
WORKFLOW = """
title: A small build
output: {out}
stages:
  - name: corpus
    run: corpus
    with:
      name: sums
      shards: 1
      heldout: 0.2
      tokens.tokenizer: {{train: 400}}
      domains:
        - {{name: sums, domain: education, count: {count}, modality: text, families: {{chain_sum: {{}}}}}}
  - {{name: report, run: report}}
"""


@pytest.fixture(autouse=True)
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def write(folder: Path, count: int) -> Path:
    folder.mkdir()
    path = folder / "run.yaml"
    path.write_text(WORKFLOW.format(out=folder / "out", count=count))
    return path


def manifest(folder: Path) -> str:
    return hashlib.sha256((folder / "out" / "corpus" / "dataset.json").read_bytes()).hexdigest()


def test_a_build_that_was_killed_ends_with_the_same_dataset(tmp_path: Path) -> None:
    complete, killed = write(tmp_path / "complete", 3000), write(tmp_path / "killed", 3000)
    outcomes = run_workflow(complete, {}, KINDS)
    assert [outcome.action for outcome in outcomes] == ["ran", "ran"]
    assert "education.chain_sum" in (complete.parent / "out" / "report" / "report.html").read_text()

    state = killed.parent / "out" / "corpus" / "stage.json"
    command = Path(sys.executable).with_name("step3vl")
    run = subprocess.Popen([command, "run", str(killed)], stderr=subprocess.PIPE, text=True)
    while not state.exists() and run.poll() is None:
        time.sleep(0.02)
    time.sleep(0.5)
    run.send_signal(signal.SIGTERM)
    _, log = run.communicate(timeout=60)
    assert run.returncode == 130, log
    assert "run the same command again to continue" in log

    outcomes = run_workflow(killed, {}, KINDS)
    assert [outcome.action for outcome in outcomes] == ["resumed", "ran"]
    assert manifest(killed.parent) == manifest(complete.parent)
    assert [outcome.action for outcome in run_workflow(killed, {}, KINDS)] == ["skipped", "skipped"]
