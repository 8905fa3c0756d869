"""What a round of PaCoRe hands to the next: conclusions, in neutral order, around the question."""

import random
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta

from step3vl.data.errors import UserError
from step3vl.data.sample import Part, TextPart, text
from step3vl.data.tokens import split_answer
from step3vl.inference.jobs import Request

ORDER_SEED = 42  # messages are shuffled with this seed in the published code, so that their order says nothing
TEMPLATE = Path(__file__).with_name("synthesis.jinja")
SLOTS = {"original_prompt", "ref_responses"}  # the published template's names


def compact(reply: str) -> str:
    """The conclusion of a reply: what follows its last `</think>`, or all of it where there is none."""
    return split_answer(reply)[1].strip()


def in_neutral_order(messages: Iterable[str], seed: int = ORDER_SEED) -> list[str]:
    """Without the empty ones, sorted by length and shuffled with a fixed seed."""
    ordered = sorted((message for message in messages if message), key=len)
    random.Random(seed).shuffle(ordered)
    return ordered


def synthesis_request(request: Request, messages: Sequence[str], template: Path = TEMPLATE) -> Request:
    """The request with its last user message rewritten around the messages; pictures, tools and history stay.

    Without messages it is the request itself. Raises UserError when there is no user message, or no such template.
    """
    if not messages:
        return request
    turns = list(request.messages)
    last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        raise UserError("the request has no user message; ask something")
    content = synthesis_content(turns[last].content, messages, template)
    turns[last] = turns[last].model_copy(update={"content": content})
    return Request(turns, request.images, request.tools)


def synthesis_content(content: Sequence[Part], messages: Sequence[str], template: Path = TEMPLATE) -> tuple[Part, ...]:
    """All text becomes one text part, where the first one stood; image parts keep their order around it."""
    question = "\n".join(part.text for part in content if isinstance(part, TextPart))
    prompt = text(synthesis_prompt(question, messages, template))
    parts: list[Part] = []
    for part in content:
        if not isinstance(part, TextPart):
            parts.append(part)
        elif prompt not in parts:
            parts.append(prompt)
    return tuple(parts) if prompt in parts else (*parts, prompt)


def synthesis_prompt(question: str, messages: Sequence[str], template: Path = TEMPLATE) -> str:
    """The template, filled: the question, the numbered references, the request for an answer of its own."""
    return load_template(template).render(original_prompt=question, ref_responses=messages)


@cache
def load_template(path: Path) -> Template:
    """A Jinja template with the published names `original_prompt` and `ref_responses`, under Jinja's own defaults.

    Ours has the published slots in our own words. A checkpoint that was trained on another one, such as that of the
    PaCoRe report's appendix, is asked best through a file with that one. Raises UserError.
    """
    environment = Environment(undefined=StrictUndefined)
    try:
        source = path.read_text(encoding="utf-8")
        used = meta.find_undeclared_variables(environment.parse(source))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a synthesis template") from None
    except TemplateError as error:
        raise UserError(f"{path}: {error}; give a Jinja template") from None
    if used != SLOTS:
        raise UserError(
            f"{path}: a synthesis template uses {' and '.join(sorted(SLOTS))} and nothing else, not "
            f"{', '.join(sorted(used)) or 'no variable'}"
        )
    return environment.from_string(source)
