"""What one rank collected in one iteration, and how rows of it become the input of a network.

B rollouts of this rank, R the length of the longest response. Rows of a micro-batch are laid out as
`[padding | prompt | response | padding]` with all responses starting in the same column P.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from step3vl.training.rl.image_inputs import ImageInputs, PromptImages
from step3vl.training.rl.rollout import PolicyRollout


@dataclass(frozen=True)
class Experience:
    """Rollouts of this rank. Rows of one prompt share its ids and its images."""

    prompt_ids: list[Tensor]
    """Tokens of each prompt, int64 (P_i,)."""
    images: list[PromptImages]
    """Images of each prompt, in the order of its placeholders; equal images of several prompts share their tensors."""
    prompt: Tensor
    """(B,) index of the prompt that a row answers."""
    tokens: Tensor
    """(B, R) response tokens, int64."""
    logprobs: Tensor
    """(B, R) log-probabilities by the rollout engine."""
    lengths: Tensor
    """(B,) response tokens, the end of turn included."""
    mask: Tensor
    """(B, R) bool: tokens that are trained."""

    def __len__(self) -> int:
        return self.tokens.shape[0]


@dataclass(frozen=True)
class NetworkInputs:
    """A micro-batch of b rows for a network."""

    input_ids: Tensor
    """(b, P + r) tokens."""
    attention_mask: Tensor
    """(b, P + r) 1 on tokens, 0 on padding."""
    images: ImageInputs
    """Images of all rows, one after another."""
    start: int
    """P, the column of every row's first response token."""

    @property
    def responses(self) -> Tensor:
        """(b, r) response tokens."""
        return self.input_ids[:, self.start :]

    def before_responses(self, hidden: Tensor) -> Tensor:
        """Of hidden states (b, P + r, D), the (b, r, D) that response tokens are predicted and valued from."""
        return hidden[:, self.start - 1 : -1]


def gather(
    prompt_ids: list[Tensor],
    images: list[PromptImages],
    rollouts: Sequence[Sequence[PolicyRollout]],
    trained: Sequence[bool],
) -> Experience:
    """Pad the rollouts of all prompts into one table.

    Args:
        prompt_ids: Tokens of each prompt.
        images: Images of each prompt.
        rollouts: Rollouts of each prompt.
        trained: For each rollout, whether the losses include it.
    """
    rows = [rollout for group in rollouts for rollout in group]
    lengths = torch.tensor([len(rollout.token_ids) for rollout in rows])
    width = int(lengths.max())
    tokens = torch.zeros(len(rows), width, dtype=torch.int64)
    logprobs = torch.zeros(len(rows), width)
    for row, rollout in enumerate(rows):
        tokens[row, : len(rollout.token_ids)] = torch.tensor(rollout.token_ids)
        logprobs[row, : len(rollout.token_ids)] = torch.tensor(rollout.logprobs)
    mask = (torch.arange(width) < lengths[:, None]) & torch.tensor(trained)[:, None]
    prompt = torch.tensor([index for index, group in enumerate(rollouts) for _ in group])
    return Experience(prompt_ids, images, prompt, tokens, logprobs, lengths, mask)


def collate(experience: Experience, rows: Tensor, pad: int, device: torch.device) -> NetworkInputs:
    """Make a micro-batch of some rows, no wider than the longest prompt and response among them.

    Args:
        experience: The rollouts of this rank.
        rows: (b,) numbers of rows.
        pad: Id of padding.
        device: Where the tensors are put.
    """
    prompts = [experience.prompt_ids[index] for index in experience.prompt[rows].tolist()]
    lengths = experience.lengths[rows].tolist()
    start, width = max(len(ids) for ids in prompts), max(lengths)
    input_ids = torch.full((len(rows), start + width), pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for position, (row, ids, length) in enumerate(zip(rows.tolist(), prompts, lengths, strict=True)):
        input_ids[position, start - len(ids) : start] = ids
        input_ids[position, start : start + length] = experience.tokens[row, :length]
        attention_mask[position, start - len(ids) : start + length] = 1
    by_image = [inputs for index in experience.prompt[rows].tolist() for inputs in experience.images[index]]
    images = {name: torch.cat([inputs[name] for inputs in by_image]).to(device) for name in by_image[0]}
    return NetworkInputs(input_ids.to(device), attention_mask.to(device), images, start)


def partition(
    experience: Experience, minibatches: int, micro_batch: int, generator: torch.Generator
) -> list[list[Tensor]]:
    """Shuffle rows into mini-batches (one optimizer step each) of micro-batches (one forward pass each).

    Sizes of mini-batches differ by at most one row and depend on B alone, so that all ranks make the same number of
    passes. Within a mini-batch rows are sorted by length, which spares padding and changes no gradient.

    Args:
        experience: The rollouts of this rank.
        minibatches: Number of mini-batches.
        micro_batch: Rows of a micro-batch.
        generator: Source of the shuffle.

    Returns:
        For each mini-batch its micro-batches, as numbers of rows.
    """
    sizes = torch.tensor([len(ids) for ids in experience.prompt_ids])[experience.prompt] + experience.lengths
    order = torch.randperm(len(experience), generator=generator)
    parts = []
    for rows in order.tensor_split(minibatches):
        by_length = rows[torch.argsort(sizes[rows], stable=True)]
        parts.append(list(by_length.split(micro_batch)))
    return parts
