from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, TextPart
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.domains.education import EducationEntry, PoseProblems, truth_of
from step3vl.pipelines.domains.education_phrasings import Asked, phrasings
from step3vl.pipelines.sources.education.problems import MATHGENERATOR, REASONING_GYM

FAMILIES = [*REASONING_GYM, *(f"mathgenerator.{name}" for name in MATHGENERATOR)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answers_of_a_family_are_graded_correct(
    generate: Callable[..., list[Sample]], context: StepContext, family: str
) -> None:
    entry = EducationEntry(domain="education", name="t", count=1, families={family: {}}, modality="text")
    samples = generate(PoseProblems(entry, replace(context, seed=5)), 3)
    assert samples
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct", sample.answer()
        assert not sample.images


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("asked", ["problem", "numbered", "all", "caption", "in_words"])
def test_there_are_fifty_requests_of_a_kind(asked: Asked, language: Language) -> None:
    chosen = phrasings(asked, language)
    assert len(set(chosen)) == len(chosen) >= 50
    assert all(("{n}" in phrasing) == (asked == "numbered") for phrasing in chosen)


def test_a_problem_in_words_is_asked_for_in_the_languages_of_the_entry(
    generate: Callable[..., list[Sample]], context: StepContext
) -> None:
    fields: dict[str, Any] = {"families": {"gcd": {}}, "modality": "text", "languages": ("zh",)}
    samples = generate(PoseProblems(EducationEntry(domain="education", name="t", count=1, **fields), context), 8)
    assert samples
    for sample in samples:
        assert sample.messages is not None
        (part,) = sample.messages[0].content
        assert isinstance(part, TextPart)
        request = part.text.partition("Find the")[0]
        assert request in phrasings("in_words", "zh")


def test_a_formula_is_rendered_on_a_single_line(generate: Callable[..., list[Sample]], context: StepContext) -> None:
    options = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    fields: dict[str, Any] = {"families": {"chain_sum": options}, "image_size": (112, 112), "font_size": (12, 40)}
    entry = EducationEntry(domain="education", name="t", count=1, **fields)
    samples = generate(PoseProblems(entry, replace(context, seed=1)), 15)
    assert len(samples) == 15
    assert {sample.task for sample in samples} == {"education.chain_sum"}


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [("many", "number", "answer_is_no_number"), ("Maybe", "yes_no", "answer_is_no_option")],
)
def test_an_answer_of_another_kind_is_dropped(answer: str, kind: Any, reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        truth_of(answer, kind)


def test_an_unknown_family_is_named(context: StepContext) -> None:
    entry = EducationEntry(domain="education", name="t", count=1, families={"alchemy": {}})
    with pytest.raises(UserError, match="alchemy"):
        entry.check(context)


def test_text_needs_no_fonts() -> None:
    fields: dict[str, Any] = {"domain": "education", "name": "t", "count": 1, "families": {"gcd": {}}}
    assert EducationEntry(**fields, modality="text").assets() == ()
    assert EducationEntry(**fields, font_files=("mine/*.ttf",)).assets() == ("mine/*.ttf",)
