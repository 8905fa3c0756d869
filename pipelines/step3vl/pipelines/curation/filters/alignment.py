"""Filters on how image, question and answer belong together: by a model where there is one, else by words alone."""

import re
from functools import cache
from typing import ClassVar

from pydantic import Field

from step3vl.grading import grade_answer
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView, parts_text
from step3vl.pipelines.curation.options import without_options
from step3vl.pipelines.models.clip import ClipModel
from step3vl.pipelines.models.endpoint import EndpointConfig, Prompt, open_endpoint
from step3vl.pipelines.models.judge import Judge, JudgeConfig
from step3vl.pipelines.models.prompts import without_reasoning
from step3vl.pipelines.models.similarity import ClipScorer, LexicalScorer, Scorer, lexical_similarity
from step3vl.pipelines.sources.pairs.image_text import PairText

IMAGE_TEXT = "image_text"  # the name of the score
_WORDS = re.compile(r"\w+")
_CHOICE = re.compile(r"\b(?:or|either|which of)\b|还是|或者|哪一?个", re.IGNORECASE)
_SHOWN = re.compile(
    r"\b(?:in|of|on|from|shown (?:in|by)|according to) (?:the|this) (?:image|"
    r"picture|photo(?:graph)?|figure|diagram|chart|graph|screenshot)\b|[图圖]中|如[图圖]|这张图",  # words: questions
    re.IGNORECASE,
)
_OF_OPTIONS = re.compile(
    r"\b(?:which|what) (?:one )?of the (?:following|options|choices)\b|下列|以下(?:哪|选项)", re.IGNORECASE
)
_ANSWER_ALONE = "Answer the question as well as you can. Reply with the answer alone."
_JUDGE = (
    "Question: {question}\nAnswer: {answer}\n\nCan the question be answered from the image and common knowledge "
    'alone? Reply with JSON: {"score": 0 to 1, "reason": "..."}'
)


class ImageTextFilter(Filter):
    """Captions that do not describe their image; the similarity is kept as a score.

    It is for samples of one image and its caption. Without a model only words are compared, see `LexicalScorer`.
    """

    needs_images: ClassVar[bool] = True

    scorer: Scorer = LexicalScorer()
    """`{kind: clip, folder: ...}`, or `{kind: lexical}`; the least similarity is a field of either."""

    def find(self, sample: SampleView) -> Finding | None:
        text = parts_text(sample.row["messages"][-1]["content"]) if "messages" in sample.row else sample.text
        if len(sample.images) != 1 or not text.strip():
            return None
        if isinstance(self.scorer, ClipScorer):
            cosines, _ = _clip(self.scorer.folder).score(sample.images, [[text]])
            value = cosines[0][0]
        else:
            name = sample.row["source"]["uri"].rpartition("/")[2].partition(".")[0]
            (value,) = lexical_similarity([PairText(role="below", text=text)], [re.sub(r"[-_+%\d]+", " ", name)])
        sample.scores[IMAGE_TEXT] = value
        limit = self.scorer.min_similarity
        return Finding("unrelated_text", value, limit, self.scorer.kind) if value < limit else None


@cache
def _clip(folder: str) -> ClipModel:
    return ClipModel(folder)


class VisualDependencyFilter(Filter):
    """Questions about an image that can be answered without it.

    A text model is asked, where `endpoint` names one, and its replies are graded by the sample's truth. Without one
    only answers are found that stand in their question; questions that offer a choice are then left alone.
    """

    endpoint: EndpointConfig | None = None
    """A server with a text model; it is shown no image."""
    max: float = Field(default=0.5, ge=0, lt=1)
    """The largest value of the reply, 0..1 as the grader gives it: 1 is a right answer."""

    def find(self, sample: SampleView) -> Finding | None:
        messages = sample.row.get("messages")
        if not messages or not sample.row.get("images"):
            return None
        if self.endpoint is not None:
            return self._ask(self.endpoint, sample)
        question = without_options(sample.question)
        answer = _WORDS.findall(parts_text(messages[-1]["content"]).casefold())
        words = _WORDS.findall(question.casefold())
        if not answer or _CHOICE.search(question) or question != sample.question:
            return None
        inside = any(words[first : first + len(answer)] == answer for first in range(len(words)))
        return Finding("answer_in_question", 1.0, self.max, " ".join(answer)[:80]) if inside else None

    def _ask(self, endpoint: EndpointConfig, sample: SampleView) -> Finding | None:
        if sample.truth is None:
            return None
        prompt = Prompt(sample.question, system=_ANSWER_ALONE)
        reply = without_reasoning(open_endpoint(endpoint).complete(prompt).text)
        grade = grade_answer(sample.truth, reply)
        return Finding("answered_without_image", grade.value, self.max, reply[:80]) if grade.value > self.max else None


class AnswerabilityFilter(Filter):
    """Questions that nothing in the sample answers: they speak of an image, or of options, that it does not have.

    Where `judge` names a model, it also looks at the images and says whether the question can be answered.
    """

    judge: JudgeConfig | None = None
    """A model that sees images. Its prompt may use `question` and `answer`."""

    @property
    def needs_images(self) -> bool:  # type: ignore[override]
        """Whether a judge looks at them."""
        return self.judge is not None

    def find(self, sample: SampleView) -> Finding | None:
        question = sample.question
        if not question:
            return None
        if not sample.row.get("images") and (speaks := _SHOWN.search(question)):
            return Finding("without_image", detail=speaks[0])
        if (speaks := _OF_OPTIONS.search(question)) and without_options(question) == question and "\n" not in question:
            return Finding("without_options", detail=speaks[0])
        if self.judge is None:
            return None
        answer = parts_text(sample.row["messages"][-1]["content"])
        (judgement,) = _judge(self.judge.model_dump_json())(
            [(sample.encoded, {"question": question, "answer": answer})]
        )
        if judgement.score >= self.judge.min_score:
            return None
        return Finding("unanswerable", judgement.score, self.judge.min_score, judgement.reason[:80])


@cache
def _judge(config: str) -> Judge:
    return Judge(JudgeConfig.model_validate_json(config), _JUDGE, ("question", "answer"))
