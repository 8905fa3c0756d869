"""From samples to token ids: the chat template, the vocabulary, encoding and counting, and replies."""

from step3vl.data.tokens.encoding import (
    Encoded,
    count_sample,
    count_tokens,
    encode_prompt,
    encode_sample,
    encode_text,
    expand_image,
)
from step3vl.data.tokens.replies import Reply, extract_tool_calls, parse_reply, split_answer
from step3vl.data.tokens.template import END_THINK, THINK, TOOL_CALL, TOOL_CALLS, conversation_pieces, tool_call_text
from step3vl.data.tokens.vocabulary import (
    SPECIAL_TOKENS,
    STEP_TOKENS,
    TOKENIZER,
    TokenIds,
    fingerprint,
    load_tokenizer,
    save_tokenizer,
    train_bpe,
)

__all__ = [
    "END_THINK",
    "SPECIAL_TOKENS",
    "STEP_TOKENS",
    "THINK",
    "TOKENIZER",
    "TOOL_CALL",
    "TOOL_CALLS",
    "Encoded",
    "Reply",
    "TokenIds",
    "conversation_pieces",
    "count_sample",
    "count_tokens",
    "encode_prompt",
    "encode_sample",
    "encode_text",
    "expand_image",
    "extract_tool_calls",
    "fingerprint",
    "load_tokenizer",
    "parse_reply",
    "save_tokenizer",
    "split_answer",
    "tool_call_text",
    "train_bpe",
]
