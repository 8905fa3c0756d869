"""Our engine and PaCoRe as a model of lmms-eval: `--model step3vl`.

lmms-eval finds it by the entry point `lmms_eval.models` of this package, once both are installed.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from lmms_eval.protocol import ChatMessages
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Message, TextPart
from step3vl.evaluation.plugins.answering import HarnessModel
from step3vl.inference.client import Request

MANIFEST = ModelManifest(model_id="step3vl", chat_class_path=f"{__name__}.Step3VL")


class Step3VL(lmms):
    """A chat model of lmms-eval.

    Args:
        pretrained: A model folder, or the address of an OpenAI-compatible server.
        batch_size: How many requests are answered at once, as an integer; lmms-eval's `--batch_size`.
        task_sampling: Whether the temperature and the longest reply of the task count, not those of the report.
        **settings: As `HarnessModel` takes them: `pacore=16`, `max_new_tokens`, `temperature`, `seed`, `reasoning`…
    """

    is_simple = False

    def __init__(
        self, pretrained: str, batch_size: int | str = 16, task_sampling: bool = False, **settings: Any
    ) -> None:
        super().__init__()
        if settings.get("device") is None:  # what lmms-eval passes without --device
            settings.pop("device", None)
        settings.pop("max_batch_size", None)
        self.model = HarnessModel(pretrained, **settings)
        self.batch_size, self.task_sampling = int(batch_size), task_sampling

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """Answer requests, in their order; a text of `until` ends no answer, since it may be part of the reasoning."""
        results = []
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            if self.task_sampling:
                self._sample_as(batch[0].args[2])
            answers = self.model.answer_all([self._request(each) for each in batch])
            results += [_result(answer.text, answer.usage) for answer in answers]
        return results

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Refused: what is compared are answers."""
        raise UserError("step3vl answers questions; tasks that compare likelihoods of texts are not supported")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Refused: none of the report's benchmarks has several rounds here."""
        raise UserError("step3vl answers questions of one round; this task has several")

    def _request(self, instance: Instance) -> tuple[Request, str]:
        _, doc_to_messages, _, doc_id, task, split = instance.args
        raw = doc_to_messages(self.task_dict[task][split][doc_id])
        name = f"{task}/{split}/{doc_id}/{getattr(instance, 'repeats', 0)}/{instance.idx}"
        return chat_request(ChatMessages(messages=raw)), name

    def _sample_as(self, settings: Mapping[str, Any]) -> None:
        sampling = self.model.sampling
        changed = {
            "max_new_tokens": int(settings.get("max_new_tokens", sampling.max_new_tokens)),
            "temperature": float(settings.get("temperature") or 0.0),
        }
        self.model.sampling = sampling.model_copy(update=changed)
        if self.model.pacore is not None:
            self.model.pacore = self.model.pacore.model_copy(update={"sampling": self.model.sampling})


def chat_request(messages: ChatMessages) -> Request:
    """The request of a chat. Raises UserError for video and audio."""
    images: list[Image] = []
    turns = []
    for message in messages.messages:
        parts: list[TextPart | ImagePart] = []
        for content in message.content:
            if content.type == "text":
                parts.append(TextPart(text=content.text))
            elif content.type == "image":
                parts.append(ImagePart(image=len(images)))
                images.append(_image(content.url))
            else:
                raise UserError(f"the task has {content.type}; step3vl reads texts and images")
        turns.append(Message(role=message.role, content=tuple(parts)))
    return Request(turns, images)


def _image(image: Any) -> Image:
    """An image as it is sent, losslessly: a decoded one, or a file's."""
    if isinstance(image, str):
        return Image.from_bytes(Path(image).read_bytes())
    if not isinstance(image, PILImage.Image):
        raise UserError(f"the task has an image of type {type(image).__name__}, neither decoded nor a path")
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


def _result(text: str, usage: Any) -> GenerationResult:
    counts = None if usage is None else TokenCounts(usage.prompt_tokens, usage.completion_tokens)
    return GenerationResult(text=text, token_counts=counts)
