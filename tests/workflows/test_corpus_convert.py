"""`step3vl corpus convert` in this process: what it prints, and the options that only it has."""

import json
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.workflows.corpus_convert import convert_corpus, parse_columns, parse_share

TURNS = [
    {"role": "user", "content": "a?"}, {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": "b?"}, {"role": "assistant", "content": "second answer"},
]  # fmt: skip


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """A conversation of two answers, and one with a video."""
    lines = [{"messages": TURNS, "id": 1}, {"messages": TURNS, "videos": ["a.mp4"]}]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def convert(source: Path, out: Path | None, **changes: Any) -> None:
    defaults = {
        "domain": "d",
        "task": "t",
        "licence": "CC0-1.0",
        "images": None,
        "trained": changes.pop("trained", None),
    }
    fields: dict[str, Any] = {
        "defaults": {**defaults, "columns": {}, "ignore": ()},
        "split": None,
        "dataset": {"tokenizer": "qwen3", "shards": 1, "heldout": None, "name": None},
    }
    convert_corpus(str(source), out, "auto", "dataset", **fields, **changes)


def test_a_dry_run_prints_a_sample_and_writes_nothing(
    chats: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    convert(chats, None, dry_run=True, trained="last")
    captured = capsys.readouterr()
    rows = [line.split("│") for line in captured.out.splitlines() if "│" in line and "answer" in line]
    assert [row[1].strip() for row in rows] == ["0", "1"], "the weights of the first and the second answer"
    assert "read as openai" in captured.out and "field id not used" in captured.out
    assert "it has video or audio (videos)" in captured.err
    assert list(chats.parent.iterdir()) == [chats]


def test_the_result_says_what_was_not_used_and_what_is_trained(
    chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(chats, tmp_path / "out")
    printed = capsys.readouterr().out
    assert "field id not used" in printed and "100.0 %" in printed
    read, counted, _ = Dataset.open(str(tmp_path / "out")).manifest.ledger
    assert read.unused == {"id": 1} and counted.answers and counted.answers.trained == counted.answers.total > 0


def test_too_many_failed_records_are_an_error(chats: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of 2 records"):
        convert(chats, tmp_path / "out", max_failed=parse_share("1%"))
    with pytest.raises(UserError, match="1 of 2 records"):
        convert(chats, None, dry_run=True, max_failed=parse_share("1%"))
    with pytest.raises(UserError, match="give OUT"):
        convert(chats, None)


def test_options_that_are_malformed_are_named() -> None:
    assert parse_columns(["question=problem, answer=solution", "image=figure"]) == {
        "question": "problem", "answer": "solution", "image": "figure",
    }  # fmt: skip
    assert (parse_share(None), parse_share("5%"), parse_share("0.5")) == (1.0, 0.05, 0.5)
    for columns in ("question", "=x", "question="):
        with pytest.raises(UserError, match="--columns"):
            parse_columns([columns])
    for share in ("x", "-1%", "200%", "nan"):
        with pytest.raises(UserError, match="--max-dead"):
            parse_share(share)
