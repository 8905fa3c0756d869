"""Judging: a model on a server says how well a text, or an answer, fits an image, as a score with its reason.

A domain offers it as it does `models.recaption`: a field `judge: JudgeConfig | None = None`, a model step with
`when`, and in a later step `verdict.require(entry.judge)`, which drops what scores too low.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Image
from step3vl.data.sample.answers import last_object
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.models.endpoint import Endpoint, EndpointConfig, Paid, Prompt, RequestFailed
from step3vl.pipelines.models.prompts import check_template, fill, without_reasoning

CAPTION_PROMPT = (
    "Does the text fit the image? Judge only what can be seen. 1 means that every statement is right and nothing "
    "important is missing, 0 that it is about something else. Answer with JSON: "
    '{"reason": "one sentence", "score": a number from 0 to 1}\n\nText: {text}'
)
ANSWER_PROMPT = (
    "Here are a question about the image and a proposed answer. Find the answer yourself from the image first, then "
    'compare. Answer with JSON: {"reason": "one sentence", "verdict": "correct" or "incorrect"}\n\n'
    "Question: {question}\nProposed answer: {answer}"
)
PASSAGE_PROMPT = (
    "The image is to illustrate the passage. Does it show what the passage is about, so that it helps a reader? "
    "1 means that it shows just that, 0 that it has nothing to do with it. What else the passage says need not be "
    'seen. Answer with JSON: {"reason": "one sentence", "score": a number from 0 to 1}\n\n'
    "Passage: {text}"
)
_YES = frozenset({"correct", "yes", "true", "right", "pass", "accept", "正确", "对", "是"})
_NO = frozenset({"incorrect", "no", "false", "wrong", "fail", "reject", "错误", "错", "不正确", "否"})


class JudgeConfig(Config):
    """How samples are judged."""

    endpoint: EndpointConfig
    """The server."""
    prompt: str = ""
    """The domain's own by default. It asks for a JSON object with `score` (0 to 1) or `verdict` (such as `correct`),
    and `reason`."""
    system: str = ""
    """The system message, if any."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Lower scores are dropped; a verdict scores 1 or 0."""


class Judgement(Paid):
    """What the judge says."""

    score: float = Field(ge=0, le=1)
    reason: str

    def require(self, config: JudgeConfig) -> None:
        """Raises Dropped for a score below the entry's."""
        if self.score < config.min_score:
            raise Dropped("low_judge_score")


class Judge:
    """Scores texts beside images. Made in the worker that uses it.

    Args:
        config: The server and the prompt.
        prompt: The domain's own prompt.
        fields: Names that prompts may use.

    Raises:
        UserError: The prompt uses an unknown name, or the environment lacks the API key.
    """

    def __init__(self, config: JudgeConfig, prompt: str, fields: tuple[str, ...]) -> None:
        self._template = config.prompt or prompt
        check_template(self._template, fields, "judge")
        self._config = config
        self._endpoint = Endpoint(config.endpoint)

    def __call__(self, items: Sequence[tuple[Sequence[Image], Mapping[str, str]]]) -> list[Judgement]:
        """The judgements of images with the values of the prompt's fields, several at a time.

        Raises:
            RequestFailed: A request failed for its own sake, or its response has no score.
            InfrastructureError: The server does not answer.
        """
        config = self._config
        prompts = [Prompt(fill(self._template, values), tuple(images), config.system) for images, values in items]
        judgements = []
        for response in self._endpoint.complete_all(prompts):
            score, reason = read_verdict(response.text)
            judgements.append(Judgement(score=score, reason=reason, **config.endpoint.bill(response)))
        return judgements


def read_verdict(text: str) -> tuple[float, str]:
    """The score in 0..1 and the reason of a response.

    Raises:
        RequestFailed: It has no JSON object with a `score` or a `verdict`.
    """
    answer = without_reasoning(text)
    fields = last_object(answer, "score", "verdict")
    score = _score(fields)
    if score is None:
        raise RequestFailed(f"the judge gives no score: {' '.join(answer.split())[:200]}")
    return score, str(fields.get("reason", ""))[:1000]


def _score(fields: Mapping[str, Any]) -> float | None:
    score, verdict = fields.get("score"), fields.get("verdict")
    if isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1:
        return float(score)
    if isinstance(verdict, bool):
        return float(verdict)
    word = str(verdict).strip().strip(".!。！").lower()
    if word in _YES or word in _NO:
        return float(word in _YES)
    return None
