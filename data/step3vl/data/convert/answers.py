"""How much of a conversation's answers is trained, and a sample as the model sees it, with the weight of each text."""

from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from step3vl.data.dataset.ledger import AnswerTokens
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.parts import TextPart
from step3vl.data.sample.sample import Message, Sample
from step3vl.data.tokens.encoding import count_text, encode_sample
from step3vl.data.tokens.template import last_question, tool_call_text
from step3vl.data.tokens.vocabulary import TokenIds


def count_answers(sample: Sample, trained: int, tokenizer: Tokenizer) -> AnswerTokens:
    """Count the tokens of a conversation's answers, and those that are trained.

    Args:
        sample: The sample; a document has no answers.
        trained: Its tokens with a weight in the loss, see `count_sample`.
        tokenizer: The tokenizer that counted them.
    """
    if sample.messages is None:
        return AnswerTokens(total=0, trained=0)
    question = last_question(sample.messages)
    untrained = sum(
        count_text(_answer_text(message, number > question), tokenizer) + 1  # the end of the turn
        for number, message in enumerate(sample.messages)
        if message.role == "assistant" and not _weight(message, number > question)
    )
    return AnswerTokens(total=trained + untrained, trained=trained)


def _weight(message: Message, current: bool) -> float:
    return float(current) if message.loss_weight is None else message.loss_weight


def _answer_text(message: Message, current: bool) -> str:
    """What an answer says, with its reasoning where the template shows it."""
    texts = [part.text for part in message.content if isinstance(part, TextPart)]
    texts += map(tool_call_text, message.tool_calls)
    return "".join([(message.reasoning_content or "") if current else "", *texts])


class Span(NamedTuple):
    """Adjacent tokens of one weight, as text; an image is one placeholder."""

    weight: float
    text: str


def spans_of(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> list[Span]:
    """A sample as the model sees it. Raises as `encode_sample`."""
    encoded = encode_sample(sample, tokenizer, spec)
    ids = encoded.input_ids
    kept = np.ones(len(ids), bool)
    kept[1:] = (ids[1:] != ids[:-1]) | (ids[1:] != TokenIds.of(tokenizer).image_patch)  # of its patches the first
    ids, weights = ids[kept], encoded.loss_weights[kept]
    cuts = np.flatnonzero(np.diff(weights)) + 1
    return [
        Span(float(weight[0]), tokenizer.decode(span.tolist(), skip_special_tokens=False))
        for span, weight in zip(np.split(ids, cuts), np.split(weights, cuts), strict=True)
    ]
