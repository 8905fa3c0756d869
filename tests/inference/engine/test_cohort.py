"""Attention over a shared prompt and separate replies against plain attention over copies of everything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from step3vl.inference import Request, Sampling
from step3vl.inference.engine import cohort as cohort_module
from step3vl.inference.engine.cohort import Cohort, KeyValues, PartialAttention, merge, partial_attention
from step3vl.inference.engine.job import EncodedPrompt, Job

HEADS, GROUP, CHANNELS, LAYERS = 2, 3, 8, 2


def make_rollouts(count: int):
    prompt = EncodedPrompt(torch.zeros(1).numpy(), torch.zeros(1).numpy(), ())
    return Job(prompt, Sampling(temperature=0), count, None, frozenset()).rollouts


class PlainAttention:
    """The same rollouts with a full copy of keys and values for each, padded on the left."""

    def __init__(self, layers, mask, n):
        self.layers = [[states.repeat_interleave(n, dim=0) for states in layer] for layer in layers]
        self.mask = mask.repeat_interleave(n, dim=0)

    def attend(self, layer, queries, keys, values, scale):
        full = [torch.cat(pair, dim=2) for pair in zip(self.layers[layer], (keys, values), strict=True)]
        self.layers[layer] = full
        visible = torch.cat((self.mask, self.mask.new_ones(len(self.mask), full[0].shape[2] - self.mask.shape[1])), 1)
        repeated = [states.repeat_interleave(GROUP, dim=1) for states in full]
        return scaled_dot_product_attention(queries, *repeated, attn_mask=visible[:, None, None], scale=scale).squeeze(
            2
        )

    def keep(self, rows):
        self.layers = [[states[rows] for states in layer] for layer in self.layers]
        self.mask = self.mask[rows]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 1000))
def test_a_cohort_attends_as_plain_attention_does_while_rows_leave(lengths, n, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    prompts, longest, steps = len(lengths), max(lengths), 8
    layers = [
        KeyValues(*(torch.randn(prompts, HEADS, longest, CHANNELS, generator=generator) for _ in range(2)))
        for _ in range(LAYERS)
    ]
    mask = torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]
    padding_mask = mask if min(lengths) < longest else None
    cohort = Cohort(make_rollouts(prompts * n), n, layers, padding_mask, max_new_tokens=steps)
    plain = PlainAttention(layers, mask, n)
    for _ in range(steps):
        count = len(cohort.rollouts)
        for layer in range(LAYERS):
            queries = torch.randn(count, HEADS * GROUP, 1, CHANNELS, generator=generator)
            new = [torch.randn(count, HEADS, 1, CHANNELS, generator=generator) for _ in range(2)]
            actual = cohort.attend(layer, queries, *new, 0.3)
            assert torch.allclose(actual, plain.attend(layer, queries, *new, 0.3), atol=1e-5)
        cohort.step()
        for rollout in cohort.rollouts:
            if torch.rand(1, generator=generator) < 0.2:
                rollout.finish_reason = "stop"
        before, live = cohort.rollouts, [rollout for rollout in cohort.rollouts if rollout.finish_reason is None]
        if len(live) < len(before):
            kept = cohort.keep(cohort.running_rows())
            assert cohort.rollouts == live == [before[row] for row in kept.tolist()]
            plain.keep(kept)
        if not cohort.rollouts:
            break


def test_the_held_tokens_grow_by_blocks_and_fall_as_rows_leave(monkeypatch) -> None:
    monkeypatch.setattr(cohort_module, "BLOCK", 4)
    layers = [KeyValues(*(torch.zeros(1, 2, 5, 4) for _ in range(2)))]
    shared, single = (
        Cohort(make_rollouts(8), 8, layers, None, max_new_tokens=10),
        Cohort(make_rollouts(1), 1, layers, None, max_new_tokens=10),
    )
    assert (shared.held, single.held) == (5 + 8 * 4, 5 + 4)
    for cohort in (shared, single):
        for _ in range(4):
            cohort.attend(0, *(torch.zeros(len(cohort.rollouts), 2, 1, 4) for _ in range(3)), 1.0)
            cohort.step()
    assert (shared.held, single.held) == (5 + 8 * 8, 5 + 8), "of the next step"
    for row in shared.rollouts[:4]:
        row.finish_reason = "stop"
    shared.keep(shared.running_rows())
    assert shared.held == 5 + 4 * 8


def test_buffers_grow_only_to_the_limit_of_a_reply(monkeypatch) -> None:
    monkeypatch.setattr(cohort_module, "BLOCK", 3)
    layers = [KeyValues(*(torch.zeros(1, 2, 5, 4) for _ in range(2)))]
    cohort = Cohort(make_rollouts(2), 2, layers, None, max_new_tokens=7)
    sizes = []
    for _ in range(7):
        cohort.attend(0, torch.zeros(2, 4, 1, 4), torch.zeros(2, 2, 1, 4), torch.zeros(2, 2, 1, 4), 1.0)
        cohort.step()
        sizes.append(cohort.replies[0].keys.shape[2])
    assert sizes == [3, 3, 3, 6, 6, 6, 7]


@pytest.mark.parametrize("size", [1e-3, 1.0, 80.0])
def test_merged_parts_equal_full_attention_without_overflow(size) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        size * torch.randn(2, 3, 6, 8, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    parts = [
        partial_attention(queries.float(), KeyValues(keys[:, :, part].float(), values[:, :, part].float()))
        for part in (slice(0, 2), slice(2, 6))
    ]
    expected = scaled_dot_product_attention(queries, keys, values, scale=1.0)
    assert torch.allclose(merge(*parts).double(), expected, atol=1e-4 * size, rtol=1e-4)
    assert torch.allclose(merge(*reversed(parts)), merge(*parts))
    assert isinstance(parts[0], PartialAttention)


def test_the_cohorts_attention_is_used_for_decoding_only(engine, requests) -> None:
    request: Request = requests[0]
    before = engine.model.model.config._attn_implementation
    engine.generate([request], sampling=Sampling(max_new_tokens=2))
    assert engine.model.model.config._attn_implementation == before != cohort_module.ATTENTION
