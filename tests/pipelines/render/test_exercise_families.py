"""Every family: its exercises are proven by their figures, and its truths tell right from wrong."""

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import step3vl.data
from step3vl.data.sample import MathTruth
from step3vl.grading import grade_answer
from step3vl.grading.math import compare
from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.domains.education_answers import pose
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise
from step3vl.pipelines.render.exercises.exercise_families import EXERCISES, ExerciseFamily, make_exercise
from step3vl.pipelines.render.exercises.exercise_proof import ProvenExercise, prove
from step3vl.pipelines.render.exercises.exercise_values import to_number
from step3vl.pipelines.render.exercises.sketch_style import Lettering, SketchStyle, pick_sketch_style
from step3vl.pipelines.render.fonts import load_families

_FONTS = Path(step3vl.data.__file__).parent / "assets" / "fonts"
_FAMILIES = load_families([_FONTS / "DejaVuSans.ttf"])
_LETTERING = Lettering(_FAMILIES)


def _style(rng: random.Random) -> SketchStyle:
    return pick_sketch_style(_FAMILIES, (260, 340), rng)


def _proven(name: str, count: int) -> list[ProvenExercise]:
    proven = []
    for seed in range(3 * count):
        rng = rng_for(name, seed)
        try:
            exercise = make_exercise(name, rng, ("en", "zh")[seed % 2], _LETTERING.covers)  # type: ignore[arg-type]
            proven.append(prove(exercise, _style(rng), _LETTERING, rng))
        except Dropped:
            continue
        if len(proven) == count:
            break
    return proven


@pytest.mark.parametrize("name", EXERCISES)
def test_exercises_are_proven_and_graded(name: str) -> None:
    proven = _proven(name, 3)
    assert len(proven) == 3
    for i, item in enumerate(proven):
        exercise, rng = item.exercise, rng_for(name, "pose", i)
        assert 1 <= exercise.grade <= 16
        assert len(exercise.wrong) >= 1
        assert exercise.question[-1] in ".?)。？）"
        chinese = sum("\u4e00" <= c <= "\u9fff" for c in exercise.question)
        assert (chinese > 3) == (exercise.language == "zh")
        for form in ("free", "choice"):
            posed = pose(exercise, form, i % 2 == 0, rng)  # checks that the answer is accepted, and wrong ones are not
            if not isinstance(posed.truth, MathTruth):
                assert grade_answer(posed.truth, posed.answer).verdict == "correct"
            elif not isinstance(exercise.answer, str):
                assert compare(posed.truth.expression, "$1234567$") == "wrong"


def test_an_answer_that_differs_from_the_figure_is_an_error() -> None:
    rng = rng_for("wrong")
    exercise = make_exercise("geometry.triangle_sum", rng, "en", _LETTERING.covers)
    wrong = replace(exercise, answer=int(to_number(exercise.answer)) + 2)
    with pytest.raises(ValueError, match="the figure measures"):
        prove(wrong, _style(rng), _LETTERING, rng)


def test_a_wrong_step_is_an_error() -> None:
    rng = rng_for("step")
    exercise = make_exercise("geometry.triangle_sum", rng, "en", _LETTERING.covers)
    with pytest.raises(ValueError, match="is wrong"):
        prove(replace(exercise, steps=("180° − 50° = 140°",)), _style(rng), _LETTERING, rng)


def test_an_answer_that_nothing_proves_is_an_error() -> None:
    rng = rng_for("unproven")
    exercise = make_exercise("geometry.triangle_sum", rng, "en", _LETTERING.covers)
    with pytest.raises(ValueError, match="nothing proves"):
        prove(replace(exercise, measure=None), _style(rng), _LETTERING, rng)


def _made(name: str, count: int) -> list[Exercise]:
    return [make_exercise(name, rng_for(name, "en", i), "en", _LETTERING.covers) for i in range(count)]


def test_what_is_asked_is_never_printed() -> None:
    """A side or an angle that is asked for has no label with its value unless another element has the same."""
    for name in ("geometry.triangle_sum", "geometry.pythagoras", "geometry.straight_line", "geometry.law_of_sines"):
        for exercise in _made(name, 25):
            labels = [label.text for label in exercise.sketch.labels] + [a.label for a in exercise.sketch.angles]
            printed = [text for text in labels if any(c.isdigit() for c in text)]
            assert len(printed) <= (2 if name != "geometry.law_of_sines" else 3)


def test_what_is_given_stands_in_the_figure_or_in_the_text() -> None:
    places = set()
    for exercise in _made("geometry.triangle_sum", 60):
        first, second = exercise.steps[-1].split("−")[1:3]
        values = first.strip(), second.split("=")[0].strip()
        labels = [angle.label for angle in exercise.sketch.angles]
        for value in values:
            in_figure, in_text = value in labels, value in exercise.question
            assert in_figure or in_text
            places.add((in_figure, in_text))
    assert places == {(True, False), (False, True), (True, True)}


def test_questions_have_many_phrasings() -> None:
    questions = {exercise.question.replace(c, "") for exercise in _made("geometry.thales", 150) for c in "x"}
    openings = {question.split(" a circle")[0] for question in questions}
    assert len(openings) >= 10
    assert len(questions) >= 100


def test_the_same_seed_gives_the_same_exercise_and_pixels() -> None:
    images = []
    for _ in range(2):
        rng = rng_for("again")
        exercise = make_exercise("physics.circuit", rng, "zh", _LETTERING.covers)
        images.append((exercise.question, prove(exercise, _style(rng), _LETTERING, rng).image.tobytes()))
    assert images[0] == images[1]


def test_words_of_figures_are_english_where_no_font_has_the_chinese() -> None:
    draft = Draft(random.Random(0), "zh", _LETTERING.covers)
    assert draft.word("water", "水") == "water"
    assert Draft(random.Random(0), "zh", lambda text: True).word("water", "水") == "水"


def test_answers_half_way_between_two_roundings_are_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    exercise = make_exercise("geometry.triangle_sum", random.Random(0), "en", _LETTERING.covers)
    made = iter([replace(exercise, answer=Fraction(n, 10), digits=0) for n in (5, 25, 27)])
    monkeypatch.setitem(EXERCISES, "geometry.tie", ExerciseFamily("geometry", lambda draft: next(made)))
    assert make_exercise("geometry.tie", random.Random(0), "en", _LETTERING.covers).answer == Fraction(27, 10)
