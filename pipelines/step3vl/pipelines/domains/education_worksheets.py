"""Pages of several problems with figures, answered one of them, all together, or turn by turn.

After the exam pages of the STEP3-VL-10B report, section 2.2. The problems stand in the image alone; each is proven as
in `education.figures`.
"""

import random
from collections.abc import Iterator
from typing import Literal, NamedTuple

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.sample import (
    Message,
    OptionTruth,
    Sample,
    Source,
    TranscriptTruth,
    Truth,
    image,
    text,
)
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, IntRange
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.core.samples import encode_rendering, running_text
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.education_answers import (
    Posed,
    answer_text,
    check_grades,
    final_text,
    shuffled_options,
    statement,
    styled_options,
    truth_of,
)
from step3vl.pipelines.domains.education_check import CheckExercises
from step3vl.pipelines.domains.education_figures import ExerciseEntry, ExerciseMaker
from step3vl.pipelines.domains.education_phrasings import ask
from step3vl.pipelines.render.exercises.exercise import Exercise, say
from step3vl.pipelines.render.exercises.worksheet import PageProblem, PageStyle, pick_page_style, render_page
from step3vl.pipelines.render.figures.figure import encode_png
from step3vl.pipelines.render.style import FontFace

Answering = Literal["single", "together", "turns"]

_TITLES_EN = (
    "Worksheet {k}", "Practice sheet {k}", "Exercises {k}", "Problem set {k}", "Quiz {k}", "Homework {k}",
    "Test {k}", "Review {k}",
    "Name: ______________   Date: ________", "Class test {k}   Name: ____________", "Mixed practice {k}",
    "Unit {k}: check your skills", "",
)  # fmt: skip
_TITLES_ZH = (
    "练习{k}", "课堂练习{k}", "单元测试{k}", "作业{k}", "习题{k}", "随堂测验{k}", "复习题{k}",
    "姓名：________  班级：________", "课后作业{k}", "",
)  # fmt: skip
_STEPS_EN = (
    "Show your working.",
    "Explain step by step.",
    "Give a full solution.",
    "Include the steps.",
    "Reason step by step.",
    "Write down each step.",
)
_STEPS_ZH = ("请写出过程。", "请给出步骤。", "要有解题过程。", "请逐步解答。", "写明理由。", "请详细解答。")
_SHORT_EN = (
    "Give only the answer.",
    "The result is enough.",
    "Answer briefly.",
    "No working is needed.",
    "Just the answer, please.",
    "",
)
_SHORT_ZH = ("只写答案。", "直接给出结果。", "无需过程。", "简短作答即可。", "只要答案。", "")


class WorksheetsEntry(ExerciseEntry):
    """Pages of problems."""

    domain: Literal["education.worksheets"]
    problems: IntRange = (1, 5)
    """On a page."""
    width: IntRange = (520, 900)
    """Of a page, in pixels."""
    side: IntRange = (130, 260)
    """The longer side of a figure without its labels, in pixels."""
    answering: dict[Answering, float] = Field(default={"single": 2.0, "together": 1.0, "turns": 1.0}, min_length=1)
    """Relative weights of asking for one problem, for all of them, and for one after the other in a conversation. The
    answers to all problems together are graded as a transcript, those of a conversation by the last one."""
    jpeg: float = Field(default=0.25, ge=0, le=1)
    """The fraction of images encoded as JPEG, at qualities of 60 to 95; the others are PNG."""
    max_side: int = Field(default=2400, gt=0)
    """Longer pages are dropped, in pixels."""


class _Printed(NamedTuple):
    """A problem of the page, with its truth and its answers."""

    exercise: Exercise
    family: str
    problem: PageProblem
    final: str
    truth: Truth


class PoseWorksheets:
    """Worker: a number becomes a page of problems."""

    def __init__(self, entry: WorksheetsEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        self._maker = ExerciseMaker(self._entry, self._context)
        self._faces = [family.regular for family in self._maker.families]

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        language = rng.choice(entry.languages)
        style = pick_page_style(self._text_faces(language), entry.width, rng)
        printed = [self._printed(language, style, rng) for _ in range(rng.randint(*entry.problems))]
        title = say(language, rng, _TITLES_EN, _TITLES_ZH).format(k=rng.randint(1, 40))
        page = render_page([p.problem for p in printed], title, style, self._faces)
        if max(page.size) > entry.max_side:
            raise Dropped("too_large")
        kinds = [kind for kind in entry.answering if kind == "single" or len(printed) > 1]
        if not kinds:
            raise Dropped("single_problem")
        (answering,) = rng.choices(kinds, [entry.answering[kind] for kind in kinds])
        with_steps = rng.random() < entry.solutions
        exchanges, truth = self._exchanges(printed, answering, with_steps, language, rng)
        yield self._sample(record, page, exchanges, truth, printed, style, answering, language, rng)

    def _text_faces(self, language: Language) -> list[FontFace]:
        """Faces that have the usual characters of a language; others serve for single characters."""
        probe = "ABCxyz0123" if language == "en" else "求计算图中的题一人不"
        faces = [face for face in self._faces if face.covers(probe)]
        if not faces:
            raise Dropped("no_font_has_all_characters")
        return faces

    def _printed(self, language: Language, style: PageStyle, rng: random.Random) -> _Printed:
        family, proven, _ = self._maker.make(rng, language, (style.paper, style.ink))
        exercise = proven.exercise
        if self._maker.form(exercise, rng) == "choice":
            options, correct = shuffled_options(exercise, rng)
            truth: Truth = OptionTruth(option=options[correct], options=tuple(options))
            problem = PageProblem(statement(exercise), tuple(styled_options(options, rng)), proven.image)
            return _Printed(exercise, family, problem, options[correct][0], truth)
        problem = PageProblem(statement(exercise), (), proven.image)
        return _Printed(exercise, family, problem, final_text(exercise), truth_of(exercise))

    def _exchanges(
        self, printed: list[_Printed], answering: Answering, with_steps: bool, language: Language, rng: random.Random
    ) -> tuple[list[tuple[str, str]], Truth]:
        """Questions and answers, and the truth of the last answer."""
        wish = say(language, rng, *((_STEPS_EN, _STEPS_ZH) if with_steps else (_SHORT_EN, _SHORT_ZH)))

        def asked(question: str) -> str:
            return paragraph(language, question, wish)

        if answering == "together":
            lines = [f"{n}. {answer_text(p.exercise, p.final, with_steps, rng)}" for n, p in enumerate(printed, 1)]
            answer = "\n".join(lines)
            return [(asked(ask("all", language, rng)), answer)], TranscriptTruth(text=answer)
        order = [rng.randrange(len(printed))] if answering == "single" else list(range(len(printed)))
        exchanges = []
        for i in order:
            question = ask("numbered" if len(printed) > 1 else "problem", language, rng, number=i + 1)
            question = asked(question) if i == order[0] else question
            answer = answer_text(printed[i].exercise, printed[i].final, with_steps, rng)
            check_grades(Posed(question, answer, printed[i].truth), ())
            exchanges.append((question, answer))
        return exchanges, printed[order[-1]].truth

    def _sample(
        self,
        record: Record[int],
        page: PILImage.Image,
        exchanges: list[tuple[str, str]],
        truth: Truth,
        printed: list[_Printed],
        style: PageStyle,
        answering: Answering,
        language: Language,
        rng: random.Random,
    ) -> Sample:
        entry = self._entry
        encoded = encode_rendering(encode_png(page), entry.jpeg, rng)
        source = Source(
            uri=f"{record.key}/" + "+".join(p.family for p in printed),
            licence=entry.licence,
            collected_by=f"step3vl/{entry.name}",
            traits={"answering": answering, "language": language, "layout": "beside" if style.beside else "below"},
        )
        scores = {"problems": float(len(printed)), "grade": float(max(p.exercise.grade for p in printed))}
        conversing = entry.kind == "conversation"
        return Sample.make(
            domain="education",
            task="education.worksheets",
            messages=_messages(exchanges) if conversing else None,
            content=None if conversing else (image(0), text(running_text(exchanges))),
            images=(encoded,),
            truth=truth,
            source=source,
            scores=scores,
        )


def _messages(exchanges: list[tuple[str, str]]) -> tuple[Message, ...]:
    """A conversation about the page; every answer of several is proven, so every one counts in the loss."""
    weight = None if len(exchanges) == 1 else 1.0
    messages = []
    for i, (question, answer) in enumerate(exchanges):
        parts = (image(0), text(question)) if i == 0 else (text(question),)
        messages.append(Message(role="user", content=parts))
        messages.append(Message(role="assistant", content=(text(answer),), reasoning_content="", loss_weight=weight))
    return tuple(messages)


DOMAIN = Domain(
    WorksheetsEntry,
    steps=(BeamStep("build", version=4, worker=PoseWorksheets, output=Sample),),
    label_check=CheckExercises,
    example={"count": 4, "subjects": {"geometry": 1}, "languages": ["en"], "problems": [1, 2], "side": [120, 160]},
)
