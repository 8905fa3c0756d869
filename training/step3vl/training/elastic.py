"""A ZeRO checkpoint of one number of processes, loaded by another.

DeepSpeed's universal checkpoint is a folder with each parameter and each of its optimiser states whole. It is made
from the shards when it is needed, beside the checkpoint, and removed when all ranks have loaded from it.
"""

import io
import logging
import shutil
from argparse import Namespace
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch.distributed as dist

logger = logging.getLogger(__name__)


def load_regrouped(engine: Any, checkpoint: Path, name: str) -> None:
    """Load what other ranks saved as `checkpoint/name` into the engine of this one. All ranks call it."""
    whole = checkpoint.with_name(f".{checkpoint.name}.whole")
    if dist.get_rank() == 0:
        logger.info("%s is put together from the shards of its ranks", checkpoint)
        shutil.rmtree(whole, ignore_errors=True)
        _put_together(checkpoint / name, whole / name)
    dist.barrier()
    groups = [{key: group[key] for key in group if key != "params"} for group in engine.optimizer.param_groups]
    engine._config.load_universal_checkpoint = True
    engine.load_checkpoint(str(whole), tag=name, load_lr_scheduler_states=False)
    engine._config.load_universal_checkpoint = False
    if engine.zero_optimization_stage() == 3:
        # DeepSpeed 0.19 gives every group the settings of the first, and all parameters one counter of steps.
        for group, own in zip(engine.optimizer.param_groups, groups, strict=True):
            group.update(own)
        for state in engine.optimizer.optimizer.state.values():
            state["step"] = state["step"].clone()
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(whole)


def _put_together(shards: Path, whole: Path) -> None:
    from deepspeed.checkpoint import ds_to_universal

    whole.mkdir(parents=True)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it prints its progress
        ds_to_universal.main(
            Namespace(
                input_folder=str(shards),
                output_folder=str(whole),
                num_extract_workers=1,
                num_merge_workers=1,
                keep_temp_folder=False,
                strict=True,
                inject_missing_state=True,  # ours has nothing to tell: no parameter is split over ranks but by ZeRO
            )
        )
