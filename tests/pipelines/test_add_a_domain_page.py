"""The example of docs/how-to/add-a-domain.md is a domain that works: that of examples/colour_domain."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from step3vl.data.sample import Sample
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/add-a-domain.md"
EXAMPLE = ROOT / "examples/colour_domain/colour_domain.py"


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("colour_domain", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "colour_domain", module)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_example() -> None:
    match = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert match
    assert match[1] == EXAMPLE.read_text("utf-8")


def test_the_steps_that_the_page_shows_are_those_of_the_documents_domain() -> None:
    source = (ROOT / "pipelines/step3vl/pipelines/domains/ocr_documents.py").read_text("utf-8")
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    steps = re.compile(r'(?:Beam|Model)Step\("(\w+)", version=\d+, (?:worker|annotator)=(\w+), output=(\w+)')
    assert steps.findall(block) == steps.findall(source) != []


def test_its_answers_are_graded_correct(
    colours: ModuleType, generate: Callable[..., list[Sample]], context: StepContext
) -> None:
    (step,) = colours.DOMAIN.steps
    samples = generate(step.worker(colours.ColoursEntry(domain="colours", name="patches", count=30), context), 30)
    assert len(samples) == 30
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"


def test_an_unwanted_colour_is_dropped(
    colours: ModuleType, generate: Callable[..., list[Sample]], context: StepContext
) -> None:
    entry = colours.ColoursEntry(domain="colours", name="patches", count=30, max_luminance=0.8)
    samples = generate(colours.NameColour(entry, context), 60)
    assert 30 < len(samples) < 60
    assert "white" not in {sample.answer() for sample in samples}
