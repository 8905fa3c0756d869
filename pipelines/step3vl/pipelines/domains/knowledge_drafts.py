"""The last steps of samples that are an image and a text: a new text and a judgement by models on servers, if any.

They read drafts: samples that nothing but a model can still change or drop, so that no request is made in vain.
`RECAPTION_STEP` is for entries with a field `recaption`, `JUDGE_STEP` for those with a field `judge`; each is left out
where the entry has none. `WriteDrafts` makes the samples.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Image, Sample, Source, conversation, image, text
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import ModelStep
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.knowledge_phrasings import description_request
from step3vl.pipelines.models.judge import CAPTION_PROMPT, PASSAGE_PROMPT, Judge, JudgeConfig, Judgement
from step3vl.pipelines.models.language import is_foreign, spoken
from step3vl.pipelines.models.prompts import check_template
from step3vl.pipelines.models.recaption import PARAGRAPH_PROMPT, Recaption, RecaptionConfig, Recaptioner

FIELDS = ("text",)
"""What the prompts of recaptions and of judges of captions may name."""
BATCH = 16
"""Drafts that an annotator asks about at once; the endpoint says how many requests that are at a time."""


class Draft(Config):
    """An image and a text that are to be a sample."""

    image: Image
    text: str
    request: str = ""
    """Asks for the text, in a conversation."""
    source: Source
    scores: dict[str, float] = Field(default_factory=dict)
    recaption: Recaption | None = None
    judgement: Judgement | None = None

    @property
    def caption(self) -> str:
        """The text of the sample."""
        return self.recaption.result if self.recaption else self.text

    @property
    def paid(self) -> dict[str, float]:
        """Tokens and price of the last model that saw the draft, for `corpus cost`."""
        last = self.judgement or self.recaption
        return last.paid if last else {}


def check_prompts(recaption: RecaptionConfig | None, judge: JudgeConfig | None) -> None:
    """Raises UserError for a prompt that uses an unknown name."""
    if recaption is not None:
        check_template(recaption.prompt, FIELDS, "recaption")
    if judge is not None:
        check_template(judge.prompt, FIELDS, "judge")


class RecaptionDrafts:
    """Annotator: drafts with a new text by a model."""

    def __init__(self, entry: Any) -> None:
        self._recaptioner = Recaptioner(entry.recaption, PARAGRAPH_PROMPT)
        self._languages = entry.languages

    def __call__(self, drafts: Sequence[Draft]) -> list[Draft]:
        recaptions = self._recaptioner([(draft.image, draft.text) for draft in drafts])
        if any(is_foreign(recaption.text, self._languages) for recaption in recaptions):
            raise Dropped("recaption_language")
        return [
            draft.model_copy(update={"recaption": recaption})
            for draft, recaption in zip(drafts, recaptions, strict=True)
        ]


class JudgeDrafts:
    """Annotator: drafts with the judgement of their texts."""

    prompt = CAPTION_PROMPT

    def __init__(self, entry: Any) -> None:
        self._judge = Judge(entry.judge, self.prompt, FIELDS)

    def __call__(self, drafts: Sequence[Draft]) -> list[Draft]:
        judgements = self._judge([((draft.image,), {"text": draft.caption}) for draft in drafts])
        return [
            draft.model_copy(update={"judgement": judgement})
            for draft, judgement in zip(drafts, judgements, strict=True)
        ]


class JudgePassages(JudgeDrafts):
    """Annotator: the same where the text is a passage that the image is to illustrate."""

    prompt = PASSAGE_PROMPT


class WriteDrafts:
    """Worker: a draft becomes a sample, unless the judge finds that its text does not fit."""

    def __init__(self, entry: Any, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[Draft], rng: random.Random) -> Iterator[Sample]:
        entry, draft = self._entry, record.value
        request, scores, traits = draft.request, dict(draft.scores), dict(draft.source.traits)
        if draft.judgement is not None:
            draft.judgement.require(entry.judge)
            scores["judge"] = draft.judgement.score
        if draft.recaption is not None:
            request = description_request(draft.caption, rng)
            traits["language"] = spoken(draft.caption)
            if draft.recaption.mode == "replace":
                traits["role"] = "recaption"
        traits |= model_traits(draft.recaption, draft.judgement)
        is_document = entry.kind == "document"
        yield Sample.make(
            domain="knowledge",
            task=entry.domain,
            content=(image(0), text(draft.caption)) if is_document else None,
            messages=None if is_document else conversation((image(0), text(request)), draft.caption),
            images=(draft.image,),
            source=draft.source.model_copy(update={"traits": traits}),
            scores=scores,
        )


def model_traits(recaption: Recaption | None, judgement: Judgement | None) -> dict[str, str]:
    """What a sample's source says of the models that wrote and judged its text; nothing without any."""
    traits: dict[str, str] = {}
    if recaption is not None:
        traits |= {"recaption": recaption.mode, "recaption_model": recaption.model}
    if judgement is not None:
        traits["judge_model"] = judgement.model
    return traits


def has_recaption(entry: Any) -> bool:
    """Whether an entry has new texts written."""
    return entry.recaption is not None


def has_judge(entry: Any) -> bool:
    """Whether an entry has its texts judged."""
    return entry.judge is not None


RECAPTION_STEP = ModelStep(
    "recaption", version=1, annotator=RecaptionDrafts, output=Draft, batch=BATCH, when=has_recaption
)
"""For entries with the fields `recaption` and `languages`."""

JUDGE_STEP = ModelStep("judge", version=1, annotator=JudgeDrafts, output=Draft, batch=BATCH, when=has_judge)
"""For entries with a field `judge`."""
PASSAGE_JUDGE_STEP = ModelStep("judge", version=1, annotator=JudgePassages, output=Draft, batch=BATCH, when=has_judge)
"""The same for drafts of images with passages."""
