"""The example of docs/how-to/add-a-domain.md is a domain that works."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import apache_beam as beam
import pytest

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.accounts import collect_accounts, read_accounts
from step3vl.pipelines.core.beam import run_pipeline
from step3vl.pipelines.core.domain import ApplySteps

PAGE = Path(__file__).parents[2] / "docs/how-to/add-a-domain.md"


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    match = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert match
    path = tmp_path / "colours.py"
    path.write_text(match[1], "utf-8")
    spec = importlib.util.spec_from_file_location("colours", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "colours", module)  # Beam unpickles the worker by its module
    spec.loader.exec_module(module)
    return module


def test_its_answers_are_graded_correct(colours: ModuleType, generate: Callable[..., list[Sample]]) -> None:
    entry = colours.ColoursEntry(domain="colours", name="patches", count=30)
    samples = generate(colours.NameColour(entry), 30)
    assert len(samples) == 30
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"


def test_it_runs_as_a_step_of_beam(colours: ModuleType, tmp_path: Path) -> None:
    entry = colours.ColoursEntry(domain="colours", name="patches", count=30, max_luminance=0.8)

    def wire(pipeline: beam.Pipeline) -> None:
        collect_accounts(pipeline | ApplySteps(entry, 0, colours.DOMAIN.build), tmp_path, pipeline)

    run_pipeline("colours", (), wire)
    (account,) = read_accounts(tmp_path).accounts
    assert account.name == "patches.build" and account.read == 30
    assert account.kept + account.dropped["too_light"] == 30
