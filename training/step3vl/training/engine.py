"""DeepSpeed, set up the same way on two CPU cores and on a cluster, for every trainer here.

Nothing is compiled at run time. DeepSpeed would build a shared-memory transport as soon as it joins a process group on
CPUs, and an Adam of its own when it makes the optimiser; the first is switched off, and the optimiser is torch's fused
AdamW.
"""

import importlib
import os
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from step3vl.model import tower_of
from step3vl.training.config import OptimizerConfig, Precision

_CPU = not torch.cuda.is_available()


def join() -> torch.device:
    """Join the process group that the launcher's environment describes, and return this rank's device.

    gloo on a CPU, NCCL on GPUs. Idempotent.
    """
    # DeepSpeed calls names of torch.distributed that torch is about to rename.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    if _CPU:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise DeepSpeed warns that it found no GPU
    import deepspeed

    if _CPU:
        # `import deepspeed.comm.torch` would give the top-level torch, which that package shadows.
        importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # type: ignore[attr-defined]
    else:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    deepspeed.init_distributed("gloo" if _CPU else "nccl", verbose=False)
    return torch.device("cpu") if _CPU else torch.device("cuda", torch.cuda.current_device())


def leave() -> None:
    """Leave the process group together: a rank that ends while another still talks to it would bring that one down."""
    dist.barrier()
    dist.destroy_process_group()


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Freeze what has rate 0, and group the rest by rate and weight decay.

    Each group carries its multiplier as `lr_scale`, which `set_learning_rate` reads. Vectors (norms, biases, layer
    scales) are not decayed.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        scale = getattr(config.lr_scale, tower_of(name))
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": members, "lr_scale": scale, "weight_decay": decay} for (scale, decay), members in groups.items()
    ]


def deepspeed_config(
    zero_stage: int, precision: Precision, micro_batch: int, accumulation: int, grad_clip: float
) -> dict[str, Any]:
    """The DeepSpeed configuration of one engine; `accumulation` micro-batches make an optimiser step."""
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": grad_clip,
        "zero_optimization": {"stage": zero_stage, "overlap_comm": not _CPU, "contiguous_gradients": True},
        "steps_per_print": 2**31,
    }
    if precision == "bf16":
        settings["bf16"] = {"enabled": True}
    elif precision == "autocast":
        # Without the empty list, gradients would be summed over ranks in bfloat16.
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return settings


def start_engine(
    model: nn.Module,
    groups: Iterable[dict[str, Any]],
    optimizer: OptimizerConfig,
    *,
    zero_stage: int,
    precision: Precision,
    micro_batch: int = 1,
    accumulation: int = 1,
) -> Any:
    """A DeepSpeed engine around `model`, which must be built whole and alike on every rank; call `join` first.

    With ZeRO-3 the parameters are partitioned here. Building the model under `deepspeed.zero.Init` instead would run
    its initialisation on partitions and give wrong weights.
    """
    import deepspeed

    adam = torch.optim.AdamW(
        list(groups), lr=0.0, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.eps, fused=True
    )
    settings = deepspeed_config(zero_stage, precision, micro_batch, accumulation, optimizer.grad_clip)
    engine, *_ = deepspeed.initialize(model=model, optimizer=adam, config=settings)
    return engine


def set_learning_rate(engine: Any, rate: float) -> None:
    """Give every parameter group its share of `rate`."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def backward(engine: Any, loss_sum: Tensor, global_weight: float) -> None:
    """Accumulate the gradient of sum(weight * nll) / (the sum of the weights over all ranks and micro-batches).

    `loss_sum` is this micro-batch's numerator. DeepSpeed averages gradients over ranks, so the loss is multiplied by
    their number; it would also divide by the number of micro-batches, which is switched off. What remains is the plain
    sum of the parts of one global mean, whatever the micro-batch and the number of ranks.
    """
    scale = dist.get_world_size() / max(global_weight, 1e-8)
    engine.backward(loss_sum * scale, scale_wrt_gas=False)


def step(engine: Any) -> float:
    """Clip and apply the accumulated gradient. Returns its norm before clipping.

    Call it after every `backward`: DeepSpeed counts micro-batches and acts on the last; before, the norm is stale.
    """
    norm = None
    if isinstance(engine.optimizer, torch.optim.Optimizer) and engine.is_gradient_accumulation_boundary():
        norm = _plain_norm(engine)
    engine.step()
    return float(engine.get_global_grad_norm() or 0.0) if norm is None else norm


def _plain_norm(engine: Any) -> float:
    """Without ZeRO and in float32, DeepSpeed clips and does not keep the norm."""
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def gathered(engine: Any) -> AbstractContextManager[None]:
    """Inside, `engine.module` has whole parameters on every rank, with ZeRO-3 too. All ranks must enter."""
    if engine.zero_optimization_stage() < 3:
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(engine.module.parameters()))
