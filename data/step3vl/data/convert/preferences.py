"""Preference pairs: a prompt with an answer that was chosen and one that was rejected.

As TRL writes them (`prompt`, `chosen`, `rejected`, as texts or as messages, or the prompt as the common beginning of
two conversations), LLaMA-Factory (`instruction`, `input`, `chosen`, `rejected`), and OpenAI (`input`,
`preferred_output`, `non_preferred_output`).
"""

from typing import Any

from step3vl.data.convert.fields import Fields, as_list
from step3vl.data.convert.image_loader import PLACEHOLDER, ImageLoader, RecordImages
from step3vl.data.convert.openai import read_message
from step3vl.data.convert.records import RecordDefaults, build_sample
from step3vl.data.sample.sample import Sample

_CHOSEN = ("chosen", "preferred_output")
_REJECTED = ("rejected", "non_preferred_output")
_PROMPT = ("prompt", "instruction", "question", "query", "problem")


def is_preference(row: Fields) -> bool:
    """Whether a row has an answer that was chosen and one that was rejected."""
    return any(name in row for name in _CHOSEN) and any(name in row for name in _REJECTED)


def to_sample(row: Fields, defaults: RecordDefaults, where: str, loader: ImageLoader, format_name: str) -> Sample:
    """Convert a preference. Raises ValueError saying what is wrong with it."""
    images = RecordImages.of(row, loader)
    request = row.child(row.get("input"), "input") if isinstance(row.peek("input"), dict) else row
    prompt = request.get_list("messages") if request is not row else _prompt(row, images)
    chosen = _after(prompt, _turns(row.get(*_CHOSEN, "messages"), "chosen"))
    rejected = _after(prompt, _turns(row.get(*_REJECTED), "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("the chosen and the rejected conversation differ before their last turns")
    messages = [read_message(row.child(turn, "chosen"), images) for turn in chosen]
    answer = read_message(row.child(rejected[-1], "rejected"), images)
    images.check_all_shown()
    return build_sample(
        row, defaults, where, loader,
        format_name=format_name, messages=messages, rejected=answer, tools=request.get_list("tools"),
    )  # fmt: skip


def _prompt(row: Fields, images: RecordImages) -> list[Any]:
    """The turns before the answers; of a prompt that is a text, the user's, with the images before it."""
    prompt = row.get(*_PROMPT)
    if isinstance(prompt, list):
        return prompt
    turns = [{"role": "system", "content": system}] if (system := row.text("system", "system_prompt")) else []
    if not isinstance(prompt, str):
        return turns
    prompt = "\n".join(filter(None, (prompt, row.text("input"))))
    if PLACEHOLDER not in prompt:
        prompt = PLACEHOLDER * len(images) + prompt
    return [*turns, {"role": "user", "content": prompt}]


def _turns(value: Any, name: str) -> list[Any]:
    """The turns of an answer, which may be a text, a message or a conversation."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    turns = [value] if isinstance(value, dict) else as_list(value, name)
    if not turns:
        raise ValueError(f"its {name} answer is empty")
    return turns


def _after(prompt: list[Any], turns: list[Any]) -> list[Any]:
    """A conversation from its prompt to its answer; some conversations repeat the prompt."""
    return turns if turns[: len(prompt)] == prompt else [*prompt, *turns]
