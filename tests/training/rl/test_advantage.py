"""Generalised advantage estimates and their normalisation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.training.rl.advantage import explained_variance, gae, moments, normalise

sizes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(0, 10_000))
discounts = st.floats(0.0, 1.0)


def ragged(rows: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random rewards and values, and a mask of right-padded rows of 1..width response tokens."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    values = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    return rewards, values, torch.arange(width) < lengths


@given(sizes)
@settings(max_examples=50)
def test_undiscounted_advantage_is_the_return_minus_the_value(size: tuple[int, int, int]) -> None:
    rewards, values, mask = ragged(*size)
    advantages, targets = gae(rewards, values, mask)
    returns = torch.where(mask, rewards, 0.0).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(advantages[mask], (returns - values)[mask])
    torch.testing.assert_close(targets[mask], returns[mask])


@given(sizes, discounts, discounts)
@settings(max_examples=50)
def test_advantage_equals_the_sum_of_discounted_errors(size: tuple[int, int, int], gamma: float, lam: float) -> None:
    rewards, values, mask = ragged(*size)
    advantages, targets = gae(rewards, values, mask, gamma, lam)
    for row in range(rewards.shape[0]):
        length = int(mask[row].sum())
        state = [*values[row, :length].tolist(), 0.0]
        errors = [float(rewards[row, t]) + gamma * state[t + 1] - state[t] for t in range(length)]
        for t in range(length):
            expected = sum((gamma * lam) ** k * error for k, error in enumerate(errors[t:]))
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-9)
            assert targets[row, t].item() == pytest.approx(expected + state[t], abs=1e-9)


@given(sizes, discounts, discounts)
@settings(max_examples=30)
def test_values_outside_the_mask_change_nothing(size: tuple[int, int, int], gamma: float, lam: float) -> None:
    rewards, values, mask = ragged(*size)
    mask = mask & (torch.rand(mask.shape, generator=torch.Generator().manual_seed(size[2])) < 0.7)
    clean, _ = gae(rewards, values, mask, gamma, lam)
    dirty, targets = gae(torch.where(mask, rewards, math.nan), torch.where(mask, values, math.inf), mask, gamma, lam)
    assert torch.equal(clean, dirty)
    assert (dirty[~mask] == 0).all()
    assert (targets[~mask] == 0).all()


def test_tokens_between_two_turns_are_skipped() -> None:
    rewards = torch.tensor([[0.0, 9.0, 9.0, 1.0]])
    values = torch.tensor([[0.2, 7.0, 7.0, 0.5]])
    mask = torch.tensor([[True, False, False, True]])
    advantages, _ = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    alone, _ = gae(rewards[:, [0, 3]], values[:, [0, 3]], torch.ones(1, 2, dtype=torch.bool), gamma=0.9, lam=0.8)
    assert torch.equal(advantages[:, [0, 3]], alone)


@given(sizes)
@settings(max_examples=30)
def test_normalised_advantages_have_zero_mean_and_unit_deviation(size: tuple[int, int, int]) -> None:
    _, advantages, mask = ragged(*size)
    mean, std, count = moments(normalise(advantages, mask), mask)
    assert mean == pytest.approx(0.0, abs=1e-6)
    assert count == int(mask.sum())
    if moments(advantages, mask)[1] > 0.1:
        assert std == pytest.approx(1.0)


def test_equal_advantages_normalise_to_zero_not_to_nan() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    same = normalise(torch.full((2, 3), 0.3), mask)
    assert torch.equal(same, torch.zeros(2, 3))
    single = torch.tensor([[True, False, False], [False, False, False]])
    assert torch.equal(normalise(torch.full((2, 3), 5.0), single), torch.zeros(2, 3))
    assert torch.equal(normalise(torch.full((2, 3), 5.0), torch.zeros(2, 3, dtype=torch.bool)), torch.zeros(2, 3))


def test_nearly_equal_advantages_are_not_amplified() -> None:
    advantages = torch.tensor([[0.001, -0.001]])
    assert normalise(advantages, torch.ones(1, 2, dtype=torch.bool)).abs().max() < 0.02


def test_explained_variance_of_perfect_constant_and_wrong_values() -> None:
    targets = torch.tensor([[0.0, 1.0, 1.0, 7.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert explained_variance(targets, targets, mask) == pytest.approx(1.0)
    assert explained_variance(torch.full_like(targets, 0.4), targets, mask) == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(1.0 - targets, targets, mask) < -1.0
    assert explained_variance(targets, torch.tensor([[1.0, 1.0 - 1e-7, 1.0, 1.0]]), mask) == 0.0
