"""Checkpoints from which a run goes on bit for bit, and exports that others read.

`checkpoints/step-00000500/` holds the shards of each DeepSpeed engine, the random state of each rank, and
`state.json`: where the run stood, what it was made with, and the size and hash of every file. It is written under
another name and renamed when whole; `checkpoints/latest`, replaced after that, names the one to go on from.
"""

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, save_checkpoint
from step3vl.model.checkpoint import load_config, load_processor
from step3vl.training.elastic import load_regrouped
from step3vl.training.engine import gathered

logger = logging.getLogger(__name__)

FOLDER, LATEST, STATE, MODEL = "checkpoints", "latest", "state.json", "model"


def save(
    folder: Path, step: int, engines: Mapping[str, Any], progress: dict[str, Any], made_with: dict[str, Any], keep: int
) -> Path:
    """Write `folder/step-NNNNNNNN`, point `latest` to it and remove all but the last `keep`. All ranks call it.

    `progress` is what `load` gives back, `made_with` what it compares: both JSON-able.
    """
    final = folder / f"step-{step:08d}"
    draft = folder / f".{final.name}.draft"
    if dist.get_rank() == 0:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    dist.barrier()
    for name, engine in engines.items():
        engine.save_checkpoint(str(draft), tag=name, save_latest=False)
    torch.save(_random_state(), draft / f"random-{dist.get_rank()}.pt")
    dist.barrier()
    if dist.get_rank() == 0:
        files = {str(path.relative_to(draft)): _stamp(path) for path in sorted(draft.rglob("*")) if path.is_file()}
        state = {"progress": progress, "made_with": made_with, "processes": dist.get_world_size(), "files": files}
        write_durably(draft / STATE, json.dumps(state, indent=1).encode())
        shutil.rmtree(final, ignore_errors=True)  # left by a run that died before it pointed `latest` here
        draft.rename(final)
        write_durably(folder / LATEST, final.name.encode())
        for old in sorted(folder.glob("step-*"))[:-keep]:
            shutil.rmtree(old)
    dist.barrier()
    return final


def load(
    folder: Path, engines: Mapping[str, Any], made_with: dict[str, Any], accept_changed_data: bool | None = None
) -> dict[str, Any] | None:
    """Restore the engines and this rank's random state from the latest checkpoint; None when there is none.

    Returns its progress. Raises UserError, on every rank alike, when it is damaged or was made with another
    configuration, dataset, tokenizer or model. `accept_changed_data` takes another dataset all the same; None means
    that the user has no such choice.
    """
    found: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            found = [latest(folder)]
            if found[0] is not None:
                _check(found[0], made_with, accept_changed_data)
        except UserError as error:
            found = [error]
    dist.broadcast_object_list(found)
    if isinstance(found[0], UserError):
        raise found[0]
    if found[0] is None:
        return None
    path: Path = found[0]
    state = read_state(path)
    for name, engine in engines.items():
        if engine.zero_optimization_stage() and state["processes"] != dist.get_world_size():
            load_regrouped(engine, path, name)
        else:
            engine.load_checkpoint(str(path), tag=name, load_lr_scheduler_states=False)
    random = path / f"random-{dist.get_rank()}.pt"
    if random.exists():  # the number of processes may have grown
        _set_random_state(torch.load(random))
    return state["progress"]


def latest(folder: Path) -> Path | None:
    """The checkpoint that `latest` names, None before the first. Raises UserError when it is gone."""
    try:
        name = (folder / LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    path = folder / name
    if not name.startswith("step-") or not path.is_dir():
        raise UserError(f"{folder / LATEST} names {name!r}, which is not there: {_mend(folder, name)}")
    return path


def read_state(path: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint. Raises UserError when it is missing or broken."""
    try:
        return json.loads((path / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise UserError(f"{path / STATE} is missing or broken: {_mend(path.parent, path.name)}") from None


def check_files(path: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UserError naming the first file of a checkpoint that is missing or has changed."""
    for name, stamp in files.items():
        file = path / name
        if not file.is_file() or _stamp(file) != stamp:
            what = "has changed since it was written" if file.is_file() else "is missing"
            raise UserError(f"{file} {what}: {_mend(path.parent, path.name)}")


def export(engine: Any, processor: Step3VLProcessor, out: Path) -> None:
    """Write the model of an engine as a Hugging Face folder, whole or not at all. All ranks call it."""
    with gathered(engine):
        if dist.get_rank() == 0:
            _publish(engine.module, processor, out)
    dist.barrier()


def describe_model(model: Step3VLForConditionalGeneration, processor: Step3VLProcessor, folder: Path) -> None:
    """Put what `export_checkpoint` needs beside the weights, once a run: configuration, tokenizer, picture sizes."""
    path = folder / MODEL
    path.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(path)
    processor.save_pretrained(path)
    processor.image_processor.save_pretrained(path)


def export_checkpoint(checkpoint: str | Path, out: str | Path) -> None:
    """Turn a checkpoint into a Hugging Face folder, with float32 weights and in one process.

    `checkpoint` is a run's output, its checkpoints folder, or one checkpoint in it. Raises UserError when there is
    none, it is damaged, or `out` is not empty.
    """
    given, target = Path(checkpoint), Path(out)
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} is not empty: give the name of a new folder")
    path = given if (given / STATE).is_file() else latest(given / FOLDER if (given / FOLDER).is_dir() else given)
    if path is None:
        raise UserError(f"no checkpoint at {given}: give the output of a training stage, or a step-… folder in it")
    check_files(path, read_state(path)["files"])
    model = Step3VLForConditionalGeneration(load_config(path.parent / MODEL))
    model.load_state_dict(_weights(path))
    _publish(model, load_processor(path.parent / MODEL), target)


def _weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint in float32, put together from the shards of all ranks."""
    weights: dict[str, Tensor] = {}
    whole = path / MODEL / "mp_rank_00_model_states.pt"  # not with ZeRO-3, which keeps no module whole
    if whole.is_file():
        module = torch.load(whole, map_location="cpu", weights_only=False)["module"]
        weights = {name: tensor.float() for name, tensor in module.items()}
    if any((path / MODEL).glob("*optim_states.pt")):
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise DeepSpeed warns that it found no GPU
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it prints its progress
            # What the optimizer holds is exact in bf16 too; frozen parameters are not among it.
            weights |= get_fp32_state_dict_from_zero_checkpoint(str(path), MODEL)
    return weights


def _publish(model: Step3VLForConditionalGeneration, processor: Step3VLProcessor, out: Path) -> None:
    disable_progress_bar()  # one more would break that of the run
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    save_checkpoint(model, processor, draft)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)


def _check(path: Path, made_with: dict[str, Any], accept_changed_data: bool | None) -> None:
    state = read_state(path)
    check_files(path, state["files"])
    for name, value in made_with.items():
        before = state["made_with"].get(name)
        if before != value:
            fields = _changed(before, value) if isinstance(value, dict) and isinstance(before, dict) else ""
            what = f"{path} was made with another {name.replace('_', ' ')}{fields}"
            if name == "dataset" and accept_changed_data:
                logger.warning("%s; the run goes on at the same place of the new one", what)
                continue
            choice = ""
            if name == "dataset" and accept_changed_data is not None:
                choice = (
                    "; accept_changed_data=true goes on all the same, with other samples than the run would have had"
                )
            raise UserError(f"{what}: restore it, or give another output{choice}")


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    return f" ({', '.join(name for name in sorted(before | now) if before.get(name) != now.get(name))})"


def _mend(folder: Path, name: str) -> str:
    others = [path.name for path in sorted(folder.glob("step-*")) if path.name != name]
    if not others:
        return f"remove {folder} to start anew"
    return f"write {others[-1]} into {folder / LATEST} to go on from there, or remove {folder} to start anew"


def _stamp(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"])
