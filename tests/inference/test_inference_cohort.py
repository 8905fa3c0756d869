"""Attention over a shared prompt and own replies against the library's plain attention over copies of everything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from step3vl.inference import Request, Sampling, cohort
from step3vl.inference.cohort import Cohort, KeyValues, Partial, merge, partial_attention
from step3vl.inference.jobs import Job, Prompt

HEADS, GROUP, CHANNELS, LAYERS = 2, 3, 8, 2


def rows(count: int):
    prompt = Prompt(torch.zeros(1).numpy(), torch.zeros(1).numpy(), ())
    return Job(prompt, Sampling(temperature=0), count, None, frozenset()).rows


class Plain:
    """The same rollouts with a full copy of keys and values for each, padded on the left."""

    def __init__(self, layers, mask, n):
        self.layers = [[states.repeat_interleave(n, dim=0) for states in layer] for layer in layers]
        self.mask = mask.repeat_interleave(n, dim=0)

    def attend(self, layer, queries, keys, values, scale):
        own = [torch.cat(pair, dim=2) for pair in zip(self.layers[layer], (keys, values), strict=True)]
        self.layers[layer] = own
        visible = torch.cat((self.mask, self.mask.new_ones(len(self.mask), own[0].shape[2] - self.mask.shape[1])), 1)
        repeated = [states.repeat_interleave(GROUP, dim=1) for states in own]
        return scaled_dot_product_attention(queries, *repeated, attn_mask=visible[:, None, None], scale=scale).squeeze(
            2
        )

    def keep(self, places):
        self.layers = [[states[places] for states in layer] for layer in self.layers]
        self.mask = self.mask[places]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 1000))
def test_a_cohort_attends_as_plain_attention_does_while_rows_leave(lengths, n, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    prompts, longest, steps = len(lengths), max(lengths), 8
    layers = [
        KeyValues(*(torch.randn(prompts, HEADS, longest, CHANNELS, generator=generator) for _ in range(2)))
        for _ in range(LAYERS)
    ]
    mask = torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]
    given_mask = mask if min(lengths) < longest else None
    own = Cohort(rows(prompts * n), n, layers, given_mask, room=steps)
    plain = Plain(layers, mask, n)
    for _ in range(steps):
        count = len(own.rows)
        for layer in range(LAYERS):
            queries = torch.randn(count, HEADS * GROUP, 1, CHANNELS, generator=generator)
            new = [torch.randn(count, HEADS, 1, CHANNELS, generator=generator) for _ in range(2)]
            found = own.attend(layer, queries, *new, 0.3)
            assert torch.allclose(found, plain.attend(layer, queries, *new, 0.3), atol=1e-5)
        own.step()
        for row in own.rows:
            if torch.rand(1, generator=generator) < 0.2:
                row.finish_reason = "stop"
        before, live = own.rows, [row for row in own.rows if row.finish_reason is None]
        kept = own.compact()
        if kept is None:
            assert len(live) > cohort.COMPACT * len(before)
        else:
            assert own.rows == live == [before[place] for place in kept.tolist()]
            plain.keep(kept)
        if not own.rows:
            break


def test_what_a_cohort_reserves_falls_as_rows_leave() -> None:
    layers = [KeyValues(*(torch.zeros(1, 2, 5, 4) for _ in range(2)))]
    shared, single = Cohort(rows(8), 8, layers, None, room=10), Cohort(rows(1), 1, layers, None, room=10)
    assert (shared.reserved, single.reserved) == (5 + 8 * 10, 5 + 10)
    for row in shared.rows[:4]:
        row.finish_reason = "stop"
    shared.compact()
    assert shared.reserved == 5 + 4 * 10


def test_buffers_grow_only_to_what_a_reply_may_take(monkeypatch) -> None:
    monkeypatch.setattr(cohort, "BLOCK", 3)
    layers = [KeyValues(*(torch.zeros(1, 2, 5, 4) for _ in range(2)))]
    own = Cohort(rows(2), 2, layers, None, room=7)
    sizes = []
    for _ in range(7):
        own.attend(0, torch.zeros(2, 4, 1, 4), torch.zeros(2, 2, 1, 4), torch.zeros(2, 2, 1, 4), 1.0)
        own.step()
        sizes.append(own.own[0].keys.shape[2])
    assert sizes == [3, 3, 3, 6, 6, 6, 7]


@pytest.mark.parametrize("size", [1e-3, 1.0, 80.0])
def test_parts_merge_to_the_whole_also_where_exponentials_would_overflow(size) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        size * torch.randn(2, 3, 6, 8, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    parts = [
        partial_attention(queries.float(), KeyValues(keys[:, :, part].float(), values[:, :, part].float()))
        for part in (slice(0, 2), slice(2, 6))
    ]
    whole = scaled_dot_product_attention(queries, keys, values, scale=1.0)
    assert torch.allclose(merge(*parts).double(), whole, atol=1e-4 * size, rtol=1e-4)
    assert torch.allclose(merge(*reversed(parts)), merge(*parts))
    assert isinstance(parts[0], Partial)


def test_the_cohorts_attention_is_used_for_decoding_only(engine, requests) -> None:
    request: Request = requests[0]
    before = engine.model.model.config._attn_implementation
    engine.generate([request], sampling=Sampling(max_new_tokens=2))
    assert engine.model.model.config._attn_implementation == before != cohort.ATTENTION
