"""Checkpoints from which a run resumes bit for bit, and exports that others read.

`checkpoints/step-00000500/` holds the shards of each DeepSpeed engine, the random state of each rank, and
`state.json`: the progress of the run, its provenance, and the size and hash of every file. It is written under another
name and renamed when complete; `checkpoints/latest`, replaced after that, names the one to resume from.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
import torch.distributed as dist
from pydantic import JsonValue, ValidationError
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.storage import write_durably
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, save_checkpoint
from step3vl.model.checkpoint import load_config, load_processor
from step3vl.training.distributed import gather_objects, wait_for_all
from step3vl.training.engine import DeepSpeedEngine, check_weights, gathered
from step3vl.training.reshard import consolidated_weights, load_resharded

logger = logging.getLogger(__name__)

FORMAT = 2
"""Version of state.json. Format 1 named the configuration's fields and the cursor's otherwise: it can be exported, and
not resumed."""
_RANK = re.compile(r"(?:pp_rank_|random-)(\d+)")  # in the names that DeepSpeed and `save` give to files of a rank
FOLDER, LATEST, STATE, MODEL = "checkpoints", "latest", "state.json", "model"


class FileDigest(Config):
    """Size in bytes and SHA-256 of a file of a checkpoint."""

    size: int
    sha256: str


class Provenance(Config):
    """What decides the steps of a run; a checkpoint is resumed only by a run of the same provenance."""

    zero_stage: int
    """What ZeRO partitions."""
    model: str
    """The model's configuration as JSON."""
    tokenizer: str
    """Fingerprint of the tokenizer."""
    dataset: dict[str, str]
    """Fingerprint of each dataset by its URL."""
    configuration: dict[str, JsonValue]
    """The run's configuration without the fields that change nothing in what is learned."""


class CheckpointState(Config):
    """state.json of a checkpoint."""

    format: int = FORMAT
    """Version of this file."""
    progress: dict[str, JsonValue]
    """Where the trainer stood."""
    provenance: Provenance
    """The run that wrote it."""
    processes: int
    """Number of ranks that wrote it."""
    files: dict[str, FileDigest]
    """Every other file, by its path relative to the checkpoint."""


class RandomState(TypedDict):
    """Random state of a rank."""

    torch: Tensor
    cuda: Tensor | None


def save(
    folder: Path,
    step: int,
    engines: Mapping[str, DeepSpeedEngine],
    progress: dict[str, JsonValue],
    provenance: Provenance,
    keep: int,
) -> Path:
    """Write `folder/step-NNNNNNNN`, point `latest` to it and remove all but the last `keep`. All ranks call it.

    Args:
        folder: The folder of all checkpoints of a run.
        step: Number of the optimizer step, or of the iteration.
        engines: DeepSpeed engines by name.
        progress: What `load` returns.
        provenance: What `load` compares.
        keep: The number of checkpoints to keep.

    Returns:
        The folder of the checkpoint.

    Raises:
        NonFiniteError: On every rank alike: a weight is infinite or not a number. Nothing is written.
    """
    for engine in engines.values():
        check_weights(engine)
    final = folder / f"step-{step:08d}"
    draft = folder / f".{final.name}.draft"
    if dist.get_rank() == 0:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    dist.barrier()
    for name, engine in engines.items():
        engine.save_checkpoint(str(draft), tag=name, save_latest=False)
    torch.save(_random_state(), draft / f"random-{dist.get_rank()}.pt")
    wait_for_all("writing a checkpoint")
    names = sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file())
    digests = {name: _digest(draft / name) for name in _files_of_rank(names)}
    wait_for_all("hashing a checkpoint")
    by_rank = gather_objects(digests)
    if dist.get_rank() == 0:
        files = {name: digest for part in by_rank for name, digest in part.items()}
        state = CheckpointState(progress=progress, provenance=provenance, processes=dist.get_world_size(), files=files)
        write_durably(draft / STATE, state.model_dump_json(indent=1).encode())
        shutil.rmtree(final, ignore_errors=True)  # left by a run that was killed before it pointed `latest` here
        draft.rename(final)
        write_durably(folder / LATEST, final.name.encode())
        for old in sorted(folder.glob("step-*"))[:-keep]:
            shutil.rmtree(old)
    dist.barrier()
    return final


def load(
    folder: Path,
    engines: Mapping[str, DeepSpeedEngine],
    provenance: Provenance,
    accept_changed_data: bool | None = None,
) -> dict[str, JsonValue] | None:
    """Restore the engines and this rank's random state from the latest checkpoint. All ranks call it.

    Args:
        folder: The folder of all checkpoints of a run.
        engines: DeepSpeed engines by name.
        provenance: That of this run.
        accept_changed_data: Whether to accept other datasets; None where the user has no such choice.

    Returns:
        The progress that was saved; None where there is no checkpoint.

    Raises:
        UserError: On every rank alike: the checkpoint is damaged, has another format, or was written by a run of
            another provenance.
    """
    message: list[Path | UserError | None] = [None]
    if dist.get_rank() == 0:
        try:
            path = latest(folder)
            if path is not None:
                _check_provenance(path, provenance, accept_changed_data)
            message = [path]  # each rank hashes its files below
        except UserError as refusal:
            message = [refusal]
    dist.broadcast_object_list(message)
    (checkpoint,) = message
    if isinstance(checkpoint, UserError):
        raise checkpoint
    if checkpoint is None:
        return None
    state = read_state(checkpoint)
    damage = _first_damage(checkpoint, {name: state.files[name] for name in _files_of_rank(state.files)})
    wait_for_all("comparing the files of a checkpoint with their hashes")
    for error in gather_objects(damage):
        if error is not None:
            raise error
    for name, engine in engines.items():
        if engine.zero_optimization_stage() and state.processes != dist.get_world_size():
            load_resharded(engine, checkpoint, name)
        else:
            engine.load_checkpoint(str(checkpoint), tag=name, load_lr_scheduler_states=False)
    random = checkpoint / f"random-{dist.get_rank()}.pt"
    if random.exists():  # the number of processes may have grown
        _set_random_state(torch.load(random))
    return state.progress


def latest(folder: Path) -> Path | None:
    """The checkpoint that `latest` names, None before the first.

    Raises:
        UserError: That checkpoint is missing.
    """
    try:
        name = (folder / LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    path = folder / name
    if not name.startswith("step-") or not path.is_dir():
        raise UserError(f"{folder / LATEST} names {name!r}, which is missing: {_recovery(folder, name)}")
    return path


def read_state(path: Path) -> CheckpointState:
    """Read `state.json` of a checkpoint to resume from.

    Raises:
        UserError: It is missing or broken, or of another format.
    """
    values = _read_json(path)
    version = values.get("format", 1)
    if version != FORMAT:
        raise UserError(
            f"{path} has checkpoint format {version}, and this version of step3vl resumes format {FORMAT}: finish the "
            "run with the version that began it, or give another output (step3vl export still reads it)"
        )
    try:
        return CheckpointState.model_validate(values)
    except ValidationError:
        raise _broken(path) from None


def check_files(path: Path) -> None:
    """Compare the files of a checkpoint of any format with their recorded hashes.

    Raises:
        UserError: A file is missing or has changed; the message names the first one.
    """
    values = _read_json(path)
    if values.get("format", 1) > FORMAT:
        raise UserError(f"{path} has checkpoint format {values['format']}, which needs a newer version of step3vl")
    try:
        files = {name: FileDigest.model_validate(digest) for name, digest in values["files"].items()}
    except (KeyError, AttributeError, ValidationError):
        raise _broken(path) from None
    damage = _first_damage(path, files)
    if damage is not None:
        raise damage


def _first_damage(path: Path, files: Mapping[str, FileDigest]) -> UserError | None:
    """The error of the first file that is missing or has changed."""
    for name, digest in files.items():
        file = path / name
        if not file.is_file() or _digest(file) != digest:
            problem = "has changed since it was written" if file.is_file() else "is missing"
            return UserError(f"{file} {problem}: {_recovery(path.parent, path.name)}")
    return None


def _files_of_rank(names: Iterable[str]) -> list[str]:
    """The files of a checkpoint that this rank wrote, and so reads from its own cache; every file has one rank.

    Where a checkpoint was written by more ranks, theirs are divided.
    """
    numbers = ((name, _RANK.search(name)) for name in names)
    rank, world = dist.get_rank(), dist.get_world_size()
    return [name for name, number in numbers if (int(number[1]) if number else 0) % world == rank]


def export(engine: DeepSpeedEngine, processor: Step3VLProcessor, out: Path) -> None:
    """Write the model of an engine as a Hugging Face folder, complete or not at all. All ranks call it.

    Raises:
        NonFiniteError: On every rank alike: a weight is infinite or not a number.
    """
    check_weights(engine)
    with gathered(engine):
        if dist.get_rank() == 0:
            _publish(engine.module, processor, out)
    wait_for_all("exporting the model")


def describe_model(model: Step3VLForConditionalGeneration, processor: Step3VLProcessor, folder: Path) -> None:
    """Put what `export_checkpoint` needs beside the weights, once a run: configuration, tokenizer, image sizes."""
    path = folder / MODEL
    path.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(path)
    processor.save_pretrained(path)
    processor.image_processor.save_pretrained(path)


def export_checkpoint(checkpoint: str | Path, out: str | Path) -> None:
    """Turn a checkpoint into a Hugging Face folder with float32 weights, in one process.

    Args:
        checkpoint: A run's output, its checkpoints folder, or a checkpoint in it.
        out: A new or empty folder.

    Raises:
        UserError: There is no checkpoint, it is damaged, or `out` is not empty.
    """
    source, target = Path(checkpoint), Path(out)
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} is not empty: give the name of a new folder")
    path = source if (source / STATE).is_file() else latest(source / FOLDER if (source / FOLDER).is_dir() else source)
    if path is None:
        raise UserError(f"no checkpoint at {source}: give the output of a training stage, or a step-… folder in it")
    check_files(path)
    model = Step3VLForConditionalGeneration(load_config(path.parent / MODEL))
    model.load_state_dict(consolidated_weights(path, MODEL))
    _publish(model, load_processor(path.parent / MODEL), target)


def _publish(model: Step3VLForConditionalGeneration, processor: Step3VLProcessor, out: Path) -> None:
    disable_progress_bar()  # one more would break that of the run
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    save_checkpoint(model, processor, draft)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)


def _check_provenance(path: Path, provenance: Provenance, accept_changed_data: bool | None) -> None:
    saved = read_state(path).provenance.model_dump()
    for name, value in provenance.model_dump().items():
        if saved[name] == value:
            continue
        fields = f" ({', '.join(_differences(saved[name], value))})" if isinstance(value, dict) else ""
        problem = f"{path} was written with another {name.replace('_', ' ')}{fields}"
        if name == "dataset" and accept_changed_data:
            logger.warning("%s; the run resumes at the same position of the new one", problem)
            continue
        choice = ""
        if name == "dataset" and accept_changed_data is not None:
            choice = (
                "; checkpoint.accept_changed_data=true resumes all the same, with other samples than the run would "
                "have had"
            )
        raise UserError(f"{problem}: restore it, or give another output{choice}")


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields that differ."""
    names: list[str] = []
    for name in sorted(old | new):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            names += _differences(before, now, f"{prefix}{name}.")
        elif before != now:
            names.append(f"{prefix}{name}")
    return names


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise _broken(path)
    return values


def _broken(path: Path) -> UserError:
    return UserError(f"{path / STATE} is missing or broken: {_recovery(path.parent, path.name)}")


def _recovery(folder: Path, name: str) -> str:
    """How to recover from the loss of a checkpoint."""
    others = [path.name for path in sorted(folder.glob("step-*")) if path.name != name]
    if not others:
        return f"remove {folder} to start from the beginning"
    resume = f"write {others[-1]} into {folder / LATEST} to resume from there"
    return f"{resume}, or remove {folder} to start from the beginning"


def _digest(path: Path) -> FileDigest:
    with path.open("rb") as file:
        return FileDigest(size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _random_state() -> RandomState:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: RandomState) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"])
