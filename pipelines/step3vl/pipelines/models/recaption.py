"""Recaptioning: a model on a server writes a new caption of an image, knowing the text that came with it.

A domain offers it in three lines: a field `recaption: RecaptionConfig | None = None`, a model step that an entry
without it leaves out (`ModelStep(..., when=lambda entry: entry.recaption is not None)`), and an annotator that gives
`Recaptioner` the images and texts of its values. With a property `paid` of the annotated value, which returns
`recaption.paid`, `corpus cost` knows what it costs. `domains/knowledge_drafts.py` is an example.
"""

import re
from collections.abc import Sequence
from typing import Literal

from step3vl.data.config import Config
from step3vl.data.sample import Image
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.models.endpoint import Endpoint, EndpointConfig, Paid, Prompt
from step3vl.pipelines.models.prompts import check_template, fill, without_reasoning

PARAGRAPH_PROMPT = (
    "Describe the image in one paragraph for someone who cannot see it: what it shows, where things are, and any text "
    "that can be read. State only what can be seen. The text below came with the image and may be wrong or about "
    "something else; take names from it only where the image bears them out. Answer with the description alone, in "
    "the language of that text.\n\nText: {text}"
)
SENTENCE_PROMPT = (
    "Write a caption for the image: one sentence that says what it shows, so that it can be told from other images. "
    "State only what can be seen. The text below came with the image and may be wrong or about something else; take "
    "names from it only where the image bears them out. Answer with the caption alone, in the language of that "
    "text.\n\n"
    "Text: {text}"
)
_REFUSAL = re.compile(
    r"\A\W*(i['’]?m sorry|i am sorry|sorry,|i can(no|['’])t |i['’]?m unable|i am unable|as an ai\b"
    "|抱歉|对不起|很抱歉|我无法|作为一个?人工智能)",
    re.IGNORECASE,
)


class RecaptionConfig(Config):
    """How new captions are written."""

    endpoint: EndpointConfig
    """The server."""
    prompt: str = ""
    """The domain's own by default. `{text}` is replaced by the text that came with the image."""
    system: str = ""
    """The system message, if any."""
    mode: Literal["replace", "append"] = "replace"
    """Whether the new text takes the place of the old one, or follows it."""
    characters: tuple[int, int] = (20, 4000)
    """Length of a new text; others are dropped."""


class Recaption(Paid):
    """A new text with what it was made of, so that both texts stay under the root."""

    text: str
    """The model's."""
    original: str
    """What came with the image."""
    mode: Literal["replace", "append"]

    @property
    def result(self) -> str:
        """The text of the sample."""
        return f"{self.original.rstrip()}\n{self.text}" if self.mode == "append" and self.original else self.text


class Recaptioner:
    """Describes images. Made in the worker that uses it.

    Args:
        config: The server and the prompt.
        prompt: The domain's own prompt.

    Raises:
        UserError: The prompt uses an unknown name, or the environment lacks the API key.
    """

    def __init__(self, config: RecaptionConfig, prompt: str = PARAGRAPH_PROMPT) -> None:
        self._template = config.prompt or prompt
        check_template(self._template, ("text",), "recaption")
        self._config = config
        self._endpoint = Endpoint(config.endpoint)

    def __call__(self, items: Sequence[tuple[Image, str]]) -> list[Recaption]:
        """New texts for images with the texts that came with them, several at a time.

        Raises:
            Dropped: The model refused, or the new text is too short or too long.
            RequestFailed: A request failed for its own sake.
            InfrastructureError: The server does not answer.
        """
        config = self._config
        prompts = [Prompt(fill(self._template, {"text": text}), (image,), config.system) for image, text in items]
        recaptions = []
        for (_, original), response in zip(items, self._endpoint.complete_all(prompts), strict=True):
            text = without_reasoning(response.text)
            if _REFUSAL.match(text):
                raise Dropped("recaption_refused")
            if not config.characters[0] <= len(text) <= config.characters[1]:
                raise Dropped("recaption_length")
            bill = config.endpoint.bill(response)
            recaptions.append(Recaption(text=text, original=original, mode=config.mode, **bill))
        return recaptions
