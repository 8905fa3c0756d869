"""A rank's rollout worker on Ray: started, called with a deadline, and replaced once if it is lost."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch.distributed as dist
from torch import Tensor

from step3vl.data.errors import UserError, describe_error
from step3vl.data.ray_session import ray_session
from step3vl.training.rl.rollout import PolicyRollout, RolloutPrompt, RolloutWorker

logger = logging.getLogger(__name__)

START_SECONDS = 900.0
"""Longest time in which a worker must have loaded its model."""

RolloutWorkerHandle: TypeAlias = Any
"""Ray's handle of an actor of the class `RolloutWorker`."""


class _WorkerLost(Exception):
    """The worker's process has ended, or it did not answer in time."""


class RolloutActor:
    """The rollout worker of this rank. One that dies or does not answer is replaced once.

    No error of Ray leaves it: an error inside the worker becomes a UserError, and its traceback a file.

    Args:
        start: Starts a worker; see `start_worker`.
        timeout: Longest time of a call, in seconds.
        traceback: The file for the traceback of an unexpected error inside the worker.
    """

    def __init__(self, start: Callable[[], RolloutWorkerHandle], timeout: float, traceback: Path) -> None:
        self._start, self._timeout, self._traceback = start, timeout, traceback
        self._replaced = False
        self.needs_weights = True
        """Whether the worker has the weights of its model's folder, and not those of the trainer."""
        self._launch()

    def load_weights(self, weights: dict[str, Tensor], version: int) -> None:
        """Send weights; see `RolloutWorker.load_weights`.

        Raises:
            UserError: The worker was lost a second time, or the call failed.
        """
        self._repeat("load_weights", weights, version)
        self.needs_weights = False

    def check(self, prompts: Sequence[RolloutPrompt], max_new_tokens: int) -> list[Exception | None]:
        """Find the prompts that cannot be answered; see `RolloutWorker.check`. Raises as `load_weights`."""
        return self._repeat("check", prompts, max_new_tokens) if prompts else []

    def generate(
        self, prompts: Sequence[RolloutPrompt], n: int, max_new_tokens: int, temperature: float, seed: int
    ) -> list[list[PolicyRollout]] | None:
        """Sample responses; see `RolloutWorker.generate`. Raises as `load_weights`.

        Returns:
            The responses; None where the worker was replaced, which `needs_weights` before it can sample.
        """
        if not prompts:
            return []
        try:
            return self._call("generate", prompts, n, max_new_tokens, temperature, seed)
        except _WorkerLost as lost:
            self._replace(lost)
            return None

    def process(self) -> int:
        """The process number of the worker."""
        self._await_start()
        return self._process

    def _repeat(self, method: str, *arguments: Any) -> Any:
        while True:
            try:
                return self._call(method, *arguments)
            except _WorkerLost as lost:
                self._replace(lost)

    def _replace(self, lost: _WorkerLost) -> None:
        import ray

        if self._replaced:
            raise UserError(
                f"the rollout worker {lost}, after one was replaced; give it more memory, or raise rollout.timeout if "
                "it is only slow. The same command resumes from the last checkpoint"
            )
        logger.warning("the rollout worker %s; another takes its place", lost)
        self._replaced = self.needs_weights = True
        ray.kill(self._handle)
        self._launch()

    def _launch(self) -> None:
        self._handle = self._start()
        self._loading = self._handle.load.remote()
        self._process = 0

    def _await_start(self) -> None:
        if not self._process:
            self._process = self._get(self._loading, START_SECONDS)

    def _call(self, method: str, *arguments: Any) -> Any:
        self._await_start()
        return self._get(getattr(self._handle, method).remote(*arguments), self._timeout)

    def _get(self, reference: Any, timeout: float) -> Any:
        import ray
        from ray import exceptions

        try:
            return ray.get(reference, timeout=timeout)
        except exceptions.GetTimeoutError:
            raise _WorkerLost(f"did not answer within {timeout:.0f} s") from None
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, UserError):
                raise UserError(str(cause)) from None
            self._traceback.parent.mkdir(parents=True, exist_ok=True)
            self._traceback.write_text(str(error), encoding="utf-8")
            raise UserError(f"the rollout worker failed: {describe_error(cause)}; see {self._traceback}") from None
        except exceptions.RayError as error:
            logger.debug("Ray: %s", error)
            raise _WorkerLost(f"was lost ({type(error).__name__})") from None


def start_worker(model: str, precision: str, threads: int = 1, device: str = "cpu") -> RolloutWorkerHandle:
    """Start a rollout worker as a Ray actor that takes one logical CPU; it ends with this process.

    On a GPU it shares that of its rank, and so stays on the rank's machine.

    Args:
        model: Folder of an exported model.
        precision: See `RolloutWorker`.
        threads: Threads of torch.
        device: Where it runs.

    Returns:
        The handle of the actor.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options: dict[str, Any] = {"num_cpus": 1}
    if device.startswith("cuda"):
        here = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id=here, soft=False)
    return ray.remote(**options)(RolloutWorker).remote(model, precision, threads, device)


@contextmanager
def ray_cluster_of_ranks(cpus: int) -> Iterator[None]:
    """Connect every rank to the same Ray cluster. All ranks enter and leave together.

    The cluster that `RAY_ADDRESS` names is joined and left running; otherwise rank 0 starts one on this machine and
    stops it after the block, also after an error.

    Args:
        cpus: Logical CPUs of a cluster that is started here.

    Raises:
        UserError: Ray is not installed, or the ranks are on several machines and RAY_ADDRESS is not set.
    """
    here, ranks = os.environ.get("LOCAL_WORLD_SIZE"), os.environ.get("WORLD_SIZE")
    if here and here != ranks and "RAY_ADDRESS" not in os.environ:
        raise UserError(
            f"{ranks} ranks run on machines of {here}: start a Ray cluster on all of them (`ray start`), and set "
            "RAY_ADDRESS to its address"
        )
    several = dist.is_initialized() and dist.get_world_size() > 1
    shares_address = several and "RAY_ADDRESS" not in os.environ
    handler = signal.getsignal(signal.SIGTERM)
    try:
        received: list[str | None] = [None]
        if shares_address and dist.get_rank() > 0:
            dist.broadcast_object_list(received, src=0)
        with ray_session(cpus, extra="training", address=received[0]) as address:
            if shares_address and dist.get_rank() == 0:
                dist.broadcast_object_list([address], src=0)
            # Ray's own handler prints a stack, as if a request to stop were a crash.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                yield
                if several:
                    dist.barrier()  # no rank stops the cluster while another uses it
            finally:
                # After a Ctrl-C, which reaches every rank, the launcher's signal comes as a second one; the shutdown
                # must complete.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGTERM, handler)
