"""No command writes its result to a URL, which as a path would become a folder such as `./s3:`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from step3vl.data.errors import UserError
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


@pytest.mark.parametrize(
    "command",
    [
        f"corpus convert {{records}} {OUT} --from llava",
        f"corpus convert {{records}} {OUT} --from llava --to openai",
        f"corpus merge {{corpus}} {{corpus}} {OUT}",
        f"corpus split {{corpus}} {OUT} --heldout 0.5",
        *(pytest.param(command, marks=pytest.mark.slow) for command in HEAVY),
    ],
)
def test_a_result_at_a_url_is_refused(
    command: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records.json").write_text(json.dumps([]))
    arguments = command.format(corpus=corpus, records=tmp_path / "records.json").split()
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, UserError)
    assert f"{OUT}" in str(error) and "is not a local path" in str(error)
    assert not list(tmp_path.glob("s3*"))
