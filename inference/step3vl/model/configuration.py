"""The model's configuration, with the key names of the released `config.json`.

The released model and the tiny one are the same classes with other numbers: `config_10b()` and `tiny_config()`.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, Qwen3Config

from step3vl.data.crops import ImageSpec

ARCHITECTURE = "StepVLForConditionalGeneration"  # the name that servers look up in their registries
IMAGE_TOKEN_ID = 151679  # <im_patch> in the released vocabulary

TINY_SPEC = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)

# What the released tower leaves out or switches on. Another value would need code that is not here.
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


EIGHT_BIT_METHODS = ("fp8", "fbgemm_fp8", "compressed-tensors", "modelopt")


def _stored_block(quantization: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns that share a scale, as the two common layouts of a `quantization_config` tell it."""
    groups = quantization.get("config_groups") or {}
    told = [quantization, *((group or {}).get("weights") or {} for group in groups.values())]
    blocks = [part.get("weight_block_size") or part.get("block_structure") for part in told]
    rows, columns = next((block for block in blocks if block), Step3VLConfig.stored_block)
    return int(rows), int(columns)


@strict
class Step3VLVisionConfig(PreTrainedConfig):
    """The perception encoder; see `vision.VisionEncoder`. Sizes in pixels, widths in channels.

    `ls_init_value` starts the per-channel scale of each residual branch.
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
                "two axes, each turning pairs of channels"
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
    """`config.json` of the released repository: a vision tower, a Qwen3 decoder, and the ids that join them.

    `image_token_len` and `patch_token_len` are the tokens of a global view and of a crop.
    """

    model_type = "step_robotics"
    sub_configs: ClassVar[dict[str, type[PreTrainedConfig]]] = {
        "vision_config": Step3VLVisionConfig,
        "text_config": Qwen3Config,
    }

    # Given as a dict, an object or nothing; objects of the classes above after that.
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

    stored_block: tuple[int, int] = (128, 128)  # not written: rows and columns that share a scale in eight-bit files

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("hidden_size", None)  # some tools write it beside the text configuration, where it belongs
        if (kwargs.get("quantization_config") or {}).get("quant_method") in EIGHT_BIT_METHODS:
            # The files' weights are in eight bits, the model's are not: the library must not look for kernels.
            self.stored_block = _stored_block(kwargs.pop("quantization_config"))
        for name, kind in self.sub_configs.items():
            given = getattr(self, name)
            if not isinstance(given, PreTrainedConfig):
                setattr(self, name, kind(**(given or {})))
        super().__post_init__(**kwargs)
        if self.text_config.tie_word_embeddings or self.tie_word_embeddings:
            raise ValueError("text_config.tie_word_embeddings is true; this model keeps its head apart")
        if self.projector_bias or self.vision_select_layer != -1 or self.understand_projector_stride != 2:
            raise ValueError(
                "projector_bias, vision_select_layer and understand_projector_stride are fixed at false, -1 and 2"
            )

    @property
    def hidden_size(self) -> int:
        return self.text_config.hidden_size

    @property
    def wrapper_token_ids(self) -> list[int]:
        """`<im_start>`, `<im_end>`, `<patch_start>`, `<patch_end>`, `<patch_newline>`: placed in prompts, never said.

        They stand at these distances behind `<im_patch>` in the released vocabulary and in those of `train_bpe`.
        """
        return [self.image_token_id + distance for distance in (1, 2, 10, 11, 12)]

    def to_dict(self) -> dict[str, Any]:
        """As published: the servers' architecture name, and `rope_theta` beside the nested form of newer readers."""
        output = super().to_dict()
        output.pop("stored_block", None)
        output["architectures"] = [ARCHITECTURE]
        if self._auto_class is None:
            # Names of Python files that lie in the folder it was read from, not in the one it is written to.
            output.pop("auto_map", None)
        common = PreTrainedConfig().to_dict()  # what every configuration has, and nobody set here
        for name in self.sub_configs:
            output[name] = {key: value for key, value in output[name].items() if common.get(key, self) != value}
        output["text_config"]["architectures"] = ["Qwen3ForCausalLM"]
        # Readers from before the nested form would silently fall back to a base of 10,000.
        output["text_config"]["rope_theta"] = self.text_config.rope_parameters["rope_theta"]
        output["text_config"]["rope_scaling"] = None
        return output


def config_10b() -> Step3VLConfig:
    """STEP3-VL-10B as released: 1,066 tensors, 10,171,750,144 parameters."""
    text = Qwen3Config(
        vocab_size=151936,
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=65536,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        rms_norm_eps=1e-6,
        bos_token_id=151643,
        eos_token_id=[151643, 151645, 151679],
        max_window_layers=36,
    )
    return Step3VLConfig(vision_config=Step3VLVisionConfig(), text_config=text)


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
    """The same model with small numbers, to be trained from random weights: 2.4M parameters beside the embeddings.

    The residual branches of the tower start as small as the released ones did. From full scale (1.0) the same three
    layers learned slower: counting 1-3 squares, 90 % right after 150 steps against 99 %.
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
