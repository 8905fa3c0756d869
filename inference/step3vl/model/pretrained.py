"""The base class of the model: strict loading of checkpoints, initial weights, freezing."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils import CONFIG_NAME, logging

from step3vl.model.configuration import Step3VLConfig
from step3vl.model.vision import LayerScale, VisionAttention, VisionEncoder
from step3vl.model.weights import check_files, check_tensors, open_tensors

logger = logging.get_logger(__name__)

Component = Literal["vision", "projector", "decoder"]


def component_of(name: str) -> Component:
    """The component of a parameter, by its published name.

    The projector starts with the convolutions that downsample the tower's grid; the decoder ends with the language
    head.
    """
    if name.startswith(("vit_large_projector.", "vision_model.vit_downsampler")):
        return "projector"
    return "vision" if name.startswith("vision_model.") else "decoder"


class Step3VLPreTrainedModel(PreTrainedModel):
    """Loading, initialisation and freezing of the model."""

    config_class = Step3VLConfig
    base_model_prefix = ""  # the components are siblings, as in the released file
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Qwen3DecoderLayer", "VisionEncoder"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    # Of the decoder, which packs and padding need; the tower always uses the kernel that torch chooses.
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def freeze(self, *components: Component) -> None:
        """Freeze these components and unfreeze all others.

        Args:
            components: Any of "vision", "projector" and "decoder".
        """
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(component_of(name) not in components)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | None, *args: Any, **kwargs: Any) -> Self:
        """Load as the base class does, but strictly. Weights in eight bits are dequantised.

        Raises:
            UserError: Lists the tensors that are missing, unexpected or of another shape, or names a file that is
                missing or broken.
        """
        if kwargs.pop("key_mapping", None):
            logger.warning("key_mapping is ignored: the tensors of this model have the published names")
        if pretrained_model_name_or_path is not None and Path(pretrained_model_name_or_path).is_dir():
            check_files(Path(pretrained_model_name_or_path, kwargs.get("subfolder", "")))
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Save as the base class does. Whoever may read the configuration may read the weights, which safetensors
        writes for their owner alone."""
        super().save_pretrained(save_directory, *args, **kwargs)
        config = Path(save_directory, CONFIG_NAME)
        for file in Path(save_directory).glob("*.safetensors") if config.is_file() else ():
            file.chmod(config.stat().st_mode)

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel,
        state_dict: dict[str, Any] | None,
        checkpoint_files: list[str] | None,
        load_config: Any,
        expected_keys: list[str] | None = None,
    ) -> tuple[Any, dict[str, Any] | None]:
        """The hook that reads the files; the model has no values yet. `expected_keys` is set for an adapter."""
        if expected_keys is None:
            tensors = state_dict
            if tensors is None:
                tensors = open_tensors(checkpoint_files or (), load_config.dtype, model.config.weight_block_size)
            actual = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            # A parameter that DeepSpeed has sharded keeps its full shape in `ds_shape`.
            expected = {name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in model.named_parameters()}
            check_tensors(actual, expected, str(load_config.pretrained_model_name_or_path))
            # With sharded parameters transformers reads complete files and distributes the values itself.
            state_dict = None if is_deepspeed_zero3_enabled() else tensors
        return PreTrainedModel._load_pretrained_model(model, state_dict, checkpoint_files, load_config, expected_keys)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initial weights. Outside the decoder, which has Qwen3's rule, a layer keeps the variance of its input: a
        standard deviation that suits 4,096 channels would vanish in 128."""
        if isinstance(module, VisionEncoder):
            init.normal_(module.positional_embedding, std=module.positional_embedding.shape[1] ** -0.5)
        elif isinstance(module, VisionAttention):
            init.normal_(module.in_proj_weight, std=module.in_proj_weight.shape[1] ** -0.5)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, LayerScale):
            init.constant_(module.gamma, module.init_value)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)
