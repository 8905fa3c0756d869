"""The protocol of a domain."""

from typing import Any, Literal

import pytest

from step3vl.data.sample import Sample
from step3vl.pipelines.core.domain import BeamStep, Domain, Files, GeneratedEntry, ModelStep, Numbers
from step3vl.pipelines.domains import DOMAINS


class EchoEntry(GeneratedEntry):
    """Questions that contain their answers."""

    domain: Literal["echo"] = "echo"


def step(name: str, output: type = Sample) -> BeamStep[Any]:
    return BeamStep(name, 1, lambda entry, context: None, output)  # type: ignore[arg-type,return-value]


def test_the_name_of_a_domain_is_the_literal_of_its_entry() -> None:
    assert Domain(EchoEntry, (step("build"),)).name == "echo"


def test_the_inputs_of_a_generated_entry_are_its_numbers() -> None:
    assert EchoEntry(name="e", count=9).inputs() == Numbers(9)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ((), "the last step of EchoEntry must be a BeamStep that emits samples"),
        ((step("a"), step("b", dict)), "the last step of EchoEntry must be a BeamStep that emits samples"),
        ((ModelStep("a", 1, lambda entry: None, Sample),), "the last step of EchoEntry must be a BeamStep"),  # type: ignore[arg-type,return-value]
        ((step("a", dict), step("a")), "two steps of EchoEntry have one name"),
    ],
)
def test_steps_that_make_no_domain_are_refused(steps: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Domain(EchoEntry, steps)


@pytest.mark.parametrize("name", DOMAINS)
def test_every_registered_domain_is_complete(name: str) -> None:
    domain = DOMAINS[name]
    assert domain.name == name
    assert domain.entry.__doc__
    assert {"domain", "name", "kind"} <= set(domain.entry.model_fields)
    entry = domain.entry.model_validate({"domain": name, "name": "e", **domain.example})
    assert isinstance(entry.inputs(), Numbers | Files)
    assert all(each.version >= 1 for each in domain.steps)
