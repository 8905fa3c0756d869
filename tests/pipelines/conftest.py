"""Tests run from the repository's root, where the sample inputs are."""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.steps import Dropped, Record, Worker, rng_for
from step3vl.pipelines.gui.desktop.session import find_desktop
from step3vl.pipelines.render.web.browser import find_chromium

ROOT = Path(__file__).parents[2]
SAMPLES = "data/samples"  # the inputs of the examples of domains
MICRO_COUNT = 4  # records of a domain that generates


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, find in (("chromium", find_chromium), ("desktop", find_desktop)):
        if item.get_closest_marker(marker):
            try:
                find()
            except MissingProgramError as error:
                pytest.skip(str(error))


@pytest.fixture(autouse=True)
def run_from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def context() -> StepContext:
    return StepContext(seed=0, base=str(ROOT))


@pytest.fixture
def generate() -> Callable[[Worker[int, Sample], int], list[Sample]]:
    """The samples that a worker makes of the numbers below `count`, without the dropped ones."""

    def generate(worker: Worker[int, Sample], count: int) -> list[Any]:
        worker.setup()
        samples: list[Sample] = []
        for number in range(count):
            try:
                samples += worker.process(Record(f"t/{number}", number), rng_for(0, number))
            except Dropped:
                continue
        return samples

    return generate


@pytest.fixture(scope="session")
def micro_corpus() -> Callable[..., dict[str, Any]]:
    """The micro corpus: the example of every registered domain, which all engines have to build byte for byte alike.

    A new domain is in it without an edit here. One that needs a program which this machine lacks is left out, with a
    warning. The function takes the folder or URL of what `data/samples` has, the names of domains, and other
    fields of the corpus.
    """

    # Imported here, so that the tests of one domain run while another one is broken.
    from step3vl.pipelines.describe import example_entry
    from step3vl.pipelines.domains import DOMAINS

    def micro_entry(name: str, inputs: str) -> dict[str, Any]:
        text = json.dumps(example_entry(DOMAINS[name])).replace(f'"{SAMPLES}/', f'"{inputs}/')
        entry: dict[str, Any] = json.loads(text)
        return {**entry, "count": min(entry["count"], MICRO_COUNT)} if "count" in entry else entry

    def can_run(name: str) -> bool:
        entry = DOMAINS[name].entry.model_validate(micro_entry(name, SAMPLES))
        try:
            entry.check(StepContext(seed=0, base=str(ROOT)))
        except MissingProgramError as error:
            warnings.warn(f"NOT IN THE MICRO CORPUS: {name} cannot run on this machine: {error}", stacklevel=2)
            return False
        return True

    def micro_corpus(
        inputs: str = SAMPLES, domains: Iterable[str] = tuple(sorted(DOMAINS)), **fields: Any
    ) -> dict[str, Any]:
        entries = [micro_entry(name, inputs) for name in domains if can_run(name)]
        tokens = {"tokenizer": {"train": 320}}
        return {"name": "micro", "shards": 2, "heldout": 0.2, "tokens": tokens, "domains": entries, **fields}

    return micro_corpus
