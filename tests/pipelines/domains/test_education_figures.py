import io
import random
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import MathTruth, Sample, TextPart
from step3vl.grading import grade_answer
from step3vl.grading.math import compare
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.education_answers import Posed, check_grades, pose
from step3vl.pipelines.domains.education_figures import ExerciseMaker, FiguresEntry, PoseFigures
from step3vl.pipelines.render.exercises.exercise_families import EXERCISES

_SMALL: dict[str, Any] = {"side": (160, 220)}


def _entry(**fields: Any) -> FiguresEntry:
    return FiguresEntry(domain="education.figures", name="t", count=1, **{**_SMALL, **fields})


def _question(sample: Sample) -> str:
    assert sample.messages is not None
    part = sample.messages[0].content[-1]
    assert isinstance(part, TextPart)
    return part.text


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    context = StepContext(seed=0, base=".")
    worker = PoseFigures(_entry(), context)
    worker.setup()
    samples: list[Sample] = []
    for number in range(70):
        try:
            samples += worker.process(Record(f"t/{number}", number), rng_for(0, number))
        except Dropped:
            continue
    return samples


def test_samples_have_figures_truths_and_levels(samples: list[Sample]) -> None:
    assert len(samples) > 60
    tasks = {sample.task for sample in samples}
    assert tasks >= {"education.geometry", "education.functions", "education.physics", "education.caption"}
    for sample in samples:
        assert sample.truth is not None and sample.source is not None
        if isinstance(sample.truth, MathTruth):
            assert compare(sample.truth.expression, sample.answer()) == "correct"
        else:
            assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert sample.scores["grade"] >= 1
        assert sample.scores.get("measured_error", 0.0) < 0.07
        assert sample.source.traits["family"] in EXERCISES
        assert PILImage.open(io.BytesIO(sample.images[0].data or b"")).size == (
            sample.images[0].width,
            sample.images[0].height,
        )


def test_both_languages_and_both_forms_occur(samples: list[Sample]) -> None:
    traits = [sample.source.traits for sample in samples if sample.source]
    assert {t["language"] for t in traits} == {"en", "zh"}
    assert {t["form"] for t in traits} == {"free", "choice", "caption"}
    assert len({t["font"] for t in traits}) >= 3


def test_questions_are_worded_in_many_ways(samples: list[Sample]) -> None:
    questions = {_question(s) for s in samples if s.task != "education.caption"}
    assert len(questions) == sum(s.task != "education.caption" for s in samples)


def test_a_sample_is_the_same_whenever_it_is_made() -> None:
    made = []
    for order in ((3, 5), (5, 3)):
        worker = PoseFigures(_entry(), StepContext(seed=0, base="."))
        worker.setup()
        made.append({n: [s.id for s in worker.process(Record(f"t/{n}", n), rng_for(0, n))] for n in order})
    assert made[0] == made[1]


def test_only_chosen_families_and_grades_are_made(generate: Callable[..., list[Sample]], context: StepContext) -> None:
    names = ("geometry.thales", "physics.lever")
    for sample in generate(PoseFigures(_entry(families=names), context), 12):
        assert sample.source is not None and sample.source.traits["family"] in names
    for sample in generate(PoseFigures(_entry(grades=(12, 16), captions=0), context), 30):
        assert sample.scores["grade"] >= 12


def test_an_unknown_family_is_named(context: StepContext) -> None:
    with pytest.raises(UserError, match=r"geometry\.alchemy"):
        _entry(families=("geometry.alchemy",)).check(context)


def test_wrong_answers_are_refused(context: StepContext) -> None:
    maker = ExerciseMaker(_entry(families=("geometry.triangle_sum",)), context)
    _, proven, _ = maker.make(rng_for(1), "en")
    posed = pose(proven.exercise, "free", False, rng_for(2))
    check_grades(posed, ["1°"])
    with pytest.raises(ValueError, match="accepts"):
        check_grades(posed, [posed.answer])
    with pytest.raises(ValueError, match="does not accept its own answer"):
        check_grades(Posed(posed.question, "1°", posed.truth), [])


def test_an_answer_of_a_choice_is_the_label_of_the_exercise(context: StepContext) -> None:
    maker = ExerciseMaker(_entry(families=("geometry.triangle_sum",)), context)
    labels = set()
    for seed in range(20):
        _, proven, _ = maker.make(rng_for(seed), "en")
        posed = pose(proven.exercise, "choice", False, random.Random(seed))
        labels.add(posed.answer[0])
        line = next(line for line in posed.question.split("\n")[1:] if line.strip("(")[0] == posed.answer[0])
        assert line.endswith(f" {proven.exercise.answer}°")
    assert len(labels) >= 3


def test_documents_hold_question_and_answer(generate: Callable[..., list[Sample]], context: StepContext) -> None:
    (sample,) = generate(PoseFigures(_entry(kind="document", families=("geometry.thales",)), context), 1)
    assert sample.content is not None
    assert "Answer: " in "".join(part.text for part in sample.content if isinstance(part, TextPart))


def test_a_figure_that_is_too_large_is_dropped(context: StepContext) -> None:
    worker = PoseFigures(_entry(max_side=60, families=("geometry.thales",)), context)
    worker.setup()
    with pytest.raises(Dropped, match="too_large"):
        list(worker.process(Record("t/0", 0), rng_for(0)))
