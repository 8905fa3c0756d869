"""School and university problems with figures that are rendered from exact coordinates.

After the education data of the STEP3-VL-10B report, section 2.2: geometry and analytic geometry with captions,
functions, statistics, physics and chemistry. What is asked is never printed; what is given stands in the figure, in
the text, or in both. No answer is trusted: it is computed exactly, measured in the figure by other means, its worked
steps are computed again from their text, and its truth has to accept it and to refuse the wrong options.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, Source, TranscriptTruth, Truth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, IntRange
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.core.samples import compose, encode_rendering
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.education_answers import Form, pose
from step3vl.pipelines.domains.education_check import CheckExercises
from step3vl.pipelines.domains.education_phrasings import ask
from step3vl.pipelines.render.exercises.exercise import Exercise, Subject
from step3vl.pipelines.render.exercises.exercise_families import EXERCISES, make_exercise
from step3vl.pipelines.render.exercises.exercise_proof import ProvenExercise, prove
from step3vl.pipelines.render.exercises.sketch_style import Lettering, pick_sketch_style
from step3vl.pipelines.render.figures.figure import encode_png
from step3vl.pipelines.render.fonts import load_families

_CAPTION = 2  # sentences that a description must have


class ExerciseEntry(GeneratedEntry):
    """What all domains with exercises have."""

    subjects: dict[Subject, float] = Field(
        default={"geometry": 3.0, "functions": 2.0, "statistics": 1.5, "physics": 2.0, "chemistry": 1.5}, min_length=1
    )
    """Relative weights of the subjects."""
    families: tuple[str, ...] = ()
    """Only these families, such as `geometry.triangle_sum`; all of them when empty."""
    grades: IntRange = (1, 16)
    """Only exercises of these school years; 13 and above are of university."""
    languages: tuple[Language, ...] = Field(default=("en", "zh"), min_length=1)
    """Of the texts. Words in figures are English where no font has the Chinese characters."""
    forms: dict[Form, float] = Field(default={"free": 1.0, "choice": 1.0}, min_length=1)
    """Relative weights of free answers and multiple choice."""
    solutions: float = Field(default=0.5, ge=0, le=1)
    """The fraction of answers that show their steps."""
    side: IntRange = (220, 480)
    """The longer side of a figure without its labels, in pixels."""
    font_files: tuple[str, ...] = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
    """Patterns of fonts."""
    licence: str = "CC0-1.0"
    """Of the samples."""

    def assets(self) -> tuple[str, ...]:
        return self.font_files

    def check(self, context: StepContext) -> None:
        super().check(context)
        for name in self.families:
            if name not in EXERCISES:
                raise UserError(f"{self.name}: no family {name!r}; choose among {', '.join(EXERCISES)}")

    def chosen(self) -> dict[Subject, list[str]]:
        """The families of each subject that has a weight."""
        chosen: dict[Subject, list[str]] = {}
        for name, family in EXERCISES.items():
            if self.subjects.get(family.subject, 0) > 0 and (not self.families or name in self.families):
                chosen.setdefault(family.subject, []).append(name)
        return chosen


class ExerciseMaker:
    """Makes proven exercises for an entry. Families whose every exercise is of other grades are passed over."""

    def __init__(self, entry: ExerciseEntry, context: StepContext) -> None:
        self._entry = entry
        self.families = load_families(context.assets(entry.font_files))
        self.lettering = Lettering(self.families)
        self._latin = [f for f in self.families if f.covers("ABCabc0123456789")]
        self._chosen = entry.chosen()

    def make(
        self, rng: random.Random, language: Language, background: tuple[str, str] | None = None
    ) -> tuple[str, ProvenExercise, str]:
        """A family's name, a proven exercise of it, and the name of the font of its figure.

        Raises:
            Dropped: A label has no room, or the exercise is of another grade.
            ValueError: The figure or a step does not agree with the answer.
        """
        entry = self._entry
        subjects = list(self._chosen)
        if not subjects:
            raise Dropped("no_family")
        (subject,) = rng.choices(subjects, [entry.subjects[name] for name in subjects])
        name = rng.choice(self._chosen[subject])
        exercise = make_exercise(name, rng, language, self.lettering.covers)
        if not entry.grades[0] <= exercise.grade <= entry.grades[1]:
            raise Dropped("other_grade")
        style = pick_sketch_style(self._latin, entry.side, rng, background)
        return name, prove(exercise, style, self.lettering, rng), style.family.name

    def form(self, exercise: Exercise, rng: random.Random) -> Form:
        """How the exercise is answered, by the entry's weights of what it is fit for.

        Raises:
            Dropped: `too_few_options`: it is to be a multiple choice, and has no wrong option.
        """
        forms = [form for form in self._entry.forms if form == "free" or exercise.wrong]
        if not forms:
            raise Dropped("too_few_options")
        return rng.choices(forms, [self._entry.forms[form] for form in forms])[0]


class FiguresEntry(ExerciseEntry):
    """Problems with figures, and captions of figures."""

    domain: Literal["education.figures"]
    captions: float = Field(default=0.12, ge=0, le=1)
    """The fraction of samples that ask for a description of the figure, where it says more than what is shown."""
    jpeg: float = Field(default=0.25, ge=0, le=1)
    """The fraction of images encoded as JPEG, at qualities of 60 to 95; the others are PNG."""
    max_side: int = Field(default=1000, gt=0)
    """Larger images are dropped, in pixels."""


class PoseFigures:
    """Worker: a number becomes a problem with a figure."""

    def __init__(self, entry: FiguresEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        self._maker = ExerciseMaker(self._entry, self._context)

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        language = rng.choice(entry.languages)
        name, proven, font = self._maker.make(rng, language)
        if max(proven.image.size) > entry.max_side:
            raise Dropped("too_large")
        exercise = proven.exercise
        truth: Truth
        form = "caption"
        if rng.random() < entry.captions and len(exercise.caption) >= _CAPTION:
            question, answer = ask("caption", language, rng), caption(exercise)
            truth, task = TranscriptTruth(text=answer), "caption"
        else:
            form = self._maker.form(exercise, rng)
            question, answer, truth = pose(exercise, form, rng.random() < entry.solutions, rng)
            task = EXERCISES[name].subject
        yield compose(
            kind=entry.kind,
            domain="education",
            task=f"education.{task}",
            question=question,
            answer=answer,
            truth=truth,
            images=[encode_rendering(encode_png(proven.image), entry.jpeg, rng)],
            source=Source(
                uri=record.key,
                licence=entry.licence,
                collected_by=f"step3vl/{entry.name}/{name}",
                traits={"family": name, "language": language, "font": font, "form": form},
            ),
            scores=exercise_scores(proven),
        )


def exercise_scores(proven: ProvenExercise) -> dict[str, float]:
    """The level of an exercise, and what proved it."""
    scores = {"grade": float(proven.exercise.grade), "steps": float(len(proven.exercise.steps))}
    scores["equations_checked"] = float(proven.equations)
    if proven.error is not None:
        scores["measured_error"] = round(proven.error, 6)
    return scores


def caption(exercise: Exercise) -> str:
    """A description of the figure."""
    return paragraph(exercise.language, *exercise.caption)


DOMAIN = Domain(
    FiguresEntry,
    steps=(BeamStep("build", version=4, worker=PoseFigures, output=Sample),),
    label_check=CheckExercises,
    example={"count": 20, "subjects": {"geometry": 1, "functions": 1}, "side": [120, 200]},
)
