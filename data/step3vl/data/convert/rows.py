"""Rows of columns, as the library `datasets` reads them from Parquet, JSON and JSON Lines: the layouts that are known.

A row is read by the columns that it has: a preference pair; `messages` or `conversations`; interleaved texts and
images; `texts` (turns of user and assistant); a question with its answer and perhaps options (alpaca's `instruction`,
`input` and `output` among them); messages in `prompt` and `completion`, as TRL has them; or a text alone, which makes
a document of the images and it.
"""

import ast
import math
from collections.abc import Sequence
from typing import Any

from step3vl.data.convert import preferences
from step3vl.data.convert.fields import Fields, excerpt
from step3vl.data.convert.image_loader import ImageLoader, RecordImages
from step3vl.data.convert.openai import parts_of, read_message
from step3vl.data.convert.openai import to_sample as from_openai_record
from step3vl.data.convert.options import OPTIONS, has_options, read_choice
from step3vl.data.convert.records import RecordDefaults, SourceRecord, build_sample, text_truth
from step3vl.data.convert.sharegpt import to_sample as from_sharegpt_record
from step3vl.data.convert.turns import split_reasoning
from step3vl.data.sample.parts import Part, text
from step3vl.data.sample.sample import Message, Sample
from step3vl.data.sample.truth import AnyTruth, TextTruth, Truth

_QUESTION = ("question", "query", "problem", "prompt", "instruction")
_CONTEXT = ("context", "passage", "hint")
_ANSWER = (
    *("answers", "answer", "multiple_choice_answer", "answerKey", "solution", "response", "output", "completion"),
)
_FREE = ("response", "output", "completion")  # answers that no other answer need equal
_REASONING = ("reasoning_content", "reasoning", "thinking")
_TEXT = ("text", "caption", "markdown", "latex", "html", "transcription")


def to_sample(
    record: SourceRecord, defaults: RecordDefaults, loader: ImageLoader, format_name: str = "huggingface"
) -> Sample:
    """Convert a row. Raises ValueError naming its columns when they are unknown."""
    row = Fields.of(record.value)
    if "conversations" in row or "conversation" in row:
        return from_sharegpt_record(SourceRecord(record.where, row), defaults, loader, format_name=format_name)
    if preferences.is_preference(row):
        return preferences.to_sample(row, defaults, record.where, loader, format_name)
    if "messages" in row:
        return from_openai_record(SourceRecord(record.where, row), defaults, loader, format_name=format_name)
    content: Sequence[Part] | None = None
    messages: list[Message] | None = None
    truth: Truth | None = None
    if "text_list" in row and "image_info" in row:
        content = _mmc4_parts(row, loader)
    elif isinstance(row.peek("texts"), list) and not any(isinstance(item, dict) for item in row.peek("texts")):
        content = _obelics_parts(row, loader)
    else:
        images = RecordImages.of(row, loader)
        if "content" in row:
            content = parts_of(row.get("content"), row, images)
        elif "texts" in row:
            messages = _dialogue(row, images)
        elif isinstance(row.peek("prompt"), list) and isinstance(row.peek("completion"), list):
            messages = _completion(row, images)
        elif any(isinstance(row.peek(name), str) for name in _QUESTION) and any(name in row for name in _ANSWER):
            messages, truth = _exchange(row, images)
        elif isinstance(value := row.get(*_TEXT), str):
            content = [*images.show_rest(), text(value)]
        elif any(name in row for name in _QUESTION):
            raise ValueError(
                f"it has a question without an answer: none of its columns is one of {', '.join(_ANSWER)}"
            )
        else:
            raise ValueError(f"its columns {excerpt(', '.join(row.names()))} are not those of a known layout")
        images.check_all_shown()
    return build_sample(
        row, defaults, record.where, loader,
        format_name=format_name, messages=messages, content=content, tools=row.get_list("tools") if messages else (),
        truth=truth,
    )  # fmt: skip


def _completion(row: Fields, images: RecordImages) -> list[Message]:
    """The turns of a prompt, whose answers are not trained unless they say so, as in TRL, and of its completion."""
    prompt = [read_message(turn, images) for turn in row.children("prompt")]
    untrained = [
        message.model_copy(update={"loss_weight": 0.0})
        if message.role == "assistant" and message.loss_weight is None
        else message
        for message in prompt
    ]
    return [*untrained, *(read_message(turn, images) for turn in row.children("completion"))]


def _exchange(row: Fields, images: RecordImages) -> tuple[list[Message], Truth | None]:
    """The turns of a question and its answer, and the truth that the answer is."""
    question = row.text(*_QUESTION)
    messages = [Message(role="system", content=(text(system),))] if (system := row.text("system")) else []
    for earlier in row.get_list("history"):
        if not isinstance(earlier, list) or len(earlier) != 2 or not all(isinstance(turn, str) for turn in earlier):
            raise ValueError("its history is not a list of pairs of question and answer")
        messages.append(Message(role="user", content=tuple(images.interleave(earlier[0]))))
        messages.append(_answer_turn(earlier[1], None))
    prompt = "\n".join(filter(None, (*(row.text(name) for name in _CONTEXT), question, row.text("input"))))
    answers = row.get(*_ANSWER)
    truth: Truth | None
    if has_options(row):
        choice = read_choice(row, answers)
        prompt, answer, truth = f"{prompt}\n{choice.prompt}", choice.letter, choice.truth
        row.accept("multiple_choice_answer")
    else:
        row.accept(*OPTIONS)  # an empty list, of an open question
        answer, truth = _answer(answers)
        if answers is row.get(*_FREE):
            truth = None
        elif isinstance(row.peek("solution"), str) and row.peek("solution") != answers:
            answer = str(row.get("solution"))  # how the answer, which is the truth, is found
    asked = images.interleave(prompt)
    messages.append(Message(role="user", content=(*images.show_rest(), *asked)))
    messages.append(_answer_turn(answer, row.text(*_REASONING)))
    return messages, truth


def _answer_turn(answer: str, reasoning: str | None) -> Message:
    inside, rest = split_reasoning(answer)
    if inside is not None and reasoning is not None:
        raise ValueError("it has reasoning in a column of its own and in its answer")
    return Message(role="assistant", content=(text(rest),), reasoning_content=reasoning if inside is None else inside)


def _answer(answers: Any) -> tuple[str, Truth | None]:
    """The first of several answers, and a truth that accepts each of them."""
    if isinstance(answers, str) and answers.startswith("['") and answers.endswith("']"):
        answers = ast.literal_eval(answers)  # as MMMU writes several answers to an open question
    texts = [
        str(answer) for answer in (answers if isinstance(answers, list) else [answers]) if _is_text_or_number(answer)
    ]
    if not texts:
        raise ValueError("its answer is neither a text nor a number")
    if len(texts) == 1:
        return texts[0], text_truth(split_reasoning(texts[0])[1])
    accepted = tuple(TextTruth(text=answer) for answer in dict.fromkeys(texts) if answer.strip())
    return texts[0], AnyTruth(truths=accepted) if accepted else None


def _is_text_or_number(value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.isfinite(value)
    return isinstance(value, str)


def _dialogue(row: Fields, images: RecordImages) -> list[Message]:
    messages = []
    for number, turn in enumerate(row.children("texts")):
        question, answer = turn.get("user"), turn.get("assistant")
        if not isinstance(question, str) or not isinstance(answer, str):
            raise ValueError(f"texts.{number} has no text of user and assistant")
        content = [*(images.show_rest() if number == 0 else ()), *images.interleave(question)]
        messages += [Message(role="user", content=tuple(content)), _answer_turn(answer, None)]
    return messages


def _obelics_parts(row: Fields, loader: ImageLoader) -> list[Part]:
    """A document of two aligned lists, of which one has a text where the other has an image, as in OBELICS."""
    texts, images = row.get_list("texts"), row.get_list("images")
    if len(texts) != len(images):
        raise ValueError(f"it has {len(texts)} texts and {len(images)} images, which are not aligned")
    parts: list[Part] = []
    for number, (value, reference) in enumerate(zip(texts, images, strict=True)):
        if (value is None) == (reference is None):
            raise ValueError(f"position {number} has both a text and an image, or neither")
        if reference is not None:
            parts.append(loader.show(reference))
        elif not isinstance(value, str):
            raise ValueError(f"texts.{number} is {type(value).__name__}, not a text")
        else:
            parts.append(text(f"\n\n{value}" if parts and parts[-1].type == "text" else value))
    return parts


def _mmc4_parts(row: Fields, loader: ImageLoader) -> list[Part]:
    """A document of sentences and of images before the sentences that they match, as in MMC4."""
    row.accept("similarity_matrix")  # what the matches were computed from
    before: dict[int, list[Any]] = {}
    sentences = row.get_list("text_list")
    for image in row.children("image_info"):
        index = image.get("matched_text_index")
        if not isinstance(index, int) or not 0 <= index < len(sentences):
            raise ValueError(f"an image matches no text: matched_text_index is {index!r}")
        image.accept("raw_url", "matched_sim")
        before.setdefault(index, []).append(image.get("image_name", "raw_url"))
    parts: list[Part] = []
    for number, sentence in enumerate(sentences):
        parts += [loader.show(reference) for reference in before.get(number, [])]
        if not isinstance(sentence, str):
            raise ValueError(f"text_list.{number} is {type(sentence).__name__}, not a text")
        parts.append(text(f" {sentence}" if parts and parts[-1].type == "text" else sentence))
    return parts
