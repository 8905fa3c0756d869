"""Rewards: what counts as an answer, and on which token the reward lands."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.truth import CountTruth, TranscriptTruth
from step3vl.training.rl.advantage import gae
from step3vl.training.rl.rewards import Graded, grade, token_rewards, verdict_shares


@pytest.mark.parametrize(
    ("answer", "stopped", "expected"),
    [
        ("3", True, Graded(1.0, "correct")),
        ("4", True, Graded(0.0, "wrong")),
        ("many", True, Graded(0.0, "unparsable")),
        ("", True, Graded(0.0, "unparsable")),
        (None, True, Graded(0.0, "unparsable")),
        ("3", False, Graded(0.0, "truncated")),
        (None, False, Graded(0.0, "truncated")),
    ],
)
def test_reward_and_verdict_of_an_answer(answer: str | None, stopped: bool, expected: Graded) -> None:
    assert grade(CountTruth(count=3), answer, stopped) == expected


def test_partial_credit_comes_from_the_truth() -> None:
    graded = grade(TranscriptTruth(text="abcd"), "abcx", True)
    assert graded == Graded(0.75, "wrong")


def test_verdict_shares_add_up() -> None:
    graded = [Graded(1.0, "correct"), Graded(0.0, "truncated"), Graded(0.0, "truncated"), Graded(0.0, "unparsable")]
    assert verdict_shares(graded) == {"correct": 0.25, "wrong": 0.0, "unparsable": 0.25, "truncated": 0.5}


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 3))
def test_reward_stands_on_the_last_response_token_alone(lengths: list[int], padding: int) -> None:
    width = max(lengths) + padding
    values = torch.arange(1.0, len(lengths) + 1.0)
    rewards = token_rewards(values, torch.tensor(lengths), width)
    assert rewards.nonzero().tolist() == [[row, length - 1] for row, length in enumerate(lengths)]
    assert torch.equal(rewards.sum(1), values)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    advantages, _ = gae(rewards, torch.zeros_like(rewards), mask)
    assert torch.equal(advantages, torch.where(mask, values[:, None], 0.0))
