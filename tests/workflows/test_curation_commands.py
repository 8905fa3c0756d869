"""`corpus explain`, `forget` and `ledger` as they are typed, in this process."""

import shutil
from pathlib import Path

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.workflows.cli import app


def run(*arguments: object) -> int:
    """Run a command, and return its exit code."""
    try:
        app([str(argument) for argument in arguments], standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_sample_is_explained_forgotten_and_then_explained_as_forgotten(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    first = next(iter(Dataset.open(folder).samples()))
    run("corpus", "explain", folder, first.id)
    assert "kept" in capsys.readouterr().out
    run("corpus", "forget", folder, first.source.uri)
    assert "exclusions/000001.json: 1 samples are excluded" in capsys.readouterr().out
    assert first.id not in {sample.id for sample in Dataset.open(folder).samples()}
    run("corpus", "explain", folder, first.id)
    assert "forgotten" in capsys.readouterr().out
    run("corpus", "forget", folder, "nowhere.example")
    assert "no sample matches now" in capsys.readouterr().err
    run("corpus", "inspect", folder, "--card", tmp_path / "card")
    forgotten = capsys.readouterr().out.split("Forgotten: readers leave these samples out")[1]
    assert first.source.uri in forgotten and "nowhere.example" in forgotten
    assert "## Forgotten" in (tmp_path / "card" / "card.md").read_text()
    run("corpus", "ledger", folder)
    assert "every record is accounted for" in capsys.readouterr().out
    with pytest.raises(UserError, match="was not curated"):
        app(["corpus", "ledger", str(folder), "--by", "task"], standalone_mode=False)


def test_phases_are_balanced_and_what_is_missing_is_said(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("corpus", "balance", corpus, "--tokens", "100", "--tokens", "900B", "--epochs", 2)
    output = capsys.readouterr()
    assert "Phase 2: 900B tokens" in output.out
    assert f"{900_000_000_000 - 2 * 12 * 38:,} tokens are missing" in output.err
    with pytest.raises(UserError, match="write it as DOMAIN=SHARE"):
        app(["corpus", "balance", str(corpus), "--tokens", "1B", "--cap", "text"], standalone_mode=False)
