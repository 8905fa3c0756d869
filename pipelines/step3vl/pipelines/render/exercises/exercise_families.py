"""All families of exercises by name."""

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.exercises.chemistry_curves import CURVES
from step3vl.pipelines.render.exercises.chemistry_elements import ELEMENTS
from step3vl.pipelines.render.exercises.chemistry_equations import EQUATIONS
from step3vl.pipelines.render.exercises.chemistry_structures import STRUCTURES
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Subject, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import near_tie
from step3vl.pipelines.render.exercises.functions_analysis import ANALYSIS
from step3vl.pipelines.render.exercises.functions_graphs import GRAPHS
from step3vl.pipelines.render.exercises.geometry_angles import ANGLES
from step3vl.pipelines.render.exercises.geometry_areas import AREAS
from step3vl.pipelines.render.exercises.geometry_circles import CIRCLES
from step3vl.pipelines.render.exercises.geometry_coordinates import COORDINATES
from step3vl.pipelines.render.exercises.geometry_lengths import LENGTHS
from step3vl.pipelines.render.exercises.physics_circuits import CIRCUITS
from step3vl.pipelines.render.exercises.physics_forces import FORCES
from step3vl.pipelines.render.exercises.physics_optics import OPTICS
from step3vl.pipelines.render.exercises.physics_readings import READINGS
from step3vl.pipelines.render.exercises.statistics_chance import CHANCE
from step3vl.pipelines.render.exercises.statistics_charts import CHARTS

_TRIES = 20

FamilyFunction = Callable[[Draft], Exercise]


class ExerciseFamily(NamedTuple):
    """A function that makes exercises, and its subject."""

    subject: Subject
    make: FamilyFunction


_TABLES: tuple[tuple[Subject, Mapping[str, FamilyFunction]], ...] = (
    ("geometry", ANGLES),
    ("geometry", LENGTHS),
    ("geometry", AREAS),
    ("geometry", CIRCLES),
    ("geometry", COORDINATES),
    ("functions", GRAPHS),
    ("functions", ANALYSIS),
    ("statistics", CHARTS),
    ("statistics", CHANCE),
    ("physics", FORCES),
    ("physics", READINGS),
    ("physics", CIRCUITS),
    ("physics", OPTICS),
    ("chemistry", STRUCTURES),
    ("chemistry", ELEMENTS),
    ("chemistry", CURVES),
    ("chemistry", EQUATIONS),
)

EXERCISES: dict[str, ExerciseFamily] = {
    f"{subject}.{name}": ExerciseFamily(subject, make) for subject, table in _TABLES for name, make in table.items()
}
"""`geometry.triangle_sum` and the others."""


def make_exercise(name: str, rng: random.Random, language: Language, covers: Callable[[str], bool]) -> Exercise:
    """An exercise of a family, not yet proven.

    Args:
        name: Of the family.
        rng: Random numbers.
        language: Of its texts.
        covers: Whether the figure can show a text.

    Raises:
        Dropped: `unsuited_values`: no random values made a good exercise, whose answer has one rounding.
    """
    for _ in range(_TRIES):
        try:
            exercise = EXERCISES[name].make(Draft(rng, language, covers))
        except Unsuited:
            continue
        if exercise.digits is None or not near_tie(exercise.answer, exercise.digits):
            return exercise
    raise Dropped("unsuited_values")
