"""How much of a conversation's answers is trained, and a sample as the model sees it, with the weight of each text."""

from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.parts import TextPart
from step3vl.data.sample.sample import Message, Sample
from step3vl.data.tokens.encoding import count_text, encode_sample
from step3vl.data.tokens.template import last_question, tool_call_text
from step3vl.data.tokens.vocabulary import TokenIds


def count_untrained(sample: Sample, tokenizer: Tokenizer) -> int:
    """Count the tokens of a conversation's answers that are not trained; a document has none.

    Args:
        sample: The sample.
        tokenizer: The tokenizer that counts its tokens.
    """
    messages = sample.messages or ()
    question = last_question(messages)
    untrained = 0
    for number, message in enumerate(messages):
        current = number > question
        weight = current if message.loss_weight is None else message.loss_weight
        if message.role == "assistant" and not weight:
            untrained += count_text(_answer_text(message, current), tokenizer) + 1  # the end of the turn
    return untrained


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
