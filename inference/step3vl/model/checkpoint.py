"""Checkpoint folders: written for Hugging Face, vLLM and SGLang, read strictly.

A folder holds safetensors under the published names, `config.json`, `generation_config.json`, the tokenizer, the
processor and the chat template.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from step3vl.data.errors import UserError
from step3vl.data.tokens.vocabulary import TokenIds
from step3vl.model.configuration import Step3VLConfig
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor, chat_template
from step3vl.model.remote import write_remote_code

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def save_checkpoint(
    model: Step3VLForConditionalGeneration,
    processor: Step3VLProcessor,
    path: str | Path,
    *,
    state_dict: dict[str, Tensor] | None = None,
    remote_code: bool = True,
    max_shard_size: int | str = "5GB",
) -> None:
    """Write everything that `load_model`, `from_pretrained` and the servers need.

    Args:
        model: The model.
        processor: Its processor.
        path: The folder; it is created.
        state_dict: The weights, where they were gathered from other ranks; by default the model's own.
        remote_code: Whether to add the Python files with which `trust_remote_code=True` reads the folder where this
            package is not installed: transformers needs all of them, vLLM and SGLang the configuration.
        max_shard_size: Larger weights are split into several files with an index, as the released ones are.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=state_dict, max_shard_size=max_shard_size)
    if model.generation_config.eos_token_id is None:  # a released model has its own settings, a new one has none
        released_generation_config(TokenIds.of(processor.plain_tokenizer())).save_pretrained(folder)
    processor.save_pretrained(folder)
    # The wrapper stores its last padding; the plain tokenizer keeps the fingerprint that datasets record.
    processor.plain_tokenizer().save(str(folder / "tokenizer.json"))
    processor.image_processor.save_pretrained(folder)
    if remote_code:
        write_remote_code(folder)


def released_generation_config(ids: TokenIds) -> GenerationConfig:
    """The released generation settings for any vocabulary: plain sampling; `<im_patch>` is one of the end tokens.

    Args:
        ids: The special tokens of the vocabulary.
    """
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        eos_token_id=[ids.pad, ids.chat_end, ids.image_patch],
        pad_token_id=ids.pad,
        suppress_tokens=[token for token in suppressed_token_ids(ids) if token != ids.image_patch],
    )


def suppressed_token_ids(ids: TokenIds) -> tuple[int, ...]:
    """The ids that represent images in a prompt and must never be generated."""
    return (ids.image_patch, ids.image_start, ids.image_end, ids.patch_start, ids.patch_end, ids.patch_newline)


def load_model(
    path: str | Path, dtype: torch.dtype | None = None, device: str | torch.device | None = None
) -> tuple[Step3VLForConditionalGeneration, Step3VLProcessor]:
    """Load a folder that `save_checkpoint` wrote, or a released one.

    Args:
        path: The folder.
        dtype: The dtype of the weights; None keeps that of the files.
        device: Where to move the model.

    Returns:
        The model in evaluation mode, and its processor.

    Raises:
        UserError: For a missing folder or file, another model's config, a broken file, or a tensor that is missing,
            unexpected or of another shape.
    """
    folder = Path(path)
    config = load_config(folder)
    if not sys.stderr.isatty():
        disable_progress_bar()  # the bar of transformers would fill a log
    model = Step3VLForConditionalGeneration.from_pretrained(folder, config=config, dtype=dtype or "auto")
    if device is not None:
        model.to(device)
    return model.eval(), load_processor(folder)


def load_config(folder: Path) -> Step3VLConfig:
    """Read `config.json`.

    Raises:
        UserError: Unless it describes this model.
    """
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}: give the folder that holds config.json")
    file = folder / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json: give the folder of an exported model") from None
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    model_type = values.get("model_type")
    if model_type != Step3VLConfig.model_type:
        raise UserError(f"{file} is of model_type {model_type!r}; this command needs {Step3VLConfig.model_type!r}")
    try:
        return Step3VLConfig.from_dict(values)
    except Exception as error:  # validation errors of three libraries
        raise UserError(f"{file} cannot be used: {error}") from None


def load_processor(folder: Path) -> Step3VLProcessor:
    """Load the tokenizer, the chat template and the image sizes; a folder without sizes gets the released ones.

    Raises:
        UserError: When the tokenizer cannot be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no usable tokenizer: {str(error).splitlines()[0]}") from None
    sizes = {}
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            values = json.loads((folder / name).read_text(encoding="utf-8"))
            sizes = values.get("image_processor", values)
            break
    sizes = {name: value for name, value in sizes.items() if name in Step3VLImageProcessor().spec.model_fields_set}
    return Step3VLProcessor(
        Step3VLImageProcessor(**sizes), tokenizer, chat_template=tokenizer.chat_template or chat_template()
    )
