"""The running batch's memory: keys and values of rollouts that started together, and attention over them.

Rollouts of one prompt read its keys and values in one place, [B, H, P, D] for all n of them, and each its own reply's,
[B * n, H, S, D]. Two attentions merged by their softmax sums are the attention over both, and 16 queries against one
prompt are one matrix product. Cohorts of different ages and lengths decode in one pass of the model: all but attention
works on the rows of all of them at once, so nothing is padded to the longest request.
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

from step3vl.inference.jobs import Row
from step3vl.model.modeling import Step3VLForConditionalGeneration

BLOCK = 256  # tokens of room that a buffer starts with or grows by
COMPACT = 0.75  # ended rollouts leave a cohort when no more than this share of it still runs
ATTENTION = "step3vl_cohorts"


class KeyValues(NamedTuple):
    """Of one decoder layer: keys and values [rows, heads, tokens, channels]."""

    keys: Tensor
    values: Tensor


class Cohort:
    """n rollouts of each of B prompts, B * n rows that are all at the same step of their replies.

    `rows` may hold rollouts that have ended, until `compact` lets them go.
    """

    def __init__(self, rows: Sequence[Row], n: int, layers: Sequence[KeyValues], mask: Tensor | None, room: int):
        """rows in the order of the prompts, n for each; layers as prefilled, mask [B, P] false on padding, if any.

        `room` is the most tokens that a reply may take.
        """
        self.rows = list(rows)
        self.n = n
        self.mask = mask
        self.shared: list[KeyValues] = []
        self.slots: Tensor | None = None  # [R] places of the rows in the grid of B x n, once it has holes
        _, heads, length, channels = layers[0].keys.shape
        # A prompt of a single rollout has nobody to share with: the reply goes on where it ends.
        self.filled = length if n == 1 else 0
        if n == 1 and mask is not None:
            self.mask = pad(mask, (0, room), value=True)
        self.longest = self.filled + room
        if n > 1:
            self.shared = list(layers)
            empty = layers[0].keys.new_empty(len(rows), heads, 0, channels)
            layers = [KeyValues(empty, empty)] * len(layers)
        self.own = [self._grown(layer) for layer in layers]

    @property
    def reserved(self) -> int:
        """Tokens that the cohort holds when all of its replies become as long as they may."""
        return sum(layer.keys.shape[0] * layer.keys.shape[2] for layer in self.shared[:1]) + (
            len(self.rows) * self.longest
        )

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """One new token of each row: queries [R, Hq, 1, D], keys and values [R, Hkv, 1, D], which are kept.

        Returns [R, Hq, D].
        """
        own = self.own[layer]
        if self.filled == own.keys.shape[2]:
            own = self.own[layer] = self._grown(own)
        end = self.filled + 1
        own.keys[:, :, self.filled : end] = keys
        own.values[:, :, self.filled : end] = values
        own = KeyValues(own.keys[:, :, :end], own.values[:, :, :end])
        rows, query_heads, _, channels = queries.shape
        # Query heads that share a key head stand side by side: [R, Hkv, g, D].
        grouped = queries.reshape(rows, own.keys.shape[1], -1, channels)
        if not self.shared:
            mask = None if self.mask is None else self.mask[:, None, None, :end]
            output = scaled_dot_product_attention(grouped, own.keys, own.values, attn_mask=mask, scale=scale)
            return output.reshape(rows, query_heads, channels)
        grouped = grouped * scale
        merged = merge(self._over_prompts(self.shared[layer], grouped), partial_attention(grouped, own))
        return merged.to(queries.dtype).reshape(rows, query_heads, channels)

    def _grown(self, layer: KeyValues) -> KeyValues:
        room = min(BLOCK, self.longest - self.filled)
        return KeyValues(*(_with_room(states, room) for states in layer))

    def _over_prompts(self, prompts: KeyValues, queries: Tensor) -> "Partial":
        """Attention of queries [R, Hkv, g, D] over the prompts, all rollouts of one prompt in one product."""
        count, heads, _, _ = prompts.keys.shape
        group, channels = queries.shape[2:]
        if self.slots is not None:
            grid = queries.new_zeros(count * self.n, heads, group, channels)
            queries = grid.index_copy(0, self.slots, queries)
        grid = queries.view(count, self.n, heads, group, channels).transpose(1, 2)
        part = partial_attention(grid.reshape(count, heads, self.n * group, channels), prompts, self.mask)
        back = (x.view(count, heads, self.n, group, -1).transpose(1, 2).flatten(0, 1) for x in part)
        return Partial(*(x if self.slots is None else x[self.slots] for x in back))

    def step(self) -> None:
        """To be called once when all layers have seen a token."""
        self.filled += 1

    def compact(self) -> Tensor | None:
        """Let ended rollouts go when they are many. Returns the places of the rows that stay, None when all do."""
        keep = [place for place, row in enumerate(self.rows) if row.finish_reason is None]
        if len(keep) > COMPACT * len(self.rows):
            return None
        kept = torch.tensor(keep, dtype=torch.long, device=self.own[0].keys.device)
        self.rows = [self.rows[place] for place in keep]
        self.own = [KeyValues(*(states[kept] for states in layer)) for layer in self.own]
        if not self.shared:
            self.mask = None if self.mask is None else self.mask[kept]
        elif keep:
            self._close_ranks(kept)
        return kept

    def _close_ranks(self, kept: Tensor) -> None:
        """Make the grid of prompts x rollouts as small as the kept rows allow."""
        places = kept if self.slots is None else self.slots[kept]
        prompts, of_row, counts = (places // self.n).unique(return_inverse=True, return_counts=True)
        if len(prompts) < len(self.shared[0].keys):
            self.shared = [KeyValues(*(states[prompts] for states in layer)) for layer in self.shared]
            self.mask = None if self.mask is None else self.mask[prompts]
        self.n = int(counts.max())
        first = counts.cumsum(0) - counts
        slots = of_row * self.n + torch.arange(len(kept), device=kept.device) - first[of_row]
        self.slots = None if len(kept) == len(prompts) * self.n else slots


class Partial(NamedTuple):
    """Attention before it is scaled to one: output [..., D], the sum of its weights [..., 1], and their exponents'
    maximum [..., 1]."""

    output: Tensor
    total: Tensor
    highest: Tensor


def partial_attention(queries: Tensor, over: KeyValues, mask: Tensor | None = None) -> Partial:
    """Scaled queries [B, H, m, D] over keys and values [B, H, t, D], where mask [B, t] is true; in float32."""
    scores = (queries @ over.keys.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
    highest = scores.amax(dim=-1, keepdim=True)
    weights = (scores - highest).exp_()
    return Partial((weights.to(over.values.dtype) @ over.values).float(), weights.sum(dim=-1, keepdim=True), highest)


def merge(first: Partial, second: Partial) -> Tensor:
    """The attention over both sets of keys together."""
    highest = torch.maximum(first.highest, second.highest)
    one, two = (first.highest - highest).exp(), (second.highest - highest).exp()
    return (first.output * one + second.output * two) / (first.total * one + second.total * two)


# Of models that decode; the library looks its attention up in the model's configuration, which engines may share.
_LOCKS: WeakKeyDictionary[Step3VLForConditionalGeneration, threading.Lock] = WeakKeyDictionary()


@contextmanager
def attending(model: Step3VLForConditionalGeneration) -> Iterator[None]:
    """Inside, the decoder takes the argument `cohorts` in place of a cache."""
    config = model.model.config
    with _LOCKS.setdefault(model, threading.Lock()):
        before = config._attn_implementation
        config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            config._attn_implementation = before


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
    """The library's attention interface: query [R, Hq, 1, D], the rows of all cohorts after one another."""
    if not cohorts:  # another thread reads a prompt with the same model
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    outputs = []
    start = 0
    for cohort in cohorts:
        rows = slice(start, start + len(cohort.rows))
        outputs.append(cohort.attend(module.layer_idx, query[rows], key[rows], value[rows], scaling))
        start = rows.stop
    return torch.cat(outputs)[:, None], None


AttentionInterface.register(ATTENTION, _attend_cohorts)
AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def _with_room(states: Tensor, room: int) -> Tensor:
    rows, heads, tokens, channels = states.shape
    buffer = torch.empty((rows, heads, tokens + room, channels), dtype=states.dtype, device=states.device)
    buffer[:, :, :tokens] = states
    return buffer
