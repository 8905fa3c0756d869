"""The synthesis prompt: conclusions of the previous round, in a neutral order, around the question."""

import random
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta

from step3vl.data.errors import UserError
from step3vl.data.sample import Part, TextPart, text
from step3vl.data.tokens import split_answer
from step3vl.inference.client.requests import Request

ORDER_SEED = 42  # conclusions are shuffled with this seed in the published code, so that their order says nothing
TEMPLATE = Path(__file__).with_name("synthesis.jinja")
VARIABLES = {"original_prompt", "ref_responses"}  # the published template's names


def extract_conclusion(reply: str) -> str:
    """Return what follows the reply's last `</think>`, or all of it where there is none."""
    return split_answer(reply)[1].strip()


def shuffle_conclusions(conclusions: Iterable[str], seed: int = ORDER_SEED) -> list[str]:
    """Drop the empty ones, sort by length and shuffle with a fixed seed, as the published code does."""
    ordered = sorted((conclusion for conclusion in conclusions if conclusion), key=len)
    random.Random(seed).shuffle(ordered)
    return ordered


def synthesis_request(request: Request, conclusions: Sequence[str], template: Path = TEMPLATE) -> Request:
    """Return the request with its last user message rewritten around the conclusions.

    Images, tools and earlier messages stay. Without conclusions the request is returned unchanged.

    Raises:
        UserError: The request has no user message, or the template cannot be used.
    """
    if not conclusions:
        return request
    messages = list(request.messages)
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise UserError("the request has no user message; ask something")
    content = synthesis_content(messages[last].content, conclusions, template)
    messages[last] = messages[last].model_copy(update={"content": content})
    return Request(messages, request.images, request.tools, extra=request.extra)


def synthesis_content(
    content: Sequence[Part], conclusions: Sequence[str], template: Path = TEMPLATE
) -> tuple[Part, ...]:
    """Merge all text into one prompt part at the first text's position; image parts keep their order around it."""
    question = "\n".join(part.text for part in content if isinstance(part, TextPart))
    prompt = text(synthesis_prompt(question, conclusions, template))
    parts: list[Part] = []
    for part in content:
        if not isinstance(part, TextPart):
            parts.append(part)
        elif prompt not in parts:
            parts.append(prompt)
    return tuple(parts) if prompt in parts else (*parts, prompt)


def synthesis_prompt(question: str, conclusions: Sequence[str], template: Path = TEMPLATE) -> str:
    """Render the template: the question, the numbered references, the request for a new answer."""
    return load_template(template).render(original_prompt=question, ref_responses=conclusions)


@cache
def load_template(path: Path) -> Template:
    """Load a Jinja template with the published variables `original_prompt` and `ref_responses`.

    The packaged template has the published structure in other words. A checkpoint that was trained on another wording,
    such as that of the PaCoRe report's appendix, is best asked with that one.

    Raises:
        UserError: The file cannot be read, is no Jinja template or uses other variables.
    """
    environment = Environment(undefined=StrictUndefined)
    try:
        source = path.read_text(encoding="utf-8")
        used = meta.find_undeclared_variables(environment.parse(source))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a synthesis template") from None
    except TemplateError as error:
        raise UserError(f"{path}: {error}; give a Jinja template") from None
    if used != VARIABLES:
        raise UserError(
            f"{path}: a synthesis template uses {' and '.join(sorted(VARIABLES))} and nothing else, not "
            f"{', '.join(sorted(used)) or 'no variable'}"
        )
    return environment.from_string(source)
