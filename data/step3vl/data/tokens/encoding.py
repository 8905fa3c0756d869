"""How samples and prompts become token ids and loss weights.

The rendering is that of the released chat template (a parity test compares the two), written over ids: markup is
inserted as ids and text is always encoded as plain text, so no text can inject a control token.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from step3vl.data.sample.crops import CropPlan, ImageSpec, plan_crops
from step3vl.data.sample.geometry import Size
from step3vl.data.sample.parts import ImagePart
from step3vl.data.sample.sample import Message, Sample, TokenCount
from step3vl.data.tokens.template import Markup, RenderPiece, conversation_pieces, document_pieces, generation_pieces
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


def count_text(text: str, tokenizer: Tokenizer) -> int:
    """How many ids `encode_text` gives."""
    count = word_encoder(tokenizer).count
    return count(text) if "<" not in text else sum(map(count, _PLAIN_NAMES.split(text)))


class _MarkupIds(dict[Markup, int]):
    """The ids of the template's markup, which are looked up once, and those of the tokens of images."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self.of_images = TokenIds.of(tokenizer)

    def __missing__(self, markup: Markup) -> int:
        self[markup] = id_ = token_id(self._tokenizer, markup.token)
        return id_


@lru_cache(maxsize=4)
def _markup_ids(tokenizer: Tokenizer) -> _MarkupIds:
    return _MarkupIds(tokenizer)


def _runs(pieces: Iterable[RenderPiece]) -> Iterator[tuple[str | Markup | ImagePart, float]]:
    """The pieces, of which adjacent texts of equal weight are one text, as a tokenizer would see them."""
    run: list[str] = []
    run_weight = 0.0
    for item, weight in pieces:
        if isinstance(item, str):
            if weight != run_weight and run:
                yield "".join(run), run_weight
                run = []
            run.append(item)
            run_weight = weight
            continue
        if run:
            yield "".join(run), run_weight
            run = []
        yield item, weight
    if run:
        yield "".join(run), run_weight


def _encode(pieces: Iterable[RenderPiece], sizes: Sequence[Size], tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    ids = _markup_ids(tokenizer)
    tokens: list[int] = []
    weights: list[float] = []
    image_tokens = 0
    for item, weight in _runs(pieces):
        if isinstance(item, str):
            new = encode_text(item, tokenizer)
        elif isinstance(item, Markup):
            new = [ids[item]]
        else:
            new, weight = expand_image(plan_crops(*sizes[item.image], spec), spec, ids.of_images), 0.0
            image_tokens += len(new)
        tokens += new
        weights += [weight] * len(new)
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
    return _encode(_pieces_of(sample), _sizes_of(sample), tokenizer, spec)


def _pieces_of(sample: Sample) -> list[RenderPiece]:
    if sample.content is not None:
        return document_pieces(sample.content)
    return conversation_pieces(sample.messages or (), sample.tools)


def _sizes_of(sample: Sample) -> list[Size]:
    return [(image.width, image.height) for image in sample.images]


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


class CountedTokens(NamedTuple):
    """What a sample becomes, in tokens: of text (markup included), of images (wrappers included), and of those with a
    weight in the loss."""

    text: int
    image: int
    trained: int


def count_sample(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> CountedTokens:
    """Count the tokens that `encode_sample` gives, in less time. Raises as it does."""
    sizes = _sizes_of(sample)
    ids, count_plain = _markup_ids(tokenizer), word_encoder(tokenizer).count
    text = image = trained = 0
    for item, weight in _runs(_pieces_of(sample)):
        if isinstance(item, str):
            count = count_text(item, tokenizer) if "<" in item else count_plain(item)
        elif isinstance(item, Markup):
            _, count = ids[item], 1  # which a tokenizer may lack
        else:
            image += plan_crops(*sizes[item.image], spec).tokens
            continue
        text += count
        if weight:
            trained += count
    return CountedTokens(text, image, trained)


def count_tokens(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> TokenCount:
    """Count the tokens of text (markup included) and of images (wrappers included). Raises as `encode_sample`."""
    counted = count_sample(sample, tokenizer, spec)
    return TokenCount(text=counted.text, image=counted.image)
