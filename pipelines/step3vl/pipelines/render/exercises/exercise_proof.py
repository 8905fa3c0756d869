"""An exercise as an image, and the proof that image, answer and steps agree."""

import random
from dataclasses import dataclass, replace

from PIL import Image as PILImage

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.exercises.exercise import Exercise
from step3vl.pipelines.render.exercises.exercise_steps import check_steps
from step3vl.pipelines.render.exercises.exercise_values import near_tie, to_number
from step3vl.pipelines.render.exercises.sketch import Sketch
from step3vl.pipelines.render.exercises.sketch_layout import lay_out
from step3vl.pipelines.render.exercises.sketch_style import Lettering, SketchStyle
from step3vl.pipelines.render.exercises.sketch_svg import Reading, to_pixels, to_svg

_TRIES = 5  # sizes that are tried, each larger, until all labels have room
_LARGER = 1.25


@dataclass(frozen=True)
class ProvenExercise:
    """An exercise with its figure.

    Attributes:
        image: The figure.
        error: Between the answer and what the figure measures, relative to the greater of 1 and the answer; None
            where the answer is a word.
        equations: How many equations of the steps were computed again.
    """

    exercise: Exercise
    image: PILImage.Image
    error: float | None
    equations: int


def prove(exercise: Exercise, style: SketchStyle, lettering: Lettering, rng: random.Random) -> ProvenExercise:
    """Render an exercise, measure its answer in the figure, and compute its steps again.

    Raises:
        Dropped: A label has no room, or no font.
        ValueError: The figure or a step says something else than the answer.
    """
    image, reading = _render(exercise.sketch, style, lettering, rng)
    error = None
    if exercise.measure is not None:
        answer, measured = to_number(exercise.answer), exercise.measure(reading)
        error = abs(measured - answer) / max(1.0, abs(answer))
        if not error <= exercise.tolerance:
            raise ValueError(f"the figure measures {measured:.5g}, the answer is {answer:.5g}")
    if exercise.confirm is not None and not exercise.confirm(reading):
        raise ValueError(f"the figure does not confirm {exercise.answer}")
    if exercise.measure is None and exercise.confirm is None:
        raise ValueError("nothing proves the answer")
    if exercise.digits is not None and near_tie(exercise.answer, exercise.digits):
        raise ValueError("the answer is half way between two roundings")
    equations = check_steps(exercise.steps)
    if exercise.distorted_sketch is not None:
        image, _ = _render(exercise.distorted_sketch, style, lettering, rng)
    return ProvenExercise(exercise, image, error, equations)


def _render(
    sketch: Sketch, style: SketchStyle, lettering: Lettering, rng: random.Random
) -> tuple[PILImage.Image, Reading]:
    for attempt in range(_TRIES):
        sized = replace(style, side=round(style.side * _LARGER**attempt))
        try:
            layout = lay_out(sketch, sized, lettering, rng)
            break
        except Dropped:
            if attempt == _TRIES - 1:
                raise
    svg = to_svg(layout, sized)
    return to_pixels(svg, layout, sized), Reading(svg)
