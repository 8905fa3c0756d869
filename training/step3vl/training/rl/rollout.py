"""Rollouts: Ray actors that hold a copy of the policy and sample responses with the inference engine."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from step3vl.data.sample import Image, Message
from step3vl.data.tokens import TokenIds


@dataclass(frozen=True)
class Prompt:
    """A question as a rollout worker takes it: messages without the answer, and their encoded pictures."""

    messages: tuple[Message, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Rollout:
    """One sampled response.

    `logprobs` are those of the distribution that each token was truly drawn from, fp32. `answer` stands after the
    thought, None where the thought was never closed. `version` counts the weight updates of the policy that spoke.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    answer: str | None
    stopped: bool
    version: int


class RolloutWorker:
    """A policy that answers; runs as a Ray actor, see `start_worker`."""

    def __init__(self, model: str, precision: str = "fp32", threads: int = 1) -> None:
        # Imported here: the process of a Ray actor first sets its threads, then loads torch's heavy users.
        torch.set_num_threads(threads)
        from step3vl.inference.engine import Engine
        from step3vl.model.checkpoint import load_model

        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._engine = Engine(*load_model(model, dtype=dtype))
        self._ids = TokenIds.of(self._engine.tokenizer)
        self._version = 0

    def load_weights(self, weights: dict[str, Tensor], version: int) -> int:
        """Take over the named weights (those that training changes; the rest stay). Returns the version."""
        self._engine.load_state({**self._engine.model.state_dict(), **weights})
        self._version = version
        return version

    def generate(
        self, prompts: Sequence[Prompt], n: int, max_new_tokens: int, temperature: float, seed: int
    ) -> list[list[Rollout]]:
        """`n` responses to each prompt, all tokens drawn from the whole distribution (top-p 1, no top-k)."""
        from step3vl.inference.engine import Request, Sampling

        requests = [Request(prompt.messages, prompt.images) for prompt in prompts]
        sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
        answers = self._engine.generate(requests, n=n, sampling=sampling, return_logprobs=True)
        return [[self._rollout(completion) for completion in completions] for completions in answers]

    def _rollout(self, completion: Any) -> Rollout:
        closed = self._ids.end_think in completion.token_ids
        return Rollout(
            token_ids=tuple(completion.token_ids),
            logprobs=tuple(completion.logprobs),
            answer=completion.answer if closed else None,
            stopped=completion.finish_reason == "stop",
            version=self._version,
        )


@contextmanager
def ray_session(cpus: int) -> Iterator[None]:
    """A Ray cluster for the time of the block, the same one on every rank.

    The cluster that `RAY_ADDRESS` names is joined and left running; else rank 0 starts one on this machine with `cpus`
    slots, tells the other ranks its address, and ends it with the block, also after an error.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Without this Ray warns once a process about a change of default that does not concern processes without GPUs.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    several = dist.is_initialized() and dist.get_world_size() > 1
    first = not several or dist.get_rank() == 0
    shared = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"logging_level": "warning", "log_to_driver": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        if shared:
            ray.init(address=shared, **quiet)
        elif first:
            # A local address asks for a new cluster even where another one runs on this machine.
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        if several and not shared:
            address = [ray.get_runtime_context().gcs_address if first else None]
            dist.broadcast_object_list(address, src=0)
            if not first:
                ray.init(address=address[0], **quiet)
        # Ray's own handler prints a stack, as if being asked to end were a crash.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield
        if several:
            dist.barrier()  # nobody pulls the cluster away from a rank that still uses it
    finally:
        # After a Ctrl-C, which reaches every rank, the launcher's signal comes as a second one; this must be finished.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


def start_worker(model: str, precision: str, threads: int = 1) -> Any:
    """A rollout worker as a Ray actor that holds one CPU slot; it ends with this process."""
    import ray

    return ray.remote(num_cpus=1)(RolloutWorker).remote(model, precision, threads)
