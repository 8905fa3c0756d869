"""`corpus retry --failed` of a curation: what could not be read is read again, and ends as if it always could."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.workflows.cli import app

pytestmark = pytest.mark.slow


def retry(out: Path) -> str:
    result = CliRunner().invoke(app, ["corpus", "retry", str(out), "--failed"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def tree(root: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(root.rglob("*")) if path.suffix in (".tar", ".idx", ".parquet", ".bin")]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if ".staging" not in path.parts}


def test_a_curation_reads_damaged_samples_again(
    tmp_path: Path, words: Callable[..., list[str]], document: Callable[..., Sample], build: Callable[..., Dataset]
) -> None:
    texts = [" ".join(words(number, 80)) for number in range(40)]
    dataset = build(
        tmp_path / "in",
        [document(text, uri=f"n{n}") for n, text in enumerate([*texts, *(text.upper() for text in texts[:5])])],
    )
    never, out = tmp_path / "never", tmp_path / "out"
    config = CurationConfig(failure_budget=0.2, shards=8)
    curate([dataset.url], never, config)
    shard = tmp_path / "in" / dataset.manifest.shards[0].path
    whole = shard.read_bytes()
    shard.write_bytes(bytes(len(whole[:2000])) + whole[2000:])
    curate([dataset.url], out, config)
    failed = sum(sum(step.failed.values()) for step in Dataset.open(out).manifest.ledger)
    assert failed > 0
    before = {path.name: path.stat().st_ino for path in out.glob("shards/*.tar")}
    shard.write_bytes(whole)
    retry(out)
    assert tree(out) == tree(never)
    assert Dataset.open(out).manifest.ledger == Dataset.open(never).manifest.ledger
    after = {path.name: path.stat().st_ino for path in out.glob("shards/*.tar")}
    assert any(after[name] == inode for name, inode in before.items())  # a shard without a new sample is kept
    assert Dataset.open(tmp_path / "out.1").manifest.ledger != Dataset.open(out).manifest.ledger
    assert "no record failed" in retry(out)
