"""No command writes its result to a folder such as `./s3:`, which a URL becomes as a path: most refuse a URL."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from step3vl.data.errors import UserError
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.workflows.cli import app

ROOT = Path(__file__).parents[2]
OUT = "s3://bucket/out"
TINY = ROOT / "workflows" / "tiny"
HEAVY = (  # commands that import torch
    f"export checkpoints {OUT}",
    f"train pretrain {TINY}/pretrain.yaml root=x output={OUT}",
    f"train sft {TINY}/sft.yaml root=x output={OUT}",
    f"train rl {TINY}/rl.yaml root=x output={OUT}",
    f"run {TINY}/run.yaml output={OUT}",
    f"batch model questions.jsonl {OUT}/answers.jsonl",
)


@pytest.mark.slow
@pytest.mark.parametrize("command", HEAVY)
def test_a_result_at_a_url_is_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, command.split()).exception
    assert isinstance(error, UserError)
    assert f"{OUT}" in str(error) and "is not a local path" in str(error)
    assert not list(tmp_path.glob("s3*"))


def test_a_card_is_written_to_a_url(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = "memory://cards/one"
    result = CliRunner().invoke(app, ["corpus", "inspect", str(corpus), "--card", url])
    assert result.exit_code == 0, result.exception
    assert set(Store(url, DEFAULT_STORE).names("")) == {"card.md", "card.html", "contact_sheet.png"}
    assert not list(tmp_path.glob("memory*"))
