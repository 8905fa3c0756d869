"""Rewards: the grade of a response, and the token on which the reward stands."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.sample import CountTruth, Image, Sample, Source, TranscriptTruth, Truth, conversation, image, text
from step3vl.grading import Grade
from step3vl.training.rl.advantage import gae
from step3vl.training.rl.rewards import grade_rollouts, token_rewards
from step3vl.training.rl.rollout import PolicyRollout


def sample_with(truth: Truth | None) -> Sample:
    buffer = io.BytesIO()
    PILImage.new("RGB", (28, 28), "red").save(buffer, "PNG")
    return Sample.make(
        domain="vqa",
        task="vqa.count",
        messages=conversation((image(0), text("How many?")), "3"),
        images=(Image.from_bytes(buffer.getvalue()),),
        truth=truth,
        source=Source(uri="rendered:0", licence="CC0-1.0", collected_by="tests"),
    )


def rollout(reply: str, finish_reason: str = "stop") -> PolicyRollout:
    return PolicyRollout((1,), (0.0,), reply, finish_reason, version=0)


@pytest.mark.parametrize(
    ("reply", "finish_reason", "expected"),
    [
        ("I count.\n</think>\n\n3", "stop", Grade(1.0, "correct")),
        ("\n</think>\n\n4", "stop", Grade(0.0, "wrong")),
        ("\n</think>\n\nmany", "stop", Grade(0.0, "unparsable")),
        ("\n</think>\n\n", "stop", Grade(0.0, "unparsable")),
        ("3", "stop", Grade(0.0, "unparsable")),  # the reasoning was never closed
        ("\n</think>\n\n3", "length", Grade(0.0, "truncated")),
        ("3", "length", Grade(0.0, "truncated")),
    ],
)
def test_reward_and_verdict_of_a_response(reply: str, finish_reason: str, expected: Grade) -> None:
    (graded,) = grade_rollouts([sample_with(CountTruth(count=3))], [[rollout(reply, finish_reason)]])
    assert graded.grades == (expected,)


def test_the_reward_of_a_prompt_is_the_mean_of_its_responses_with_partial_credit() -> None:
    sample = sample_with(TranscriptTruth(text="abcd"))
    (graded,) = grade_rollouts([sample], [[rollout("</think>abcx"), rollout("</think>abcd")]])
    assert graded.grades[0] == Grade(0.75, "wrong")
    assert graded.reward == 0.875
    assert (graded.sample, graded.task) == (sample.id, "vqa.count")


def test_a_sample_without_truth_cannot_be_graded() -> None:
    with pytest.raises(ValueError, match="has no truth"):
        grade_rollouts([sample_with(None)], [[rollout("</think>3")]])


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 3))
def test_the_reward_is_on_the_last_response_token_alone(lengths: list[int], padding: int) -> None:
    width = max(lengths) + padding
    values = torch.arange(1.0, len(lengths) + 1.0)
    rewards = token_rewards(values, torch.tensor(lengths), width)
    assert rewards.nonzero().tolist() == [[row, length - 1] for row, length in enumerate(lengths)]
    assert torch.equal(rewards.sum(1), values)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    advantages, _ = gae(rewards, torch.zeros_like(rewards), mask)
    assert torch.equal(advantages, torch.where(mask, values[:, None], 0.0))
