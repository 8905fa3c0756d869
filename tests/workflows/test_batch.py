"""`step3vl batch` as a process: killed and started again, on a file and on a dataset."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.workflows.batch import run_batch

COMMAND = [sys.executable, "-m", "step3vl.workflows.cli", "batch"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def rows_of(path: Path) -> dict[str, dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows), "each id once"
    return {row["id"]: row for row in rows}


@pytest.mark.slow
def test_a_killed_batch_resumes_and_answers_each_question_once(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"id": "q{n}", "prompt": "Question {n}?"}}\n' for n in range(120)))
    command = [*COMMAND, str(model), str(source), str(out), "--max-new-tokens", "40", "--concurrency", "2", "--json"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while not out.exists() or out.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    early = out.read_bytes().count(b"\n")
    assert early < 120, "it was killed before its end"
    with out.open("ab") as file:
        file.write(b'{"id": "q119", "sta')  # as a kill during a write leaves it
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["total"], summary["already_answered"], summary["failed"]) == (120, early, 0)
    assert set(rows_of(out)) == {f"q{n}" for n in range(120)}
    assert "questions" in done.stderr, "a bar"


def test_a_split_of_a_dataset_is_answered(model: Path, corpus: Path, tmp_path: Path, capsys) -> None:
    limits = {"model": str(model), "max_new_tokens": 6, "temperature": 0.0}
    summary = run_batch(str(corpus), tmp_path / "a.jsonl", rounds="2", **limits)
    heldout = {sample.id: sample for sample in Dataset.open(corpus).samples(split="heldout")}
    rows = rows_of(tmp_path / "a.jsonl")
    assert set(rows) == set(heldout)
    assert summary.answered == len(heldout)
    assert {id_: row["fields"]["task"] for id_, row in rows.items()} == {
        id_: sample.task for id_, sample in heldout.items()
    }
    assert f"{len(heldout)} questions: {len(heldout)} answered, 0 failed" in capsys.readouterr().out
    train = run_batch(str(corpus), tmp_path / "b.jsonl", split="train", concurrency=3, **limits)
    assert train.total == 12
    again = run_batch(str(corpus), tmp_path / "b.jsonl", split="train", **limits)
    assert (again.already_answered, again.answered) == (12, 0)


def test_mistakes_are_reported_before_the_model_is_loaded(tmp_path: Path) -> None:
    source = tmp_path / "q.jsonl"
    source.write_text('{"id": "a", "prompt": "?"}\n')
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "t.jinja").write_text("{{ question }}")
    with pytest.raises(UserError, match=r"empty\.jsonl: no questions"):
        run_batch(str(tmp_path / "empty.jsonl"), tmp_path / "a", model="absent")
    with pytest.raises(UserError, match=r"t\.jinja: a synthesis template uses"):
        run_batch(str(source), tmp_path / "a", model="absent", rounds="4", template=tmp_path / "t.jinja")
    with pytest.raises(UserError, match="pacore: 'lots' is none of"):
        run_batch(str(source), tmp_path / "a", model="absent", rounds="lots")
    assert not (tmp_path / "a").exists()
    with pytest.raises(UserError, match="no model folder at absent"):
        run_batch(str(source), tmp_path / "a", model="absent")
    with pytest.raises(UserError, match="was started with seed = 0, not 1"):
        run_batch(str(source), tmp_path / "a", model="absent", seed=1)


def test_an_unreachable_server_leaves_a_resumable_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("step3vl.inference.client.openai_backend.FIRST_RETRY_DELAY", 0.001)
    source, out = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"id": "q{n}", "prompt": "?"}}\n' for n in range(20)))
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/v1: .* of 20 are done, the same command continues"):
        run_batch(str(source), out, model="m", backend="http://127.0.0.1:9")
    assert all(row["status"] == "failed" for row in rows_of(out).values())
