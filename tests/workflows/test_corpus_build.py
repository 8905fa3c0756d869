"""`corpus build` and the commands around it: plan, domains, cost, clean, schema; into a folder and into a store."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.workflows.cli import app

pytestmark = pytest.mark.slow

CORPUS: dict[str, Any] = {
    "name": "small",
    "shards": 1,
    "heldout": 0.2,
    "tokens": {"tokenizer": {"train": 400}},
    "domains": [
        {"domain": "education", "name": "sums", "count": 600, "modality": "text", "families": {"chain_sum": {}}},
        {"domain": "education", "name": "drops", "count": 40, "modality": "text", "families": {"chain_sum": {}}},
    ],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.yaml"
    path.write_text(yaml.safe_dump(CORPUS))
    return path


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Commands change the level of the log."""
    level = logging.getLogger("step3vl").level
    yield
    logging.getLogger("step3vl").setLevel(level)


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["corpus", *map(str, arguments)], env={"COLUMNS": "160"})
    if isinstance(result.exception, UserError):
        assert code == 1, result.exception
    else:
        assert result.exit_code == code, (result.output, result.exception)
    return result


def rows(result: Result, first: str) -> list[list[str]]:
    """The cells of the rows of a table whose first cell is `first`."""
    lines = (line.replace("│", " ").split() for line in result.stdout.splitlines())
    return [cells for cells in lines if cells[:1] == [first]]


@pytest.fixture(scope="module")
def built(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset with its root."""
    out = tmp_path_factory.mktemp("out") / "small"
    result = run("build", config, "--out", out)
    assert rows(result, "sums.build")[0][1:3] == ["600", "600"]
    return out


def test_a_build_shows_the_ledger_and_leaves_its_progress(built: Path) -> None:
    page = (built / ".staging" / "progress.html").read_text()
    for word in ("sums.build", "3 / 3", "600", "finished"):
        assert word in page
    assert 'http-equiv="refresh"' not in page


def test_a_plan_says_what_would_run(config: Path, built: Path, tmp_path: Path) -> None:
    before = run("plan", config, "--out", tmp_path / "none")
    assert rows(before, "sums")[0] == ["sums", "build", "beam", "3", "0", "3"]
    assert "depends on what the segment before makes" in before.stdout
    after = run("plan", config, "--out", built)
    assert [row[3:] for row in (*rows(after, "sums"), *rows(after, "drops"))] == [["3", "3", "0"]] * 2 + [
        ["1", "1", "0"]
    ] * 2
    changed = run("plan", config, "domains.1.families={chain_sum: {min_terms: 2, max_terms: 2}}", "--out", built)
    assert [row[5] for row in (*rows(changed, "sums"), *rows(changed, "drops"))][:3] == ["0", "0", "1"]


def test_what_is_left_out_is_said_by_plan_and_build(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"domain": "ocr.document_to_code", "name": "tables", "count": 2}
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no Chromium
    for optional in (True, False):
        path = tmp_path / f"{optional}.yaml"
        path.write_text(yaml.safe_dump({**CORPUS, "domains": [*CORPUS["domains"], {**tables, "optional": optional}]}))
        for command in ("plan", "build"):
            result = run(command, path, "--out", tmp_path / str(optional), code=0 if optional else 1)
            if optional:
                assert "Entries left out" in result.stdout and "needs Chromium" in result.stdout
            else:
                assert "give the entry tables `optional: true`" in str(result.exception)


def test_a_finished_dataset_is_left_alone(config: Path, built: Path) -> None:
    before = (built / "dataset.json").stat().st_mtime_ns
    run("build", config, "--out", built)
    assert "--force" in str(run("build", config, "seed=1", "--out", built, code=1).exception)
    assert "give --force with --rebuild" in str(
        run("build", config, "--out", built, "--rebuild", "sums", code=1).exception
    )
    assert "did you mean 'sums'" in str(run("build", config, "--out", built, "--rebuild", "sum", code=1).exception)
    assert (built / "dataset.json").stat().st_mtime_ns == before


def test_force_reuses_what_has_not_changed(config: Path, built: Path, tmp_path: Path) -> None:
    out = shutil.copytree(built, tmp_path / "out")
    first = (out / "dataset.json").read_bytes()
    fragments = {path: path.stat().st_mtime_ns for path in (out / ".staging" / "sums").rglob("*.bin")}
    run("build", config, "domains.1.count=50", "--out", out, "--force")
    assert {path: path.stat().st_mtime_ns for path in fragments} == fragments
    assert (tmp_path / "out.1" / "dataset.json").read_bytes() == first
    assert Dataset.open(str(out)).manifest.config["domains"][1]["count"] == 50


def test_rebuild_works_on_an_entry_again(config: Path, built: Path, tmp_path: Path) -> None:
    out = shutil.copytree(built, tmp_path / "out")
    fragments = set((out / ".staging" / "sums").rglob("*.bin"))
    run("build", config, "--out", out, "--rebuild", "sums", "--force")
    assert Dataset.open(str(out)).manifest.shards == Dataset.open(str(built)).manifest.shards
    assert fragments < set((out / ".staging" / "sums").rglob("*.bin"))


def test_an_interrupted_build_resumes_with_another_configuration(config: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(
            "step3vl.pipelines.corpus.commit", lambda *a, **k: (_ for _ in ()).throw(UserError("interrupted"))
        )
        run("build", config, "--out", out, code=1)
    run("build", config, "heldout=0.5", "--out", out)
    assert not (tmp_path / "out.1").exists()
    assert Dataset.open(str(out)).manifest.config["heldout"] == 0.5


def test_a_share_of_the_inputs_tells_what_all_costs(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample"
    run("build", config, "--out", out, "--fraction", "0.5")
    assert Dataset.open(str(out)).manifest.config["fraction"] == 0.5
    sheet = run("cost", out, "--tokens", "1.2T", "--core-hour", "0.04")
    total = rows(sheet, "all")[1]
    assert total[1] == "1.2T" and total[3].isdigit()
    markdown = run("cost", out, "--tokens", "1.2T", "--markdown").stdout
    assert "| entry | tokens |" in markdown and "| education |" in markdown
    assert "is no number of tokens" in str(run("cost", out, "--tokens", "much", code=1).exception)
    run("clean", out)
    assert not (out / ".staging").exists() and Dataset.open(str(out)).manifest.shards
    assert "no commit records" in str(run("cost", out, "--tokens", "1B", code=1).exception)


def test_a_dataset_is_built_in_a_store(config: Path, built: Path) -> None:
    url = "memory://corpora/small"
    run("build", config, "--out", url)
    assert Dataset.open(url).fingerprint == Dataset.open(str(built)).fingerprint
    assert "give another --out" in str(run("build", config, "--out", url, "--force", code=1).exception)
    assert "all" in run("cost", url, "--tokens", "1B").stdout
    run("clean", url)


def test_domains_are_listed_with_fields_and_an_example_that_builds(tmp_path: Path) -> None:
    assert [row[0] for row in rows(run("domains"), "maps")] == ["maps"]
    fields = run("domains", "maps")
    assert "continents" in fields.stdout and "required" in fields.stdout
    path = tmp_path / "example.yaml"
    path.write_text(run("domains", "maps", "--example").stdout)
    run("build", path, "tokens.tokenizer={train: 400}", "--out", tmp_path / "out")
    assert "did you mean 'maps'" in str(run("domains", "map", code=1).exception)


def test_the_schema_of_the_configuration_is_printed() -> None:
    schema = json.loads(run("schema", "--config").stdout)
    assert {"name", "domains", "root", "models"} <= schema["properties"].keys()
    assert json.loads(run("schema").stdout)["title"]
