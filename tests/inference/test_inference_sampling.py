"""Drawing a token: the right distribution, nothing that is suppressed, the tail cut where it should be."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.inference.sampling import Sampling, cut_tail, draw

NOTHING = torch.tensor([], dtype=torch.long)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_distribution_at_the_temperature(temperature) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])
    suppress = torch.tensor([4])
    drawn = draw(logits.expand(40_000, 5), Sampling(temperature=temperature), generator(), suppress, logprobs=True)
    expected = torch.cat([(logits[:4] / temperature).softmax(-1), torch.zeros(1)])
    frequencies = drawn.tokens.bincount(minlength=5) / 40_000
    assert torch.allclose(frequencies, expected, atol=4 * 0.5 / 200)
    assert frequencies[4] == 0
    assert torch.allclose(drawn.logprobs.exp(), expected[drawn.tokens], atol=1e-6)


def test_temperature_zero_takes_the_likeliest_token_that_may_be_said() -> None:
    logits = torch.tensor([[0.0, 5.0, 9.0], [1.0, 0.0, 9.0]])
    drawn = draw(logits, Sampling(temperature=0), generator(), torch.tensor([2]), logprobs=True)
    assert drawn.tokens.tolist() == [1, 0]
    assert torch.allclose(drawn.logprobs, logits[:, :2].log_softmax(-1).max(-1).values)


@given(st.integers(0, 2**31 - 1), st.integers(2, 50))
def test_a_token_without_probability_is_never_drawn(seed, vocabulary) -> None:
    """Not even the last one, where a rounded cumulative sum would end."""
    logits = torch.full((64, vocabulary), float("-inf"))
    logits[:, vocabulary // 2] = 0.0
    assert set(draw(logits, Sampling(), generator(seed), NOTHING).tokens.tolist()) == {vocabulary // 2}


def test_top_k_and_top_p_keep_the_head() -> None:
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log()
    kept = lambda *cut: cut_tail(logits, *cut)[0].isfinite().tolist()  # noqa: E731
    assert kept(0, 1.0) == [True] * 4
    assert kept(2, 1.0) == [False, True, True, False]
    assert kept(0, 0.3) == [False, True, False, False]
    assert kept(0, 0.65) == [False, True, True, False]
    assert kept(3, 0.5) == [False, True, True, False]
    assert kept(9, 1.0) == [True] * 4


def test_the_same_seed_draws_the_same_tokens() -> None:
    logits = torch.randn(8, 30, generator=generator())
    first, second, third = (draw(logits, Sampling(), generator(seed), NOTHING).tokens for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"max_new_tokens": 0}, {"n": 2}])
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Sampling(**wrong)
