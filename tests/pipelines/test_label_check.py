"""Label checks of domains, run on samples."""

import weakref
from types import SimpleNamespace
from typing import Any, cast

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.data.storage.store_config import DEFAULT_STORE
from step3vl.pipelines import label_check
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import LabelCheck, Unchecked
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.label_check import Checks, check_task


def sample(answer: str) -> Sample:
    source = Source(uri="t/0", licence="CC0-1.0", collected_by="step3vl/t")
    return compose(
        kind="conversation",
        domain="t",
        task="t.t",
        question="?",
        answer=answer,
        truth=TextTruth(text=answer),
        source=source,
    )


def check(labelled: Sample) -> str | None:
    answer = labelled.answer()
    if answer == "unknown":
        raise Unchecked("not_covered")
    if answer == "disk":
        raise InfrastructureError("no space left")
    if answer == "bug":
        raise KeyError("x")
    return None if answer.startswith("right") else "differs"


def check_of(labelled: Sample) -> LabelCheck:
    return check


def test_every_sample_is_right_wrong_or_unchecked_for_a_reason() -> None:
    answers = ["right", "right 2", "wrong", "unknown", "bug", *(f"wrong {number}" for number in range(9))]
    result = check_task(map(sample, answers), check_of)
    assert (result.right, result.wrong, result.unchecked) == (2, {"differs": 10}, {"not_covered": 1, "KeyError": 1})
    assert (result.checked, result.errors, len(result.examples)) == (12, 10, 5)
    assert result.examples[0].answer == "wrong"


def test_what_the_machine_causes_ends_the_check() -> None:
    with pytest.raises(InfrastructureError):
        check_task([sample("disk")], check_of)


def test_only_the_checks_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Check:
        def __call__(self, labelled: Sample) -> str | None:
            return None

    class Entry:
        @staticmethod
        def model_validate(fields: dict[str, Any]) -> str:
            return str(fields["name"])

    def make(entry: str, context: StepContext) -> LabelCheck:
        made.append(entry)
        alive.append(weakref.ref(check := Check()))
        return check

    alive: list[weakref.ref[Check]] = []
    names = [f"entry-{number}" for number in range(12)]
    monkeypatch.setattr(label_check, "DOMAINS", {"t": SimpleNamespace(entry=Entry, label_check=make)})
    config = {"domains": [{"name": name, "domain": "t"} for name in names]}
    dataset = SimpleNamespace(manifest=SimpleNamespace(config=config), files=SimpleNamespace(config=DEFAULT_STORE))
    checks = Checks(cast(Dataset, dataset))
    labelled = sample("a")
    sources = [labelled.source.model_copy(update={"collected_by": f"step3vl/{name}/1"}) for name in names]
    samples = [labelled.model_copy(update={"source": source}) for source in sources]
    for each in [samples[0], *samples, samples[-1]]:
        assert check_task([each], checks.of).right == 1
    assert made == names, "an entry's samples follow each other"
    assert sum(check() is not None for check in alive) == label_check._OPEN
