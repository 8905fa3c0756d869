"""Consolidate the shards of a ZeRO checkpoint: for another number of processes, or to the weights of the model.

DeepSpeed's universal checkpoint, which another number of processes can load, is a folder with each parameter and each
of its optimizer states unpartitioned. It is made from the shards when it is needed, beside the checkpoint, and removed
when all ranks have loaded from it.
"""

import io
import logging
import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from step3vl.training.distributed import wait_for_all
from step3vl.training.engine import DeepSpeedEngine

logger = logging.getLogger(__name__)


def load_resharded(engine: DeepSpeedEngine, checkpoint: Path, name: str) -> None:
    """Load what another number of ranks saved. All ranks call it.

    Args:
        engine: The DeepSpeed engine of this rank.
        checkpoint: Folder of the checkpoint.
        name: Name of the engine in it.
    """
    universal = checkpoint.with_name(f".{checkpoint.name}.universal")
    if dist.get_rank() == 0:
        logger.info("consolidating the shards of %s for %d processes", checkpoint, dist.get_world_size())
        shutil.rmtree(universal, ignore_errors=True)
        _consolidate(checkpoint / name, universal / name)
    wait_for_all("consolidating the shards of a checkpoint")
    settings = [{key: group[key] for key in group if key != "params"} for group in engine.optimizer.param_groups]
    engine._config.load_universal_checkpoint = True
    engine.load_checkpoint(str(universal), tag=name, load_lr_scheduler_states=False)
    engine._config.load_universal_checkpoint = False
    if engine.zero_optimization_stage() == 3:
        # DeepSpeed 0.19 gives every group the settings of the first, and all parameters one counter of steps.
        for group, original in zip(engine.optimizer.param_groups, settings, strict=True):
            group.update(original)
        for state in engine.optimizer.optimizer.state.values():
            state["step"] = state["step"].clone()
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(universal)


def consolidated_weights(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """The weights of an engine in float32, in one process.

    Args:
        checkpoint: Folder of the checkpoint.
        name: Name of the engine in it.
    """
    weights: dict[str, Tensor] = {}
    unpartitioned = checkpoint / name / "mp_rank_00_model_states.pt"  # partitioned with ZeRO-3
    if unpartitioned.is_file():
        module = torch.load(unpartitioned, map_location="cpu", weights_only=False)["module"]
        weights = {parameter: tensor.float() for parameter, tensor in module.items()}
    if any((checkpoint / name).glob("*optim_states.pt")):
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise DeepSpeed warns that it found no GPU
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        with _without_output():
            # What the optimizer holds is exact in bf16 too; frozen parameters are not among it.
            weights |= get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), name)
    return weights


def _consolidate(shards: Path, universal: Path) -> None:
    from deepspeed.checkpoint import ds_to_universal

    universal.mkdir(parents=True)
    with _without_output():
        ds_to_universal.main(
            Namespace(
                input_folder=str(shards),
                output_folder=str(universal),
                num_extract_workers=1,
                num_merge_workers=1,
                keep_temp_folder=False,
                strict=True,
                inject_missing_state=True,  # ours has none: no parameter is split over ranks but by ZeRO
            )
        )


@contextmanager
def _without_output() -> Iterator[None]:
    """Drop what DeepSpeed prints of its progress."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
