"""Label checks of domains, run on samples."""

import pytest

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.domain import LabelCheck, Unchecked
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.label_check import check_task


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
