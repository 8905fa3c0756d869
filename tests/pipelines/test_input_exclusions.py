"""A build of other datasets leaves out what these must forget, and says so where it was built before."""

from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Exclusion, add_exclusion
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.layout import input_exclusions, open_staging


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    entry = {"domain": "vqa", "name": "vqa", "datasets": ["one", str(tmp_path / "two")], "tasks": ["*"]}
    return CorpusConfig.model_validate({"name": "t", "domains": [entry]})


def test_the_requests_of_all_datasets_that_are_read_are_found(config: CorpusConfig, tmp_path: Path) -> None:
    staging = open_staging(config, tmp_path / "out")
    assert input_exclusions(config, staging).digest == ""
    for name in ("one", "two"):
        request = Exclusion.of([f"https://{name}.example/page"], "2026-01-01")
        add_exclusion(Store(str(tmp_path / name), DEFAULT_STORE), request)
    excluded = input_exclusions(config, staging)
    assert excluded.covers("0" * 32, "https://one.example/page#2")
    assert excluded.covers("0" * 32, "https://two.example/page")
    assert excluded.digest
