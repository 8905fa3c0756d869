"""What the library asks of a model before it computes anything: strict reading of files, first values of weights."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils import logging

from step3vl.model.configuration import Step3VLConfig
from step3vl.model.vision import LayerScale, VisionAttention, VisionEncoder
from step3vl.model.weights import check_files, check_names, open_tensors

logger = logging.get_logger(__name__)

Tower = Literal["vision", "projector", "decoder"]


def tower_of(name: str) -> Tower:
    """The part of the model that a parameter belongs to, by its published name; the projector begins where the tower
    shrinks its grid, the decoder ends with the language head."""
    if name.startswith(("vit_large_projector.", "vision_model.vit_downsampler")):
        return "projector"
    return "vision" if name.startswith("vision_model.") else "decoder"


class Step3VLPreTrainedModel(PreTrainedModel):
    config_class = Step3VLConfig
    base_model_prefix = ""  # the parts hang side by side, as in the released file
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Qwen3DecoderLayer", "VisionEncoder"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    # The decoder's attention, which packs and padding need; the tower's is always torch's own choice of kernel.
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def freeze(self, *towers: Tower) -> None:
        """From now on the parameters of these towers stay as they are, and all others are trained."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(tower_of(name) not in towers)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | None, *args: Any, **kwargs: Any) -> Self:
        """As in the base class, but strict.

        Raises UserError that lists the tensors which are missing, unexpected or of another shape, or names a file that
        is missing or broken. Weights in eight bits are multiplied by their scales.
        """
        if kwargs.pop("key_mapping", None):
            logger.warning("key_mapping is left out: the names of this model are the published ones")
        if pretrained_model_name_or_path is not None and Path(pretrained_model_name_or_path).is_dir():
            check_files(Path(pretrained_model_name_or_path, kwargs.get("subfolder", "")))
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel,
        state_dict: dict[str, Any] | None,
        checkpoint_files: list[str] | None,
        load_config: Any,
        expected_keys: list[str] | None = None,
    ) -> tuple[Any, dict[str, Any] | None]:
        """Where the library turns to the files; the model has no values yet. `expected_keys` are an adapter's."""
        if expected_keys is None:
            tensors = state_dict
            if tensors is None:
                tensors = open_tensors(checkpoint_files or (), load_config.dtype, model.config.stored_block)
            found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            # A parameter that DeepSpeed has sharded tells its whole shape apart.
            wanted = {name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in model.named_parameters()}
            check_names(found, wanted, str(load_config.pretrained_model_name_or_path))
            # With sharded parameters the library reads whole files and shares the values out itself.
            state_dict = None if is_deepspeed_zero3_enabled() else tensors
        return PreTrainedModel._load_pretrained_model(model, state_dict, checkpoint_files, load_config, expected_keys)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """For training from random weights. Outside the decoder, whose own rule applies, a layer keeps the variance
        of its input: a spread that suits 4,096 channels would fade in 128."""
        if isinstance(module, VisionEncoder):
            init.normal_(module.positional_embedding, std=module.positional_embedding.shape[1] ** -0.5)
        elif isinstance(module, VisionAttention):
            init.normal_(module.in_proj_weight, std=module.in_proj_weight.shape[1] ** -0.5)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, LayerScale):
            init.constant_(module.gamma, module.initial)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)
