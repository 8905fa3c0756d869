"""Rollouts: the policy's responses to prompts, and the worker that samples them with the inference engine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from step3vl.data.errors import UserError
from step3vl.data.sample import Image

if TYPE_CHECKING:
    from step3vl.inference.client import Request

SHARED_GPU = 0.3
"""Share of a GPU's free memory for the keys and values of a worker: the trainer needs the rest."""


@dataclass(frozen=True)
class RolloutPrompt:
    """A prompt as a rollout worker takes it, encoded as the trainer sees it."""

    sample: str
    """Id of the sample."""
    token_ids: tuple[int, ...]
    """Its tokens up to the answer's first, those of images included."""
    images: tuple[Image, ...]
    """Its encoded images, in the order of their tokens."""


@dataclass(frozen=True)
class PolicyRollout:
    """One response sampled from the policy."""

    token_ids: tuple[int, ...]
    """The sampled tokens, the end of turn included."""
    logprobs: tuple[float, ...]
    """Log-probability of each token by the distribution that it was sampled from, fp32."""
    text: str
    """The response with its reasoning."""
    finish_reason: str
    """`stop` where the response ended its turn, `length` where it reached the limit."""
    version: int
    """Weight updates of the policy before it was sampled."""


class RolloutWorker:
    """A policy that samples responses; runs as a Ray actor, see `rollout_actor`. Call `load` first.

    Args:
        model: Folder of an exported model.
        precision: `bf16`, or anything else for float32.
        threads: Threads of torch.
        device: Where it runs.
    """

    def __init__(self, model: str, precision: str = "fp32", threads: int = 1, device: str = "cpu") -> None:
        self._model, self._precision, self._threads, self._device = model, precision, threads, device
        self._version = 0

    def load(self) -> int:
        """Load the model. Returns the number of this process.

        Raises:
            UserError: The model or the device cannot be used.
        """
        # Imported here: the process of a Ray actor first sets its threads, then loads torch's heavy users.
        torch.set_num_threads(self._threads)
        from step3vl.inference.engine import Engine
        from step3vl.model.checkpoint import load_model
        from step3vl.model.devices import resolve_device

        device = resolve_device(self._device)
        dtype = torch.bfloat16 if self._precision == "bf16" else torch.float32
        model, processor = load_model(self._model, dtype=dtype, device=device)
        memory = int(SHARED_GPU * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
        self._engine = Engine(model, processor, device, memory)
        return os.getpid()

    def load_weights(self, weights: dict[str, Tensor], version: int) -> int:
        """Replace some of the weights.

        Args:
            weights: Those that training changes, by name; the others stay.
            version: Number of weight updates.

        Returns:
            The version.
        """
        self._engine.load_state({**self._engine.model.state_dict(), **weights})
        self._version = version
        return version

    def check(self, prompts: Sequence[RolloutPrompt], max_new_tokens: int) -> list[Exception | None]:
        """For each prompt the error with which it cannot be answered: an image is damaged, or it does not fit."""
        from step3vl.inference.client import Sampling
        from step3vl.training.loader import SAMPLE_ERRORS

        errors: list[Exception | None] = []
        for prompt in prompts:
            try:
                self._engine.check(_request(prompt), Sampling(max_new_tokens=max_new_tokens))
            except (UserError, *SAMPLE_ERRORS) as error:
                errors.append(error)
            else:
                errors.append(None)
        return errors

    def generate(
        self, prompts: Sequence[RolloutPrompt], n: int, max_new_tokens: int, temperature: float, seed: int
    ) -> list[list[PolicyRollout]]:
        """Sample `n` responses to each prompt from the full distribution (top-p 1, no top-k)."""
        from step3vl.inference.client import Sampling

        requests = [_request(prompt) for prompt in prompts]
        sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
        answers = self._engine.generate(requests, n=n, sampling=sampling, return_logprobs=True)
        return [
            [
                PolicyRollout(
                    token_ids=tuple(completion.token_ids),
                    logprobs=tuple(completion.logprobs or ()),
                    text=completion.text,
                    finish_reason=completion.finish_reason,
                    version=self._version,
                )
                for completion in completions
            ]
            for completions in answers
        ]


def _request(prompt: RolloutPrompt) -> "Request":
    from step3vl.inference.client import Request

    return Request(images=prompt.images, token_ids=prompt.token_ids)
