"""Verifiable problems, as an image of the question or as text.

After the education data of the STEP3-VL-10B report, section 2.2, with problems from generators whose answers can be
checked, in place of exam papers.
"""

import random
from collections.abc import Iterator
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.errors import UserError
from step3vl.data.sample import NumberTruth, OptionTruth, Sample, Source, TextTruth, Truth
from step3vl.grading import last_number
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, IntRange
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.education_check import CheckProblems
from step3vl.pipelines.domains.education_phrasings import ask
from step3vl.pipelines.render.pages.page import block_size, fit, render_lines
from step3vl.pipelines.render.style import FontFace, ink, paper
from step3vl.pipelines.sources.education.problems import (
    MATHGENERATOR,
    REASONING_GYM,
    Answer,
    GeneratedProblem,
    Option,
    family_of,
    load_generators,
    make_problem,
)

_YES_NO = ("Yes", "No")
_NO_BREAK = "\u00a0"  # keeps a formula on a single line


class EducationEntry(GeneratedEntry):
    """Problems of generator families."""

    domain: Literal["education"]
    families: dict[str, dict[str, Option]] = Field(min_length=1)
    """Each family with the options of its generator: `{chain_sum: {max_terms: 2}, mathgenerator.addition: {}}`."""
    modality: Literal["image", "text"] = "image"
    """`image` renders the question, `text` asks it in words."""
    image_size: tuple[int, int] = (448, 448)
    """Width and height in pixels."""
    font_size: IntRange = (16, 40)
    """In pixels."""
    font_files: tuple[str, ...] = ("assets:fonts/DejaVu*.ttf",)
    """Patterns of fonts."""
    languages: tuple[Language, ...] = Field(default=("en", "zh"), min_length=1)
    """Of the requests, chosen with equal probability; the problems themselves are in English."""
    licence: str = "Apache-2.0 AND MIT"
    """Of the samples."""

    def assets(self) -> tuple[str, ...]:
        return self.font_files if self.modality == "image" else ()

    def check(self, context: StepContext) -> None:
        super().check(context)
        for name in self.families:
            try:
                family_of(name)
            except KeyError:
                families = [*REASONING_GYM, *(f"mathgenerator.{short}" for short in MATHGENERATOR)]
                raise UserError(f"{self.name}: no family {name!r}; choose among {', '.join(families)}") from None


def truth_of(answer: str, kind: Answer) -> Truth:
    """The truth of an answer. Raises `Dropped` when it is not of the kind that its family promises."""
    if kind == "number":
        value = last_number(answer)
        if value is None:
            raise Dropped("answer_is_no_number")
        return NumberTruth(value=value)
    if kind == "yes_no":
        if answer not in _YES_NO:
            raise Dropped("answer_is_no_option")
        return OptionTruth(option=answer, options=_YES_NO)
    return TextTruth(text=answer)


class PoseProblems:
    """Worker: a number becomes a problem.

    Problems are numbered from a start that depends on the seed, so that neighbours share what a family loads.
    """

    def __init__(self, entry: EducationEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context
        self._first = rng_for(context.seed, entry.name).getrandbits(30)

    def setup(self) -> None:
        load_generators(list(self._entry.families))
        self._faces = [FontFace(path) for path in self._context.assets(self._entry.assets())]

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        family = rng.choice(list(entry.families))
        problem = make_problem(family, entry.families[family], self._first + record.value, rng)
        truth = truth_of(problem.answer, family_of(family).answer)
        images = [encode_jpeg(self._render(problem, rng))] if entry.modality == "image" else []
        language = rng.choice(entry.languages)
        question = ask("problem" if images else "in_words", language, rng)
        if not images:
            question = paragraph(language, question, problem.question)
        yield compose(
            kind=entry.kind,
            domain="education",
            task=f"education.{family.rpartition('.')[2]}",
            question=question,
            answer=problem.answer,
            truth=truth,
            images=images,
            source=Source(uri=f"{record.key}/{family}", licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )

    def _render(self, problem: GeneratedProblem, rng: random.Random) -> PILImage.Image:
        entry = self._entry
        text = problem.question if problem.formula is None else problem.formula.replace(" ", _NO_BREAK)
        faces = [face for face in self._faces if face.covers(text)]
        if not faces:
            raise Dropped("no_font_has_all_characters")
        margin = max(2, min(entry.image_size) // 24)
        space = entry.image_size[0] - 2 * margin, entry.image_size[1] - 2 * margin
        fitted = fit(text, rng.choice(faces), space, entry.font_size, rng)
        if fitted is None:
            raise Dropped("does_not_fit")
        lines, font = fitted
        image, dark = paper(rng.choice(("plain", "gradient")), entry.image_size, None, rng)
        block = block_size(lines, font)
        x, y = (margin + rng.randint(0, max(0, space[i] - block[i])) for i in (0, 1))
        render_lines(image, lines, font, (x, y), ink(dark, rng))
        return image


DOMAIN = Domain(
    EducationEntry,
    steps=(BeamStep("build", version=3, worker=PoseProblems, output=Sample),),
    label_check=CheckProblems,
    example={"count": 20, "families": {"chain_sum": {"max_terms": 3}, "mathgenerator.addition": {}}},
)
