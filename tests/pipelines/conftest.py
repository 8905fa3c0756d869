"""Tests run from the repository's root, where the sample inputs are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import Dropped, Record, Worker, rng_for

ROOT = Path(__file__).parents[2]


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
