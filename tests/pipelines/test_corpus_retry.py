"""`corpus retry --failed`: failed records of a build, tried again as a user would; of a curation, see `curation`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from step3vl.data.dataset import Dataset, read_dead_letters
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.pipelines.domains import DOMAINS
from step3vl.workflows.cli import app

pytestmark = pytest.mark.slow
BROKEN = "split flaky/1\ncheck flaky/2/left\nread flaky/4/right\nask flaky/5/left"


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import flaky_domain

    monkeypatch.setitem(DOMAINS, "flaky", flaky_domain.DOMAIN)
    yield flaky_domain
    sys.modules.pop("flaky_domain", None)


def corpus(*arguments: object, code: int = 0) -> str:
    """The output of a command, or the mistake that it names."""
    result = CliRunner().invoke(app, ["corpus", *map(str, arguments)], env={"COLUMNS": "200"})
    if isinstance(result.exception, UserError):
        assert code == 1, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_a_build_gets_its_failed_records_and_ends_as_one_that_never_failed(flaky: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.txt"
    config = tmp_path / "corpus.yaml"
    content = {
        "name": "t",
        "shards": 2,
        "failure_budget": 0.2,
        "tokens": {
            "tokenizer": {"train": 400},
            "image": {"image_size": 112, "crop_size": 84, "patch_size": 7, "max_side": 448},
        },
        "models": {"engine": "beam"},
        "domains": [{"domain": "flaky", "name": "flaky", "count": 30, "broken": str(broken)}],
    }
    config.write_text(yaml.safe_dump(content))
    out, never = tmp_path / "out", tmp_path / "never"
    corpus("build", config, "--out", never)
    broken.write_text(BROKEN)
    corpus("build", config, "--out", out)
    before = Dataset.open(out)
    assert len(list(before.samples())) == 2 * 27 - 5
    broken.unlink()
    flaky.CALLS.clear()
    assert "4 failed records" in corpus("retry", out, "--failed")
    assert {call.split()[1].split("/")[1] for call in flaky.CALLS} == {"1", "2", "4", "5"}
    # The tokenizer was trained on other texts; everything else is as if nothing had failed.
    after = Dataset.open(out)
    assert {sample.id for sample in after.samples()} == {sample.id for sample in Dataset.open(never).samples()}
    assert after.manifest.ledger == Dataset.open(never).manifest.ledger
    assert [letter.source for letter in read_dead_letters(out)] == ["flaky/19", "flaky/29", "flaky/9"]
    assert verify(out).problems == ()
    assert Dataset.open(tmp_path / "out.1").manifest.ledger == before.manifest.ledger
    assert "no record failed" in corpus("retry", out, "--failed")
    flaky.CALLS.clear()
    corpus("build", config, "--out", out)
    assert flaky.CALLS == []


def test_a_build_that_failed_on_too_many_is_finished_by_a_retry(flaky: Any, tmp_path: Path) -> None:
    broken, config, out = tmp_path / "broken.txt", tmp_path / "corpus.yaml", tmp_path / "out"
    content = {
        "name": "t",
        "tokens": {"tokenizer": {"train": 400}},
        "models": {"engine": "beam"},
        "domains": [{"domain": "flaky", "name": "flaky", "count": 8, "broken": str(broken)}],
    }
    config.write_text(yaml.safe_dump(content))
    broken.write_text("\n".join(f"split flaky/{number}" for number in range(4)))
    assert "failure_budget" in corpus("build", config, "--out", out, code=1)
    broken.unlink()
    assert "failure_budget" in corpus("build", config, "--out", out, code=1)  # what failed is remembered
    corpus("retry", out, "--failed")
    assert len(list(Dataset.open(out).samples())) == 16


def test_without_a_build_or_a_choice_it_says_so(tmp_path: Path) -> None:
    assert "--failed" in corpus("retry", tmp_path / "none", code=1)
    assert "give --config" in corpus("retry", tmp_path / "none", "--failed", code=1)


def test_what_must_be_forgotten_is_in_no_later_build_although_its_fragments_are_older(
    flaky: Any, tmp_path: Path
) -> None:
    config, out = tmp_path / "corpus.yaml", tmp_path / "out"
    entry = {"domain": "flaky", "name": "flaky", "count": 20, "broken": str(tmp_path / "none")}
    content = {"name": "t", "tokens": {"tokenizer": {"train": 400}}, "models": {"engine": "beam"}, "domains": [entry]}
    config.write_text(yaml.safe_dump(content))
    corpus("build", config, "--out", out)
    corpus("forget", out, "flaky/3/left", "flaky/4/right")
    flaky.CALLS.clear()
    corpus("build", config, "--out", out, "--force")
    assert flaky.CALLS == []
    dataset = Dataset.open(out)
    tokens = next(step for step in dataset.manifest.ledger if step.name == "tokens")
    assert tokens.dropped == {"forgotten": 2}
    assert dataset.exclusions
    stored = b"".join((out / shard.path).read_bytes() for shard in dataset.manifest.shards)
    assert b"flaky/3/left" not in stored
    assert b"flaky/3/right" in stored
    letters = {(letter.step, letter.reason) for letter in read_dead_letters(out)}
    assert ("tokens", "forgotten") in letters
