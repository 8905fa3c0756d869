"""Our engine and PaCoRe as a model of VLMEvalKit.

VLMEvalKit has no entry points: its models are those of `vlmeval.config.supported_VLM`. `register` adds one, and this
module runs VLMEvalKit's `run.py` with one, from a checkout of it:

    python -m step3vl.evaluation.plugins.vlmevalkit MODEL[,pacore=16,…] run.py --data OCRBench --model step3vl
"""

import runpy
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vlmeval.api.base import BaseAPI

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Message, TextPart
from step3vl.evaluation.plugins.answering import HarnessModel, parse_settings
from step3vl.inference.client import Request

NAME = "step3vl"


class Step3VL(BaseAPI):
    """A model of VLMEvalKit. It answers as many questions at once as `--api-nproc` says.

    Args:
        model: A model folder, or the address of an OpenAI-compatible server.
        verbose: Whether VLMEvalKit prints the answers.
        **settings: As `HarnessModel` takes them. VLMEvalKit's own arguments for servers (`retry`, `timeout`) are
            ignored: our client retries by itself, and an answer that is missing stays missing.
    """

    is_api = True
    allowed_types = ("text", "image")

    def __init__(self, model: str, verbose: bool = False, **settings: Any):
        super().__init__(retry=1, wait=0, verbose=verbose)
        settings = {name: value for name, value in settings.items() if name not in ("retry", "wait", "timeout")}
        self.model = HarnessModel(model, **settings)

    def generate_inner(self, inputs: Sequence[Mapping[str, str]], **kwargs: Any) -> tuple[int, str, str]:
        """Answer a question. Returns VLMEvalKit's triple: 0, the answer, and the tokens as a log."""
        request = chat_request(inputs)
        name = "".join(each["value"] for each in inputs if each["type"] == "text")
        answer = self.model.answer(request, f"{kwargs.get('dataset')}/{name}")
        return 0, answer.text, str(answer.usage)

    def set_dump_image(self, dump_image: Any) -> None:
        """Datasets write their images to files, whose paths are in the questions."""
        self.dump_image_func = dump_image


def chat_request(inputs: Sequence[Mapping[str, str]]) -> Request:
    """The request of a question: texts and paths of images, in their order."""
    parts: list[TextPart | ImagePart] = []
    images: list[Image] = []
    for each in inputs:
        if each["type"] == "image":
            parts.append(ImagePart(image=len(images)))
            images.append(Image.from_bytes(Path(each["value"]).read_bytes()))
        else:
            parts.append(TextPart(text=each["value"]))
    return Request([Message(role="user", content=tuple(parts))], images)


def register(name: str, model: str, **settings: Any) -> None:
    """Add a model to those that VLMEvalKit knows.

    Args:
        name: What its `--model` calls it.
        model: A model folder, or the address of an OpenAI-compatible server.
        **settings: As `HarnessModel` takes them.
    """
    from vlmeval.config import supported_VLM

    supported_VLM[name] = partial(Step3VL, model, **settings)


def main() -> None:
    """Run a script of VLMEvalKit with our model. Raises UserError without a model and a script."""
    if len(sys.argv) < 3:
        raise UserError("give MODEL[,pacore=16,…] and VLMEvalKit's run.py with its arguments")
    model, *pairs = sys.argv[1].split(",")
    register(NAME, model, **parse_settings(pairs))
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
