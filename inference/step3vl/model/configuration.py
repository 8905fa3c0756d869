"""The model's configuration, with the key names of the released `config.json`.

The released model and the tiny one are the same classes with different numbers: `Step3VLConfig()`, `tiny_config()`.
"""

from copy import deepcopy
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, Qwen3Config

from step3vl.data.sample.crops import ImageSpec

ARCHITECTURE = "StepVLForConditionalGeneration"  # the name that servers look up in their registries
IMAGE_TOKEN_ID = 151679  # <im_patch> in the released vocabulary

TINY_SPEC = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)

# What the released tower leaves out or switches on. Other values are not implemented.
_FIXED_VISION = {
    "pool_type": "none",
    "output_dim": None,
    "use_cls_token": False,
    "use_ln_post": False,
    "use_ln_pre": True,
    "use_abs_posemb": True,
    "use_rope2d": True,
    "hidden_act": "quick_gelu",
    "num_channels": 3,
}

_RELEASED_DECODER = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 65536,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "rms_norm_eps": 1e-6,
    "bos_token_id": 151643,
    "eos_token_id": [151643, 151645, 151679],
    "max_window_layers": 36,
}

EIGHT_BIT_METHODS = ("fp8", "fbgemm_fp8", "compressed-tensors", "modelopt")


def _read_block_size(quantization: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns that share a scale, from either of the two common layouts of a `quantization_config`."""
    groups = quantization.get("config_groups") or {}
    sections = [quantization, *((group or {}).get("weights") or {} for group in groups.values())]
    blocks = [section.get("weight_block_size") or section.get("block_structure") for section in sections]
    rows, columns = next((block for block in blocks if block), Step3VLConfig.weight_block_size)
    return int(rows), int(columns)


@strict
class Step3VLVisionConfig(PreTrainedConfig):
    """Configuration of the vision tower, `vision.VisionEncoder`.

    Args:
        image_size (`int`, *optional*, defaults to 728):
            Side of a global view in pixels, a multiple of `patch_size`.
        patch_size (`int`, *optional*, defaults to 14):
            Side of a patch in pixels.
        width (`int`, *optional*, defaults to 1536):
            Channels of a patch's hidden state; also known as `hidden_size`.
        layers (`int`, *optional*, defaults to 47):
            Number of transformer blocks; also known as `num_hidden_layers`.
        heads (`int`, *optional*, defaults to 16):
            Attention heads; also known as `num_attention_heads`. `width / heads` must be a multiple of 4.
        mlp_ratio (`float`, *optional*, defaults to 8960 / 1536):
            Width of the MLP, relative to `width`.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5):
            Epsilon of the layer norms.
        ls_init_value (`float`, *optional*, defaults to 0.1):
            Initial value of the per-channel scale of each residual branch.
        num_channels, hidden_act, pool_type, output_dim, use_cls_token, use_ln_pre, use_ln_post:
            As released; any other value is refused.
        use_abs_posemb, use_rope2d:
            The same.
    """

    model_type = "step_robotics_vision"
    base_config_key = "vision_config"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
    }

    image_size: int = 728
    patch_size: int = 14
    width: int = 1536
    layers: int = 47
    heads: int = 16
    mlp_ratio: float = 8960 / 1536
    layer_norm_eps: float = 1e-5
    ls_init_value: float = 0.1
    num_channels: int = 3
    hidden_act: str = "quick_gelu"
    pool_type: str = "none"
    output_dim: int | None = None
    use_cls_token: bool = False
    use_ln_pre: bool = True
    use_ln_post: bool = False
    use_abs_posemb: bool = True
    use_rope2d: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        for name, value in _FIXED_VISION.items():
            if getattr(self, name) != value:
                raise ValueError(f"vision_config.{name} is {getattr(self, name)!r}; this model has {value!r} only")
        if self.width % self.heads or (self.width // self.heads) % 4:
            raise ValueError(
                f"vision_config.width {self.width} over {self.heads} heads must give a head size that divides by 4: "
                "two axes, each rotating pairs of channels"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"vision_config.image_size {self.image_size} is no multiple of patch_size {self.patch_size}"
            )

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def intermediate_size(self) -> int:
        return int(self.width * self.mlp_ratio)

    @property
    def grid(self) -> int:
        """Patches along one side of a global view: 52 in the released model."""
        return self.image_size // self.patch_size


@strict
class Step3VLConfig(PreTrainedConfig):
    """Configuration of the whole model: a vision tower, a Qwen3 decoder, and the token ids that join them.

    The fields are those of the released `config.json`, and so are the defaults: `Step3VLConfig()` is STEP3-VL-10B.

    Args:
        vision_config (`Step3VLVisionConfig` or `dict`, *optional*):
            The vision tower; by default the released one.
        text_config (`Qwen3Config` or `dict`, *optional*):
            The decoder; by default the released one. Fields that a given dict leaves out are those of `Qwen3Config`.
        image_token_id (`int`, *optional*, defaults to 151679):
            The id of `<im_patch>`, the placeholder of an image feature.
        image_token_len (`int`, *optional*, defaults to 169):
            Image tokens of a global view.
        patch_token_len (`int`, *optional*, defaults to 81):
            Image tokens of a crop.
        im_start_token, im_end_token, im_patch_token (`str`, *optional*):
            The tokens around a global view, and the placeholder.
        use_im_start_end (`str`, *optional*, defaults to `"true"`):
            Written as released, a string.
        understand_projector_stride, projector_bias, vision_select_layer, tie_word_embeddings:
            As released; any other value is refused.
        weight_block_size (`tuple[int, int]`, *optional*, defaults to `(128, 128)`):
            Rows and columns of a weight that share a scale in eight-bit files; read from `quantization_config` and
            never written.
    """

    model_type = "step_robotics"
    sub_configs: ClassVar[dict[str, type[PreTrainedConfig]]] = {
        "vision_config": Step3VLVisionConfig,
        "text_config": Qwen3Config,
    }

    # A dict, an object or None; after `__post_init__` an object of the classes above.
    vision_config: Any = None
    text_config: Any = None
    image_token_id: int = IMAGE_TOKEN_ID
    image_token_len: int = 169
    patch_token_len: int = 81
    im_start_token: str = "<im_start>"
    im_end_token: str = "<im_end>"
    im_patch_token: str = "<im_patch>"
    use_im_start_end: str = "true"  # a string in the released file
    understand_projector_stride: int = 2
    projector_bias: bool = False
    vision_select_layer: int = -1
    tie_word_embeddings: bool = False

    weight_block_size: tuple[int, int] = (128, 128)

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("hidden_size", None)  # some tools write it beside the text configuration, where it belongs
        if (kwargs.get("quantization_config") or {}).get("quant_method") in EIGHT_BIT_METHODS:
            # The weights are dequantised while they are read: transformers must not look for quantised kernels.
            self.weight_block_size = _read_block_size(kwargs.pop("quantization_config"))
        for name, config_class in self.sub_configs.items():
            sub_config = getattr(self, name)
            if sub_config is None and config_class is Qwen3Config:
                sub_config = deepcopy(_RELEASED_DECODER)
            if not isinstance(sub_config, PreTrainedConfig):
                setattr(self, name, config_class(**(sub_config or {})))
        super().__post_init__(**kwargs)
        if self.text_config.tie_word_embeddings or self.tie_word_embeddings:
            raise ValueError("text_config.tie_word_embeddings is true; this model has a separate language head")
        if self.projector_bias or self.vision_select_layer != -1 or self.understand_projector_stride != 2:
            raise ValueError(
                "projector_bias, vision_select_layer and understand_projector_stride are fixed at false, -1 and 2"
            )

    @property
    def hidden_size(self) -> int:
        return self.text_config.hidden_size

    @property
    def wrapper_token_ids(self) -> list[int]:
        """`<im_start>`, `<im_end>`, `<patch_start>`, `<patch_end>`, `<patch_newline>`: in prompts, never generated.

        Their ids follow that of `<im_patch>` at these offsets in the released vocabulary and in those of `train_bpe`.
        """
        return [self.image_token_id + offset for offset in (1, 2, 10, 11, 12)]

    def to_dict(self) -> dict[str, Any]:
        """As published: the architecture name that servers know; `rope_theta` and `rope_scaling` beside
        `rope_parameters`."""
        output = super().to_dict()
        output.pop("weight_block_size", None)
        output["architectures"] = [ARCHITECTURE]
        if self._auto_class is None:
            # Names Python files in the folder that it was read from, not in the one that it is written to.
            output.pop("auto_map", None)
        common = PreTrainedConfig().to_dict()  # fields of every configuration, left at their defaults
        for name in self.sub_configs:
            output[name] = {key: value for key, value in output[name].items() if common.get(key, self) != value}
        output["text_config"]["architectures"] = ["Qwen3ForCausalLM"]
        # Readers that do not know `rope_parameters` would silently fall back to a base of 10,000, and to no scaling.
        rope = self.text_config.rope_parameters
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        output["text_config"]["rope_theta"] = rope["rope_theta"]
        output["text_config"]["rope_scaling"] = None if rope["rope_type"] == "default" else scaling
        return output


def config_10b() -> Step3VLConfig:
    """STEP3-VL-10B as released: 1,066 tensors, 10,171,750,144 parameters."""
    return Step3VLConfig()


def tiny_config(
    vocab_size: int,
    spec: ImageSpec = TINY_SPEC,
    *,
    image_token_id: int,
    hidden_size: int = 128,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int = 2,
    vision_width: int = 128,
    vision_layers: int = 3,
    vision_heads: int = 4,
    ls_init_value: float = 0.1,
    max_position_embeddings: int = 4096,
) -> Step3VLConfig:
    """The same architecture with small numbers, for training from random weights: 2.4M parameters without embeddings.

    The residual branches of the tower start as small as the released ones did. From full scale (1.0) the same three
    layers learned slower: counting 1-3 squares, 90 % correct after 150 steps against 99 %.

    Args:
        vocab_size: Tokens of the vocabulary.
        spec: Sizes of the image crops.
        image_token_id: The id of `<im_patch>`.
        hidden_size: Width of the decoder.
        layers: Layers of the decoder.
        heads: Attention heads of the decoder.
        kv_heads: Heads of its keys and values.
        vision_width: Width of the vision tower.
        vision_layers: Layers of the vision tower.
        vision_heads: Attention heads of the vision tower.
        ls_init_value: Initial scale of the tower's residual branches.
        max_position_embeddings: Tokens of the context.
    """
    vision = Step3VLVisionConfig(
        image_size=spec.image_size,
        patch_size=spec.patch_size,
        width=vision_width,
        layers=vision_layers,
        heads=vision_heads,
        mlp_ratio=2.0,
        ls_init_value=ls_init_value,
    )
    text = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        rms_norm_eps=1e-6,
    )
    return Step3VLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=image_token_id,
        image_token_len=spec.image_tokens,
        patch_token_len=spec.crop_tokens,
    )
