"""What every kind of visual question shares: wording, the form of the answer, the proof of both, and conversations."""

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import (
    CountTruth,
    Image,
    Kind,
    Message,
    NumberTruth,
    OptionTruth,
    Parts,
    Sample,
    Source,
    TextTruth,
    Truth,
    image,
    text,
)
from step3vl.grading import grade_answer
from step3vl.pipelines.core.phrasings import STEP, Language, paragraph
from step3vl.pipelines.core.samples import running_text
from step3vl.pipelines.domains.vqa_questions.caption_phrasings import CAPTION_BODIES
from step3vl.pipelines.domains.vqa_questions.frames import CHOOSE, FRAMES, HINTS, IMPERATIVE_FRAMES, NOT_SHOWN
from step3vl.pipelines.domains.vqa_questions.graph_phrasings import GRAPH_BODIES
from step3vl.pipelines.domains.vqa_questions.scene_phrasings import SCENE_BODIES
from step3vl.pipelines.domains.vqa_questions.table_phrasings import TABLE_BODIES
from step3vl.pipelines.domains.vqa_questions.text_phrasings import TEXT_BODIES
from step3vl.pipelines.models.endpoint import Usage
from step3vl.pipelines.models.judge import Judgement

Subject = Literal["chart", "table", "diagram", "page", "image", "scene", "mosaic"]
Form = Literal["number", "count", "text", "yes_no"]
Style = Literal["free", "choice"]

BODIES = TABLE_BODIES | GRAPH_BODIES | TEXT_BODIES | SCENE_BODIES | CAPTION_BODIES
"""By kind of question and language."""

_SUBJECTS: dict[Subject, tuple[str, str]] = {
    "page": ("page", "页面"),
    "image": ("image", "图片"),
    "scene": ("scene", "画面"),
    "chart": ("chart", "图表"),
    "table": ("table", "表格"),
    "diagram": ("diagram", "图"),
    "mosaic": ("collage", "拼图"),
}
_YES_NO = {"en": ("yes", "no"), "zh": ("是", "否")}
FOLLOW_UPS = ("next_value",)
"""Kinds that make sense after another question only, and are short."""
_VERBATIM = ("nth_line", "line_with", "title", "next_heading")  # kinds whose answers are as long as they are
_QUESTION_WORDS = (
    "What", "Which", "How", "Who", "Where", "When", "Is", "Are", "Was", "Were", "Does", "Do", "Did", "Has", "Have",
    "For", "By", "On", "In", "At", "Can",
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """A question that is not yet worded, with an answer that is computed, and checked, already.

    Attributes:
        kind: Key of the phrasings.
        values: What the phrasings name.
        answer: The right one; for `yes_no` it is `yes` or `no`.
        form: What kind of an answer it is.
        wrong: Answers of the same kind that are wrong, the most tempting ones first.
        step: Values are multiples of it, which the question then says.
        answerable: Whether the image tells.
        only_choice: Whether the question is about its options.
        extra: What a follow-up needs to know.
    """

    kind: str
    values: Mapping[str, str]
    answer: str
    form: Form
    wrong: tuple[str, ...] = ()
    step: str = ""
    answerable: bool = True
    only_choice: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)


class Turn(Config):
    """A question, its answer, and what makes the answer verifiable."""

    kind: str
    """Of the question."""
    style: Style
    question: str
    answer: str
    truth: Truth
    reasoning: str = ""
    """Before the answer, where somebody wrote it down."""


class Asked(Config):
    """An image with the turns of a conversation about it."""

    image: Image
    turns: tuple[Turn, ...]
    task: str
    language: Language
    licence: str
    origin: str
    """Of the image: the key of the record, or the URI of the sample that it was made of."""
    parents: tuple[str, ...] = ()
    """Ids of the samples that the answers are from."""
    traits: dict[str, str] = Field(default_factory=dict)
    """What the source says of the image, such as its family."""
    judgements: tuple[Judgement, ...] = ()
    """Of the turns, where a judge looked at them."""

    @property
    def paid(self) -> dict[str, float]:
        """Tokens and price of the judgements, for `corpus cost`."""
        usage = sum((judgement.usage for judgement in self.judgements), Usage())
        return usage.paid(sum(judgement.price for judgement in self.judgements)) if self.judgements else {}


def word(draft: Draft, subject: Subject, language: Language, style: Style, rng: random.Random) -> Turn:
    """Put a question into words and its answer into a form.

    Args:
        draft: The question. One with fewer than two usable wrong answers is asked freely.
        subject: What the image is.
        language: Of the question.
        style: How it should be answered.
        rng: Chooses the wording.

    Raises:
        ValueError: The grader does not accept the answer, or accepts a wrong one.
    """
    question = rng.choice(BODIES[draft.kind][language]).format(**draft.values)
    if draft.kind not in FOLLOW_UPS:
        question = _framed(question, subject, language, rng)
    if draft.step and draft.form in ("number", "count"):
        question += STEP[language].format(step=draft.step)
    if not draft.answerable:
        return _turn(
            draft,
            "free",
            paragraph(language, question, rng.choice(NOT_SHOWN[language])),
            draft.answer,
            TextTruth(text=draft.answer),
        )
    truth = _truth(draft, language)
    if draft.form == "yes_no":
        answer = _YES_NO[language][draft.answer == "no"]
        hinted = paragraph(language, question, rng.choice(HINTS["yes_no"][language]))
        return _turn(draft, "free", hinted, answer, truth)
    wrong = [each for each in dict.fromkeys(draft.wrong) if grade_answer(truth, each).verdict != "correct"]
    if (style == "choice" or draft.only_choice) and len(wrong) >= 2:
        texts = [draft.answer, *wrong[: rng.choice((2, 3, 3, 3))]]
        rng.shuffle(texts)
        asked, offered = offer(question, texts, draft.answer, language, rng)
        return _turn(draft, "choice", asked, offered.option[0], offered)
    if rng.random() < 0.45 and draft.kind not in _VERBATIM:
        question = paragraph(language, question, rng.choice(HINTS[draft.form][language]))
    elif rng.random() < 0.12:  # so that the offer of a way out does not tell that it is to be taken
        question = paragraph(language, question, rng.choice(NOT_SHOWN[language]))
    return _turn(draft, "free", question, draft.answer, truth)


def _framed(body: str, subject: Subject, language: Language, rng: random.Random) -> str:
    name = _SUBJECTS[subject][language == "zh"]
    if language == "zh":
        return rng.choice(FRAMES["zh"]).format(body=body, subject=name)
    is_question = body.partition(" ")[0] in _QUESTION_WORDS
    frame = rng.choice(FRAMES["en"] if is_question else IMPERATIVE_FRAMES)
    inside = frame.partition("{body}")[0].rstrip()
    lowered = body if not inside or inside.endswith((".", "?")) else body[0].lower() + body[1:]
    article = "an" if name[0] in "aeiou" else "a"
    return frame.format(body=lowered, subject=name, a_subject=f"{article} {name}")


def _truth(draft: Draft, language: Language) -> Truth:
    match draft.form:
        case "number":
            return NumberTruth(value=float(draft.answer.replace(",", "")))
        case "count":
            return CountTruth(count=int(draft.answer))
        case "yes_no":
            yes, no = _YES_NO[language]
            return OptionTruth(option=yes if draft.answer == "yes" else no, options=(yes, no))
    return TextTruth(text=draft.answer)


def offer(
    question: str, texts: Sequence[str], answer: str, language: Language, rng: random.Random
) -> tuple[str, OptionTruth]:
    """A question with options to choose from, and which is right.

    Args:
        question: Without them.
        texts: Of the options, in their order.
        answer: One of them.
        language: Of the question.
        rng: Chooses the wording.
    """
    options = tuple(f"{label}. {each}" for label, each in zip(string.ascii_uppercase, texts, strict=False))
    asked = "\n".join((question, *options, rng.choice(CHOOSE[language])))
    return asked, OptionTruth(option=options[texts.index(answer)], options=options)


def quoted(text: str, language: Language) -> str:
    """A text between the quotation marks of a language."""
    return f"“{text}”" if language == "zh" else f'"{text}"'


def _turn(draft: Draft, style: Style, question: str, answer: str, truth: Truth) -> Turn:
    if grade_answer(truth, answer).verdict != "correct":
        raise ValueError(f"the grader does not accept the answer {answer!r} to {question!r}")
    return Turn(kind=draft.kind, style=style, question=question, answer=answer, truth=truth)


def to_sample(asked: Asked, kind: Kind, entry: str, scores: dict[str, float] | None = None) -> Sample:
    """The sample of a conversation. Every answer of it is verified, so every one counts in the loss.

    Args:
        asked: The image and the turns.
        kind: A conversation, or a document of questions and answers.
        entry: The name of the entry.
        scores: Of a judge.
    """
    last = asked.turns[-1]
    source = Source(
        uri=asked.origin,
        licence=asked.licence,
        collected_by=f"step3vl/{entry}",
        parents=asked.parents,
        traits={
            **asked.traits,
            "language": asked.language,
            "question": last.kind,
            "style": last.style,
            "turns": str(len(asked.turns)),
        },
    )
    make = partial(
        Sample.make,
        domain="vqa",
        task=asked.task,
        images=(asked.image,),
        truth=last.truth,
        source=source,
        scores=scores,
    )
    if kind == "document":
        exchanges = [(f"{turn.question} {turn.reasoning}".strip(), turn.answer) for turn in asked.turns]
        return make(content=(image(0), text(running_text(exchanges))))
    messages: list[Message] = []
    for number, turn in enumerate(asked.turns):
        asked_with: Parts = (image(0), text(turn.question)) if number == 0 else (text(turn.question),)
        weight = None if turn is last else 1.0
        messages += [
            Message(role="user", content=asked_with),
            Message(
                role="assistant",
                content=(text(turn.answer),),
                reasoning_content=turn.reasoning or None,
                loss_weight=weight,
            ),
        ]
    return make(messages=tuple(messages))
