"""Questions in words and answers in their forms; the samples of both."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from step3vl.data.sample import (
    Box,
    BoxTruth,
    Kind,
    Point,
    PointTruth,
    Sample,
    Source,
    TextTruth,
    Truth,
    format_boxes,
    format_point,
)
from step3vl.data.sample.truth import MilliBox
from step3vl.grading import grade_answer
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.grounding.answer_phrasings import HINTS, NONE, SENTENCES
from step3vl.pipelines.grounding.map_phrasings import MAP_BODIES
from step3vl.pipelines.grounding.phrasings import BODIES
from step3vl.pipelines.grounding.records import GroundedImage

GroundingTask = Literal[
    "grounding.box", "grounding.point", "grounding.boxes", "grounding.points", "grounding.absent",
    "grounding.description", "grounding.detection", "grounding.relation", "grounding.steps",
    "counting.objects", "counting.points",
]  # fmt: skip
TaskT = TypeVar("TaskT", bound=GroundingTask)
Form = Literal["json", "fenced", "sentence", "number", "yes_no", "choice", "name", "words"]
COORDINATES: tuple[Form, ...] = ("json", "json", "json", "fenced", "sentence")
"""Forms of an answer that carries coordinates, the commonest most often."""
_MISSES = 3  # questions that were not to be had or repeat another one, after which a task is left alone


@dataclass(frozen=True)
class Draft:
    """A question that is not yet worded.

    Attributes:
        kind: Key of the phrasings.
        values: What the phrasings name.
        truth: What makes the answer verifiable.
        forms: Those that the answer may have.
        answers: The answer by form; one of coordinates has its JSON under `json`.
        sentence: Key of the sentences around it.
        none: Whether there is none; None for a question to which that is no answer.
    """

    kind: str
    values: dict[str, str]
    truth: Truth
    forms: tuple[Form, ...]
    answers: dict[str, str]
    sentence: str = "place"
    none: bool | None = None


def box_draft(name: str, box: Box) -> Draft:
    """The question for the box of what is called so."""
    truth, answers = BoxTruth(boxes=(box.milli(),)), {"json": format_boxes([box])}
    return Draft("box", {"name": name}, truth, COORDINATES, answers, none=False)


def point_draft(name: str, point: Point, spots: tuple[MilliBox, ...]) -> Draft:
    """The question for a point on what is called so.

    Args:
        name: What it is called.
        point: Well inside of it.
        spots: Where a point counts, in 0..1000.
    """
    return Draft(
        "point", {"name": name}, PointTruth(boxes=spots), COORDINATES, {"json": format_point(point)}, none=False
    )


def absent_draft(kind: str, values: dict[str, str], language: Language) -> Draft:
    """The question for what is not there, to which the right answer is that there is none."""
    answer = NONE[language]
    return Draft(kind, values, TextTruth(text=answer), ("json",), {"json": answer}, none=True)


class Asked(NamedTuple):
    """A question with its answer."""

    task: GroundingTask
    kind: str
    language: Language
    form: Form
    question: str
    answer: str
    truth: Truth


def format_points(points: Sequence[Point]) -> str:
    """The answer that carries several points."""
    return json.dumps([{"point_2d": list(point.milli())} for point in points])


def boxes_as_list(boxes: Sequence[Box], labels: Sequence[str]) -> str:
    """Labelled boxes as a list, also a single one."""
    text = format_boxes(boxes, labels)
    return text if len(boxes) > 1 else f"[{text}]"


def word(task: GroundingTask, draft: Draft, language: Language, rng: random.Random) -> Asked:
    """Put a question into words, and its answer into a form. Raises ValueError where the grader refuses the answer."""
    question = rng.choice((BODIES | MAP_BODIES)[draft.kind][language]).format(**draft.values)
    question = question[:1].upper() + question[1:]
    form = rng.choice(draft.forms)
    hints = []
    must_say = form in ("fenced", "sentence") and draft.sentence != "number_places"
    if not draft.none and (must_say or rng.random() < 0.6):
        hints.append(rng.choice(HINTS[form][language]))
    if draft.none or (draft.none is False and rng.random() < 0.3):
        # Also where there is something, so that the offer does not tell that it is to be taken.
        hints.append(rng.choice(HINTS["none"][language]))
    question = paragraph(language, question, *hints)
    if draft.none:
        answer = draft.answers["json"]
    elif form == "fenced":
        answer = f"```json\n{draft.answers['json']}\n```"
    elif form == "sentence":
        answer = rng.choice(SENTENCES[draft.sentence][language]).format(**draft.answers)
    else:
        answer = draft.answers[form]
    if grade_answer(draft.truth, answer).verdict != "correct":
        raise ValueError(f"the grader does not accept the answer {answer!r} to {question!r}")
    return Asked(task, draft.kind, language, form, question, answer, draft.truth)


def ask_in_turn(
    weights: Mapping[TaskT, float],
    number: int,
    make: Callable[[TaskT], tuple[Language, Draft | None]],
    rng: random.Random,
) -> list[Asked]:
    """Questions about an image, each about something else.

    Args:
        weights: Relative weights of the tasks.
        number: How many questions, at most.
        make: The draft of a question of a task and its language; None where the image has none.
        rng: Chooses.
    """
    remaining = dict(weights)
    asked: list[Asked] = []
    seen: set[tuple[object, ...]] = set()
    misses: Counter[TaskT] = Counter()
    while remaining and len(asked) < number:
        task = rng.choices(list(remaining), list(remaining.values()))[0]
        language, draft = make(task)
        content = () if draft is None else (draft.kind, *sorted(draft.values.items()))
        if draft is None or content in seen:
            misses[task] += 1
            if misses[task] == _MISSES:
                del remaining[task]
            continue
        seen.add(content)
        asked.append(word(task, draft, language, rng))
    return asked


def to_sample(image: GroundedImage, asked: Asked, kind: Kind, entry: str) -> Sample:
    """The sample of a question.

    Args:
        image: That it is about.
        asked: The question.
        kind: A conversation, or a document of a question and its answer.
        entry: The name of the entry.
    """
    return compose(
        kind=kind,
        domain="grounding",
        task=asked.task,
        question=asked.question,
        answer=asked.answer,
        truth=asked.truth,
        images=[image.image],
        source=Source(
            uri=image.origin,
            licence=image.licence,
            collected_by=f"step3vl/{entry}",
            traits={
                **image.traits,
                "language": asked.language,
                "question": asked.kind,
                "answer": asked.form,
                "subject": image.subject,
            },
        ),
    )
