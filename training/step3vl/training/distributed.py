"""Values of all ranks: sums, sequences that were split over the ranks by stride, and waiting with a limit."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from step3vl.data.errors import UserError

T = TypeVar("T")

LONG_WAIT = timedelta(hours=2)
"""How long ranks wait for a task of one of them, such as the export of the model."""

_waiting_group: tuple[dist.ProcessGroup, dist.ProcessGroup] | None = None  # and the world that it belongs to


def global_sums(*numbers: float) -> list[float]:
    """Each number summed over all ranks, in double precision; the numbers themselves where there is one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return [float(number) for number in numbers]
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    packed = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(packed)
    return packed.tolist()


def node_count() -> int:
    """Nodes of the run, by what the launcher says. All ranks call it.

    It is 1 where the nodes do not have equal numbers of ranks that follow each other.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    world = dist.get_world_size()
    here = [int(os.environ.get(name, default)) for name, default in (("LOCAL_WORLD_SIZE", world), ("LOCAL_RANK", 0))]
    places = gather_objects(tuple(here))
    ranks = places[0][0]
    follow = all(place == (ranks, rank % ranks) for rank, place in enumerate(places))
    return world // ranks if world % ranks == 0 and follow else 1


def ranks_here() -> int:
    """Ranks on this machine, by what the launcher says; 1 without one."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def gather_interleaved(items: Sequence[T]) -> list[T]:
    """The items of all ranks in their global order, where rank r of N holds those at r, r + N, r + 2N, ..."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return list(items)
    by_rank = gather_objects(list(items))
    longest = max(len(share) for share in by_rank)
    return [share[position] for position in range(longest) for share in by_rank if position < len(share)]


def gather_objects(value: T) -> list[T]:
    """The value of each rank, in order."""
    values: list[T] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def wait_for_all(task: str, limit: timedelta = LONG_WAIT) -> None:
    """Wait until all ranks are here. All ranks call it.

    For tasks that take a rank longer than a collective may take; it works on the CPU, whatever the backend.

    Args:
        task: What is waited for, for the message.
        limit: How long.

    Raises:
        UserError: A rank did not arrive in time.
    """
    if dist.get_world_size() == 1:
        return
    global _waiting_group
    world = dist.group.WORLD
    assert world is not None  # the size is known
    if _waiting_group is None or _waiting_group[1] is not world:
        _waiting_group = (dist.new_group(backend="gloo", timeout=LONG_WAIT), world)
    try:
        dist.monitored_barrier(_waiting_group[0], timeout=limit, wait_all_ranks=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"not all ranks finished {task} in {limit}: {reason}") from None
