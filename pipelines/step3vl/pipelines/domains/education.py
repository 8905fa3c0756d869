"""Verifiable problems, as a picture of the question or as text.

After the education data of the STEP3-VL-10B report, section 2.2, with problems from generators whose answers can be
checked, in place of exam papers.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, Source
from step3vl.data.truth import NumberTruth, OptionTruth, TextTruth, Truth, last_number
from step3vl.pipelines.compose import DomainEntry, Range, compose, encode_jpeg
from step3vl.pipelines.render.page import block_size, draw_lines, fit
from step3vl.pipelines.render.style import Face, ink, paper
from step3vl.pipelines.sources.files import expand
from step3vl.pipelines.sources.problems import (
    MATHGENERATOR,
    REASONING_GYM,
    Answer,
    Option,
    Problem,
    family_of,
    load_generators,
    make_problem,
)
from step3vl.pipelines.steps import BuildNumbered, Dropped, Record, rng_for

_YES_NO = ("Yes", "No")
_NO_BREAK = "\u00a0"  # keeps a formula on one line


class EducationEntry(DomainEntry):
    """Problems of generator families.

    families: name to the options of its generator, e.g. `{chain_sum: {max_terms: 2}, mathgenerator.addition: {}}`.
    form: `picture` draws the question, `text` asks it in words.
    picture: width and height in pixels. font: size in pixels.
    """

    domain: Literal["education"]
    count: int = Field(gt=0)
    families: dict[str, dict[str, Option]] = Field(min_length=1)
    form: Literal["picture", "text"] = "picture"
    picture: tuple[int, int] = (448, 448)
    font: Range = (16, 40)
    font_files: tuple[str, ...] = ("data/samples/fonts/DejaVu*.ttf",)
    licence: str = "Apache-2.0 AND MIT"

    def files(self) -> list[Path]:
        """What the entry reads. Raises UserError when a family is unknown or a pattern matches nothing."""
        for name in self.families:
            try:
                family_of(name)
            except KeyError:
                known = [*REASONING_GYM, *(f"mathgenerator.{short}" for short in MATHGENERATOR)]
                raise UserError(f"{self.name}: no family {name!r}; choose among {', '.join(known)}") from None
        return expand(self.font_files, self.name)


def truth_of(answer: str, kind: Answer) -> Truth:
    """Raises `Dropped` when an answer is not of the kind that its family promises."""
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

    Problems are numbered on from a start that depends on the seed, so that neighbours share what a family loads.
    """

    def __init__(self, entry: EducationEntry, seed: int) -> None:
        self._entry = entry
        self._first = rng_for(seed, entry.name).getrandbits(30)

    def setup(self) -> None:
        load_generators(list(self._entry.families))
        self._faces = [Face(path) for path in expand(self._entry.font_files, self._entry.name)]

    def process(self, record: Record, rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        family = rng.choice(list(entry.families))
        problem = make_problem(family, entry.families[family], self._first + record.value, rng)
        truth = truth_of(problem.answer, family_of(family).answer)
        images = [encode_jpeg(self._draw(problem, rng))] if entry.form == "picture" else []
        yield compose(
            kind=entry.kind,
            domain="education",
            task=f"education.{family.rpartition('.')[2]}",
            question=rng.choice(("Solve it.", "Answer the question.")) if images else problem.question,
            answer=problem.answer,
            truth=truth,
            images=images,
            source=Source(uri=f"{record.key}/{family}", licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )

    def _draw(self, problem: Problem, rng: random.Random) -> Any:
        entry = self._entry
        text = problem.question if problem.formula is None else problem.formula.replace(" ", _NO_BREAK)
        faces = [face for face in self._faces if face.covers(text)]
        if not faces:
            raise Dropped("no_font_has_all_characters")
        margin = max(2, min(entry.picture) // 24)
        space = entry.picture[0] - 2 * margin, entry.picture[1] - 2 * margin
        fitted = fit(text, rng.choice(faces), space, entry.font, rng)
        if fitted is None:
            raise Dropped("does_not_fit")
        lines, font = fitted
        picture, dark = paper(rng.choice(("plain", "gradient")), entry.picture, None, rng)
        block = block_size(lines, font)
        at = tuple(margin + rng.randint(0, max(0, space[i] - block[i])) for i in (0, 1))
        draw_lines(picture, lines, font, (at[0], at[1]), ink(dark, rng))
        return picture


class PoseVerifiedProblems(BuildNumbered):
    """Education samples of one entry."""

    def __init__(self, entry: EducationEntry, seed: int) -> None:
        super().__init__(entry.name, entry.count, PoseProblems(entry, seed), seed)
