"""DeepSpeed for every trainer, set up alike on two CPU cores and on a cluster.

Nothing is compiled at run time. DeepSpeed would build a shared-memory transport as soon as it joins a process group on
CPUs, and an Adam of its own when it makes the optimizer; the first is switched off, and the optimizer is torch's fused
AdamW.
"""

import importlib
import logging
import math
import os
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeAlias, TypedDict, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from step3vl.data.errors import UserError
from step3vl.data.optional import require
from step3vl.model import component_of
from step3vl.model.pretrained import Step3VLPreTrainedModel
from step3vl.training.config import EngineConfig, OptimizerConfig, Precision
from step3vl.training.distributed import global_sums

_log = logging.getLogger(__name__)

_CPU = not torch.cuda.is_available()

DeepSpeedEngine: TypeAlias = Any
"""`deepspeed.DeepSpeedEngine`, which has no types and is imported late."""


COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""How long a rank waits in a collective for the others before the run ends."""


class NonFiniteError(UserError):
    """The gradient norm or a weight is infinite or not a number; nothing has been saved since."""


class ParameterGroup(TypedDict):
    """A parameter group of the optimizer; `lr_scale` is its multiplier of the learning rate."""

    params: list[nn.Parameter]
    lr_scale: float
    weight_decay: float


def join() -> torch.device:
    """Join the process group that the launcher's environment describes: gloo on a CPU, NCCL on GPUs. Idempotent.

    Returns:
        The device of this rank.

    Raises:
        UserError: DeepSpeed is not installed.
    """
    # DeepSpeed calls names of torch.distributed that torch is about to rename.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    if _CPU:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise DeepSpeed warns that it found no GPU
    deepspeed = require("deepspeed", "training")
    if _CPU:
        # `import deepspeed.comm.torch` would give the top-level torch, which that package shadows.
        importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # type: ignore[attr-defined]
    else:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    deepspeed.init_distributed("gloo" if _CPU else "nccl", verbose=False, timeout=COLLECTIVE_TIMEOUT)
    return torch.device("cpu") if _CPU else torch.device("cuda", torch.cuda.current_device())


def leave() -> None:
    """Leave the process group together: a rank that exits early makes those fail that still communicate with it."""
    dist.barrier()
    dist.destroy_process_group()


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[ParameterGroup]:
    """Freeze the components with rate 0, and group the other parameters by rate and weight decay.

    Vectors (norms, biases, layer scales) are not decayed.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        scale = getattr(config.lr_scale, component_of(name))
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": members, "lr_scale": scale, "weight_decay": decay} for (scale, decay), members in groups.items()
    ]


def deepspeed_config(config: EngineConfig, accumulation: int, grad_clip: float) -> dict[str, Any]:
    """The DeepSpeed configuration of an engine; `accumulation` micro-batches make an optimizer step."""
    stage = config.zero_stage
    if config.precision == "bf16" and stage == 1:
        # With float32 gradients DeepSpeed gives stage 1 another optimizer, whose checkpoints zero_to_fp32 cannot read.
        stage = 2
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": config.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": grad_clip,
        "zero_optimization": {"stage": stage, "overlap_comm": not _CPU, "contiguous_gradients": True},
        "steps_per_print": 2**31,
    }
    if config.precision == "bf16":
        settings["bf16"] = {"enabled": True}
        # By default both are bfloat16: sums over micro-batches and over ranks lose the small gradients.
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
        settings["communication_data_type"] = "fp32"
    elif config.precision == "autocast":
        # Without the empty list, gradients would be summed over ranks in bfloat16.
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return settings


def start_engine(
    model: Step3VLPreTrainedModel,
    groups: Iterable[ParameterGroup],
    optimizer: OptimizerConfig,
    config: EngineConfig,
    accumulation: int = 1,
) -> DeepSpeedEngine:
    """Make a DeepSpeed engine around a model; call `join` first.

    With ZeRO-3 the parameters are partitioned here. Building the model under `deepspeed.zero.Init` instead would run
    its initialisation on partitions and give wrong weights.

    Args:
        model: The model, unpartitioned and alike on every rank.
        groups: See `parameter_groups`.
        optimizer: Settings of AdamW.
        config: ZeRO stage, precision, attention and recomputation.
        accumulation: Forward passes of an optimizer step.

    Raises:
        UserError: The attention needs a package that is missing.
    """
    import deepspeed

    try:
        model.set_attn_implementation({"text_config": config.attention})  # the encoder lets torch choose
    except (ImportError, ValueError) as error:
        raise UserError(f"engine.attention {config.attention}: {' '.join(str(error).split())}") from None
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if not _CPU and config.precision == "bf16":
        # For the heads, the only float32 products: their operands are bfloat16 values, which TF32 holds exactly.
        torch.backends.cuda.matmul.allow_tf32 = True
    adam = torch.optim.AdamW(
        cast(list[dict[str, Any]], list(groups)),
        lr=0.0,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.eps,
        fused=True,
    )
    settings = deepspeed_config(config, accumulation, optimizer.grad_clip)
    engine, *_ = deepspeed.initialize(model=model, optimizer=adam, config=settings)
    if is_slow(config.precision) and engine.global_rank == 0:
        _log.warning(
            "this processor has no AVX-512, without which PyTorch multiplies bfloat16 matrices about ten times as "
            "slowly as float32 ones: engine.precision fp32 is faster here"
        )
    return engine


def is_slow(precision: Precision) -> bool:
    """Whether this machine computes in bfloat16 more slowly than in float32: an x86 processor without AVX-512."""
    return _CPU and precision != "fp32" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")


def set_learning_rate(engine: DeepSpeedEngine, rate: float) -> None:
    """Set the rate of every parameter group: `rate` times its multiplier."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def backward(engine: DeepSpeedEngine, loss_sum: Tensor, global_weight: float) -> None:
    """Accumulate the gradient of sum(weight * nll) / (the sum of the weights over all ranks and micro-batches).

    DeepSpeed averages gradients over ranks, so the loss is multiplied by their number; it would also divide by the
    number of micro-batches, which is switched off. What remains is the plain sum of the parts of a global mean,
    whatever the micro-batch and the number of ranks.

    Args:
        engine: The DeepSpeed engine.
        loss_sum: The numerator of this micro-batch, a scalar.
        global_weight: The denominator.
    """
    scale = dist.get_world_size() / max(global_weight, 1e-8)
    engine.backward(loss_sum * scale, scale_wrt_gas=False)


def step(engine: DeepSpeedEngine) -> float:
    """Clip and apply the accumulated gradient.

    Call it after every `backward`: DeepSpeed counts micro-batches and acts on the last.

    Returns:
        The global norm before clipping; before the last micro-batch it is stale.

    Raises:
        NonFiniteError: The norm is infinite or not a number. The weights are unchanged, and every rank raises.
    """
    norm = None
    last = engine.is_gradient_accumulation_boundary()
    if last and isinstance(engine.optimizer, torch.optim.Optimizer):
        norm = _plain_norm(engine)
        _check_norm(norm)
    engine.step()  # ZeRO leaves out a step whose norm is not finite, and reports an infinite one
    if norm is None:
        norm = float(engine.get_global_grad_norm() or 0.0)
    if last:
        _check_norm(norm)
    return norm


def _check_norm(norm: float) -> None:
    if not math.isfinite(norm) or norm < 0:  # DeepSpeed reports some of them as -1
        raise NonFiniteError(f"the gradient norm is {norm}")


def check_weights(engine: DeepSpeedEngine) -> None:
    """Refuse weights that are infinite or not a number. All ranks call it; each looks at the shards that it holds.

    Raises:
        NonFiniteError: On every rank alike.
    """
    (count,) = global_sums(len(names := _non_finite(engine.module)))
    if count:
        example = f", {names[0]} among them" if names else ""
        raise NonFiniteError(f"weights are infinite or not a number{example}: lower the learning rate")


def check_finite(model: nn.Module, origin: str) -> None:
    """Refuse a model with weights that are infinite or not a number.

    Args:
        model: An unpartitioned model.
        origin: Where it comes from, for the message.

    Raises:
        UserError: The message names the first of these weights.
    """
    names = _non_finite(model)
    if names:
        raise UserError(f"{origin}: {names[0]} has values that are infinite or not a number ({len(names)} tensors)")


def _non_finite(model: nn.Module) -> list[str]:
    shards = ((name, getattr(tensor, "ds_tensor", tensor)) for name, tensor in model.named_parameters())  # of ZeRO-3
    return [name for name, shard in shards if not bool(torch.isfinite(shard).all())]


def _plain_norm(engine: DeepSpeedEngine) -> float:
    """The norm where DeepSpeed does not keep it: without ZeRO and in float32."""
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def gathered(engine: DeepSpeedEngine) -> AbstractContextManager[None]:
    """A context in which `engine.module` is unpartitioned on every rank, also with ZeRO-3. All ranks must enter."""
    if engine.zero_optimization_stage() < 3:
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(engine.module.parameters()))
