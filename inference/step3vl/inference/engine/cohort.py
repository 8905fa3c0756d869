"""Keys and values of rollouts that started together, and attention over them.

The n rollouts of a prompt share its keys and values [B, H, P, D]; each has those of its reply, [B * n, H, S, D]. Two
attentions merged by their softmax sums are the attention over both, and n queries against one prompt are one matrix
product. Cohorts of different ages and lengths decode in one pass of the model: everything except attention works on
the rows of all of them at once, so nothing is padded to the longest request.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from step3vl.inference.engine.job import RolloutState
from step3vl.model.modeling import Step3VLForConditionalGeneration

BLOCK = 256  # tokens that a buffer starts with or grows by
COMPACT_SHARE = 0.75  # ended rollouts are removed once at most this share of a cohort still runs
ATTENTION = "step3vl_cohorts"


class KeyValues(NamedTuple):
    """Keys and values [rows, heads, tokens, channels] of one decoder layer."""

    keys: Tensor
    values: Tensor


class Cohort:
    """n rollouts of each of B prompts: R = B * n rows that are all at the same step of their replies.

    `rollouts` may contain ended ones until `compact` removes them.

    Args:
        rollouts: In the order of the prompts, n for each.
        n: Rollouts per prompt.
        layers: Keys and values [B, H, P, D] of the prompts, by layer.
        mask: [B, P], false on padding; None where nothing is padded.
        max_new_tokens: The most tokens that may follow.
    """

    def __init__(
        self,
        rollouts: Sequence[RolloutState],
        n: int,
        layers: Sequence[KeyValues],
        mask: Tensor | None,
        max_new_tokens: int,
    ):
        self.rollouts = list(rollouts)
        self.n = n
        self.mask = mask
        self.shared: list[KeyValues] = []
        self.slots: Tensor | None = None  # [R] positions of the rows in the grid of B x n, once it has holes
        _, heads, length, channels = layers[0].keys.shape
        # A prompt with a single rollout shares nothing: the reply is appended to it.
        self.filled = length if n == 1 else 0
        if n == 1 and mask is not None:
            self.mask = pad(mask, (0, max_new_tokens), value=True)
        self.max_length = self.filled + max_new_tokens
        if n > 1:
            self.shared = list(layers)
            empty = layers[0].keys.new_empty(len(rollouts), heads, 0, channels)
            layers = [KeyValues(empty, empty)] * len(layers)
        self.replies = [self._grown(layer) for layer in layers]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of keys and values that the rollouts share."""
        return sum(layer.keys.shape[0] * layer.keys.shape[2] for layer in self.shared[:1])

    @property
    def row_tokens(self) -> int:
        """Tokens of keys and values that each row has room for in the next step."""
        held = self.replies[-1].keys.shape[2]
        return held + self._growth if self.filled == held else held

    @property
    def held(self) -> int:
        """Tokens of keys and values that the cohort has room for in the next step."""
        return self.prompt_tokens + len(self.rollouts) * self.row_tokens

    @property
    def _growth(self) -> int:
        return min(BLOCK, self.max_length - self.filled)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attend with one new token of each row, whose keys and values are stored.

        Args:
            layer: Number of the decoder layer.
            queries: [R, Hq, 1, D].
            keys: [R, Hkv, 1, D].
            values: [R, Hkv, 1, D].
            scale: Of the scores.

        Returns:
            The attention's output [R, Hq, D].
        """
        buffer = self.replies[layer]
        if self.filled == buffer.keys.shape[2]:
            buffer = self.replies[layer] = self._grown(buffer)
        end = self.filled + 1
        buffer.keys[:, :, self.filled : end] = keys
        buffer.values[:, :, self.filled : end] = values
        reply = KeyValues(buffer.keys[:, :, :end], buffer.values[:, :, :end])
        rows, query_heads, _, channels = queries.shape
        # Query heads that share a key head stand side by side: [R, Hkv, g, D].
        grouped = queries.reshape(rows, reply.keys.shape[1], -1, channels)
        if not self.shared:
            mask = None if self.mask is None else self.mask[:, None, None, :end]
            output = scaled_dot_product_attention(grouped, reply.keys, reply.values, attn_mask=mask, scale=scale)
            return output.reshape(rows, query_heads, channels)
        grouped = grouped * scale
        merged = merge(self._attend_prompts(self.shared[layer], grouped), partial_attention(grouped, reply))
        return merged.to(queries.dtype).reshape(rows, query_heads, channels)

    def _grown(self, layer: KeyValues) -> KeyValues:
        return KeyValues(*(_grow(states, self._growth) for states in layer))

    def _attend_prompts(self, prompts: KeyValues, queries: Tensor) -> "PartialAttention":
        """Attend with queries [R, Hkv, g, D] over the prompts, all rollouts of a prompt in one product."""
        count, heads, _, _ = prompts.keys.shape
        group, channels = queries.shape[2:]
        if self.slots is not None:
            grid = queries.new_zeros(count * self.n, heads, group, channels)
            queries = grid.index_copy(0, self.slots, queries)
        grid = queries.view(count, self.n, heads, group, channels).transpose(1, 2)
        part = partial_attention(grid.reshape(count, heads, self.n * group, channels), prompts, self.mask)
        by_row = (x.view(count, heads, self.n, group, -1).transpose(1, 2).flatten(0, 1) for x in part)
        return PartialAttention(*(x if self.slots is None else x[self.slots] for x in by_row))

    def step(self) -> None:
        """Advance by a token, once all layers have processed it."""
        self.filled += 1

    def running_rows(self) -> list[int]:
        """Return the indices of the rows whose rollouts have not ended."""
        return [row for row, rollout in enumerate(self.rollouts) if rollout.finish_reason is None]

    def keep(self, rows: Sequence[int]) -> Tensor:
        """Remove all other rows. Returns the indices of the rows as a tensor."""
        keep = list(rows)
        kept = torch.tensor(keep, dtype=torch.long, device=self.replies[0].keys.device)
        self.rollouts = [self.rollouts[row] for row in keep]
        self.replies = [KeyValues(*(states[kept] for states in layer)) for layer in self.replies]
        if not self.shared:
            self.mask = None if self.mask is None else self.mask[kept]
        elif keep:
            self._shrink_grid(kept)
        return kept

    def _shrink_grid(self, kept: Tensor) -> None:
        """Make the grid of prompts x rollouts as small as the kept rows allow."""
        slots = kept if self.slots is None else self.slots[kept]
        prompts, prompt_of_row, counts = (slots // self.n).unique(return_inverse=True, return_counts=True)
        if len(prompts) < len(self.shared[0].keys):
            self.shared = [KeyValues(*(states[prompts] for states in layer)) for layer in self.shared]
            self.mask = None if self.mask is None else self.mask[prompts]
        self.n = int(counts.max())
        first = counts.cumsum(0) - counts
        slots = prompt_of_row * self.n + torch.arange(len(kept), device=kept.device) - first[prompt_of_row]
        self.slots = None if len(kept) == len(prompts) * self.n else slots


class PartialAttention(NamedTuple):
    """Attention before normalisation: output [..., D], the sum of its weights [..., 1], and the maximal score
    [..., 1] that they are relative to."""

    output: Tensor
    weight_sum: Tensor
    max_score: Tensor


def partial_attention(queries: Tensor, states: KeyValues, mask: Tensor | None = None) -> PartialAttention:
    """Attend with scaled queries [B, H, m, D] over keys and values [B, H, t, D] where mask [B, t] is true; float32."""
    scores = (queries @ states.keys.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
    max_score = scores.amax(dim=-1, keepdim=True)
    weights = (scores - max_score).exp_()
    output = (weights.to(states.values.dtype) @ states.values).float()
    return PartialAttention(output, weights.sum(dim=-1, keepdim=True), max_score)


def merge(first: PartialAttention, second: PartialAttention) -> Tensor:
    """Return the attention [..., D] over both sets of keys together."""
    max_score = torch.maximum(first.max_score, second.max_score)
    scale1, scale2 = (first.max_score - max_score).exp(), (second.max_score - max_score).exp()
    output = first.output * scale1 + second.output * scale2
    return output / (first.weight_sum * scale1 + second.weight_sum * scale2)


# One per decoding model: transformers looks the attention up in the model's configuration, which engines may share.
_LOCKS: WeakKeyDictionary[Step3VLForConditionalGeneration, threading.Lock] = WeakKeyDictionary()


@contextmanager
def cohort_attention(model: Step3VLForConditionalGeneration) -> Iterator[None]:
    """Within this context the decoder takes the argument `cohorts` in place of a cache."""
    config = model.model.config
    with _LOCKS.setdefault(model, threading.Lock()):
        previous = config._attn_implementation
        config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            config._attn_implementation = previous


def _attend_cohorts(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    cohorts: Sequence[Cohort] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface: query [R, Hq, 1, D] with the rows of all cohorts concatenated."""
    if not cohorts:  # another thread reads a prompt with the same model
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    outputs = []
    start = 0
    for cohort in cohorts:
        rows = slice(start, start + len(cohort.rollouts))
        outputs.append(cohort.attend(module.layer_idx, query[rows], key[rows], value[rows], scaling))
        start = rows.stop
    return torch.cat(outputs)[:, None], None


AttentionInterface.register(ATTENTION, _attend_cohorts)
AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def _grow(states: Tensor, extra: int) -> Tensor:
    rows, heads, tokens, channels = states.shape
    buffer = torch.empty((rows, heads, tokens + extra, channels), dtype=states.dtype, device=states.device)
    buffer[:, :, :tokens] = states
    return buffer
