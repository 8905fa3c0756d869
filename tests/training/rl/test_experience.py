"""The layout of micro-batches: padding, and that no row is lost."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from step3vl.training.rl.experience import Experience, collate, gather, partition
from step3vl.training.rl.rollout import PolicyRollout


def rollout(*token_ids: int) -> PolicyRollout:
    return PolicyRollout(token_ids, tuple(-0.1 * token for token in token_ids), "answer", "stop", version=0)


def two_prompts() -> Experience:
    """Two prompts of 3 and 1 tokens with 2 and 0 image tokens, two rollouts each."""
    return gather(
        [torch.tensor([10, 11, 12]), torch.tensor([20])],
        [[{"image_features": torch.ones(2, 4)}], [{"image_features": torch.zeros(0, 4)}]],
        [[rollout(1, 2), rollout(3)], [rollout(4), rollout(5, 6, 7)]],
        trained=[True, True, False, True],
    )


def test_rows_are_padded_and_untrained_rows_masked() -> None:
    experience = two_prompts()
    assert experience.tokens.tolist() == [[1, 2, 0], [3, 0, 0], [4, 0, 0], [5, 6, 7]]
    assert experience.mask.tolist() == [
        [True, True, False],
        [True, False, False],
        [False, False, False],
        [True, True, True],
    ]
    assert experience.prompt.tolist() == [0, 0, 1, 1]


def test_responses_start_in_one_column_with_padding_outside() -> None:
    inputs = collate(two_prompts(), torch.tensor([3, 0]), pad=99, device=torch.device("cpu"))
    assert inputs.input_ids.tolist() == [[99, 99, 20, 5, 6, 7], [10, 11, 12, 1, 2, 99]]
    assert inputs.attention_mask.tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]
    assert inputs.start == 3
    assert inputs.responses.tolist() == [[5, 6, 7], [1, 2, 99]]
    assert inputs.images["image_features"].shape == (2, 4)


def test_a_response_token_is_valued_from_the_state_before_it() -> None:
    inputs = collate(two_prompts(), torch.tensor([0]), pad=99, device=torch.device("cpu"))
    hidden = torch.arange(5.0).reshape(1, 5, 1)  # a state that is its own position
    # The last token of the prompt, then the first of the response.
    assert inputs.before_responses(hidden).flatten().tolist() == [2.0, 3.0]


def test_images_repeat_for_each_rollout_of_a_prompt() -> None:
    inputs = collate(two_prompts(), torch.tensor([0, 1, 2]), pad=0, device=torch.device("cpu"))
    assert inputs.images["image_features"].shape == (4, 4)


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 7), st.integers(0, 1000))
def test_every_row_is_in_exactly_one_micro_batch(rows: int, minibatches: int, micro_batch: int, seed: int) -> None:
    lengths = torch.randint(1, 9, (rows,), generator=torch.Generator().manual_seed(seed)).tolist()
    groups = [[rollout(*range(length)) for length in lengths]]
    experience = gather([torch.tensor([1])], [{}], groups, trained=[True] * rows)
    minibatches = min(minibatches, rows)
    parts = partition(experience, minibatches, micro_batch, torch.Generator().manual_seed(seed))
    assert len(parts) == minibatches
    assert sorted(torch.cat([micro for part in parts for micro in part]).tolist()) == list(range(rows))
    assert all(1 <= len(micro) <= micro_batch for part in parts for micro in part)
    sizes = [sum(len(micro) for micro in part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
