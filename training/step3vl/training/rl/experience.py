"""What one rank collected in one iteration, and how rows of it become the input of a network.

B rollouts of this rank, R the length of its longest response. Rows of a micro-batch are laid out as
`[padding | prompt | response | padding]` with all responses starting in the same column P.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from step3vl.training.rl.rollout import Rollout

Pictures = dict[str, Tensor]  # arguments of the model that carry a prompt's pictures: features, or pixels


@dataclass(frozen=True)
class Experience:
    """Rollouts of this rank. Rows of one prompt share its ids and its pictures."""

    prompt_ids: list[Tensor]  # of each prompt, int64 (P_i,)
    pictures: list[Pictures]  # of each prompt, in the order of its placeholders
    prompt: Tensor  # (B,) which prompt a row answers
    tokens: Tensor  # (B, R) int64
    logprobs: Tensor  # (B, R) of the rollout engine
    lengths: Tensor  # (B,) response tokens, the end of turn included
    mask: Tensor  # (B, R) bool: tokens that are trained

    def __len__(self) -> int:
        return self.tokens.shape[0]


@dataclass(frozen=True)
class Inputs:
    """A micro-batch of b rows for a network."""

    input_ids: Tensor  # (b, P + r)
    attention_mask: Tensor  # (b, P + r) 1 on tokens, 0 on padding
    pictures: Pictures  # of all rows, one after the other
    start: int  # P, the column of every row's first response token

    @property
    def responses(self) -> Tensor:
        """(b, r) response tokens."""
        return self.input_ids[:, self.start :]

    def before_responses(self, hidden: Tensor) -> Tensor:
        """Of hidden states (b, P + r, D), the (b, r, D) ones that each response token is predicted and valued from."""
        return hidden[:, self.start - 1 : -1]


def gather(
    prompt_ids: list[Tensor],
    pictures: list[Pictures],
    rollouts: Sequence[Sequence[Rollout]],
    trained: Sequence[bool],
) -> Experience:
    """Pad the rollouts of all prompts into one table; `trained` says of each row whether the losses see it."""
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
    return Experience(prompt_ids, pictures, prompt, tokens, logprobs, lengths, mask)


def collate(experience: Experience, rows: Tensor, pad: int, device: torch.device) -> Inputs:
    """The micro-batch of the given rows, no wider than its longest prompt and response."""
    prompts = [experience.prompt_ids[index] for index in experience.prompt[rows].tolist()]
    lengths = experience.lengths[rows].tolist()
    start, width = max(len(ids) for ids in prompts), max(lengths)
    input_ids = torch.full((len(rows), start + width), pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for at, (row, ids, length) in enumerate(zip(rows.tolist(), prompts, lengths, strict=True)):
        input_ids[at, start - len(ids) : start] = ids
        input_ids[at, start : start + length] = experience.tokens[row, :length]
        attention_mask[at, start - len(ids) : start + length] = 1
    own = [experience.pictures[index] for index in experience.prompt[rows].tolist()]
    pictures = {name: torch.cat([one[name] for one in own]).to(device) for name in own[0]}
    return Inputs(input_ids.to(device), attention_mask.to(device), pictures, start)


def partition(
    experience: Experience, minibatches: int, micro_batch: int, generator: torch.Generator
) -> list[list[Tensor]]:
    """Shuffled rows as mini-batches (one optimizer step each) of micro-batches (one forward pass each).

    Sizes of mini-batches differ by at most one row and depend on B alone, so that all ranks make the same number of
    passes. Within a mini-batch rows are sorted by length, which spares padding and changes no gradient.
    """
    sizes = torch.tensor([len(ids) for ids in experience.prompt_ids])[experience.prompt] + experience.lengths
    order = torch.randperm(len(experience), generator=generator)
    result = []
    for rows in order.tensor_split(minibatches):
        by_length = rows[torch.argsort(sizes[rows], stable=True)]
        result.append(list(by_length.split(micro_batch)))
    return result
