"""How samples and prompts become token ids and loss weights.

The rendering is that of the released chat template (a parity test compares the two), written over ids: markup is
inserted as ids and text is always encoded as plain text, so no text can inject a control token.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from step3vl.data.sample.crops import CropPlan, ImageSpec, plan_crops
from step3vl.data.sample.geometry import Size
from step3vl.data.sample.parts import ImagePart
from step3vl.data.sample.sample import Message, Sample, TokenCount
from step3vl.data.tokens.template import RenderPiece, conversation_pieces, document_pieces, generation_pieces
from step3vl.data.tokens.vocabulary import PLAIN_TOKENS, TokenIds, token_id
from step3vl.data.tokens.words import word_encoder

# `Tokenizer.encode_special_tokens` spares the special names only, so the others are split after their first bracket.
_PLAIN_NAMES = re.compile(rf"(?<=<)(?={'|'.join(re.escape(name[1:]) for name in PLAIN_TOKENS)})")


class Encoded(NamedTuple):
    """An encoded sample of T tokens.

    Attributes:
        input_ids: Token ids, int32 [T].
        loss_weights: Weight of each token in the loss, float32 [T].
        image_tokens: How many of them are image tokens.
    """

    input_ids: np.ndarray
    loss_weights: np.ndarray
    image_tokens: int


def expand_image(plan: CropPlan, spec: ImageSpec, ids: TokenIds) -> list[int]:
    """The ids of one image: its crops, each in its wrapper, then the global view."""
    tokens: list[int] = []
    for newline in plan.newlines:
        tokens += [ids.patch_start, *[ids.image_patch] * spec.crop_tokens, ids.patch_end]
        if newline:
            tokens.append(ids.patch_newline)
    return [*tokens, ids.image_start, *[ids.image_patch] * spec.image_tokens, ids.image_end]


def encode_text(text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a text, in which names of special tokens are encoded as plain text."""
    encode = word_encoder(tokenizer).encode
    if "<" not in text:
        return encode(text)
    return [id_ for fragment in _PLAIN_NAMES.split(text) for id_ in encode(fragment)]


def _encode(pieces: Iterable[RenderPiece], sizes: Sequence[Size], tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    """Encode the pieces; adjacent texts of equal weight are encoded as one text, as a tokenizer would see them."""
    ids = TokenIds.of(tokenizer)
    tokens: list[int] = []
    weights: list[float] = []
    image_tokens = 0
    run, run_weight = "", 0.0

    def extend(new: list[int], weight: float) -> None:
        tokens.extend(new)
        weights.extend([weight] * len(new))

    def flush() -> None:
        nonlocal run
        if run:
            extend(encode_text(run, tokenizer), run_weight)
            run = ""

    for item, weight in pieces:
        if isinstance(item, str):
            if weight != run_weight:
                flush()
            run, run_weight = run + item, weight
            continue
        flush()
        if isinstance(item, ImagePart):
            image_ids = expand_image(plan_crops(*sizes[item.image], spec), spec, ids)
            image_tokens += len(image_ids)
            extend(image_ids, 0.0)
        else:
            extend([token_id(tokenizer, item.token)], weight)
    flush()
    return Encoded(np.array(tokens, np.int32), np.array(weights, np.float32), image_tokens)


def encode_sample(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    """Encode a sample for training.

    A document is trained on all its text. A conversation is trained on the assistant turns after the last user turn,
    from the first token of the reasoning to `<|im_end|>`, and on turns with an explicit `loss_weight`; the generation
    prompt and images have weight 0.

    Args:
        sample: The sample; its images' bytes are not needed.
        tokenizer: A tokenizer that has the markup tokens.
        spec: Sizes of images and crops, and the limits of an image.

    Raises:
        ImageError: An image exceeds a limit of `spec`.
        UserError: The tokenizer lacks a markup token.
    """
    sizes = [(image.width, image.height) for image in sample.images]
    if sample.content is not None:
        pieces = document_pieces(sample.content)
    else:
        pieces = conversation_pieces(sample.messages or (), sample.tools)
    return _encode(pieces, sizes, tokenizer, spec)


def encode_prompt(
    messages: Sequence[Message],
    image_sizes: Sequence[Size],
    tokenizer: Tokenizer,
    spec: ImageSpec,
    tools: Sequence[Mapping[str, Any]] = (),
) -> np.ndarray:
    """Encode a conversation up to the generation prompt, `<|im_start|>assistant\\n<think>\\n`.

    Args:
        messages: The turns before the answer.
        image_sizes: Width and height of each image, in pixels.
        tokenizer: A tokenizer that has the markup tokens.
        spec: Sizes of images and crops, and the limits of an image.
        tools: Signatures of the functions that may be called.

    Returns:
        Token ids, int32 [T].
    """
    pieces = itertools.chain(conversation_pieces(messages, tools), generation_pieces())
    return _encode(pieces, image_sizes, tokenizer, spec).input_ids


def count_tokens(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> TokenCount:
    """Count the tokens of text (markup included) and of images (wrappers included). Raises as `encode_sample`."""
    encoded = encode_sample(sample, tokenizer, spec)
    return TokenCount(text=len(encoded.input_ids) - encoded.image_tokens, image=encoded.image_tokens)
