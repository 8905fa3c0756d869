"""Folders of weights: written for Hugging Face, vLLM and SGLang, read strictly.

A folder holds safetensors under the published names, `config.json`, `generation_config.json`, the tokenizer, the
processor and the chat template.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.logging import disable_progress_bar

from step3vl.data.errors import UserError
from step3vl.data.tokens import TokenIds
from step3vl.model.configuration import Step3VLConfig
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor, chat_template

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
NAMED = 5  # how many names an error lists before it counts the rest


def save_checkpoint(
    model: Step3VLForConditionalGeneration,
    processor: Step3VLProcessor,
    path: str | Path,
    *,
    state_dict: dict[str, Tensor] | None = None,
) -> None:
    """Write everything that `load_model`, `from_pretrained` and the servers need.

    `state_dict` stands in for the model's own where an engine has gathered the weights from other ranks.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    ids = TokenIds.of(processor.plain_tokenizer())
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        eos_token_id=[ids.pad, ids.chat_end],
        pad_token_id=ids.pad,
        suppress_tokens=list(unspoken(ids)),
    )
    model.save_pretrained(folder, state_dict=state_dict)
    processor.save_pretrained(folder)
    # The wrapper leaves its last padding in the file; the bare tokenizer keeps the fingerprint that datasets name.
    processor.plain_tokenizer().save(str(folder / "tokenizer.json"))
    processor.image_processor.save_pretrained(folder)


def unspoken(ids: TokenIds) -> tuple[int, ...]:
    """Ids that stand for pictures in a prompt and that a model may never say."""
    return (ids.image_patch, ids.image_start, ids.image_end, ids.patch_start, ids.patch_end, ids.patch_newline)


def load_model(
    path: str | Path, dtype: torch.dtype | None = None, device: str | torch.device | None = None
) -> tuple[Step3VLForConditionalGeneration, Step3VLProcessor]:
    """Read a folder that `save_checkpoint` wrote, or a released one. `dtype` None keeps that of the files.

    Raises UserError for a missing folder or file, another model's config, a broken file, or any tensor that is
    missing, unexpected or of another shape.
    """
    folder = Path(path)
    config = load_config(folder)
    check_weights(folder, config)
    if not sys.stderr.isatty():
        disable_progress_bar()  # a bar of transformers' would fill a log with its redrawing
    model = Step3VLForConditionalGeneration.from_pretrained(folder, config=config, dtype=dtype or "auto")
    if device is not None:
        model.to(device)
    return model.eval(), load_processor(folder)


def load_config(folder: Path) -> Step3VLConfig:
    """Raises UserError unless `config.json` describes this model."""
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}: give the folder that holds config.json")
    file = folder / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json: give the folder of an exported model") from None
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    found = values.get("model_type")
    if found != Step3VLConfig.model_type:
        raise UserError(f"{file} is of model_type {found!r}; this command needs {Step3VLConfig.model_type!r}")
    try:
        return Step3VLConfig.from_dict(values)
    except Exception as error:  # validation errors of three libraries
        raise UserError(f"{file} cannot be used: {error}") from None


def load_processor(folder: Path) -> Step3VLProcessor:
    """The folder's own tokenizer and template; sizes from its processor files, else those of the released model."""
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


def check_weights(folder: Path, config: Step3VLConfig) -> None:
    """Compare the headers of the safetensors with the model, before a byte of a tensor is read."""
    with torch.device("meta"):
        model = Step3VLForConditionalGeneration(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = stored_shapes(folder)
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ],
    }
    listed = [f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names]
    if listed:
        raise UserError(f"the weights in {folder} do not fit its config.json: {'; '.join(listed)}")


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every stored tensor. Raises UserError for a missing or broken file."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = [SAFE_WEIGHTS_NAME]
    shapes: dict[str, tuple[int, ...]] = {}
    for file in (folder / name for name in names):
        if not file.is_file():
            raise UserError(f"{file} is missing: export the model again, or download the file")
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - the handle is no mapping
                    shapes[name] = tuple(tensors.get_slice(name).get_shape())
        except SafetensorError as error:
            raise UserError(f"{file} is cut short or broken ({error}): export or download it again") from None
    return shapes


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
