"""What pretraining and supervised fine-tuning are told: everything that one trainer needs."""

from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from step3vl.data.config import Config
from step3vl.data.crops import ImageSpec
from step3vl.data.errors import UserError
from step3vl.data.mixture import Mixture
from step3vl.data.store import DEFAULT, StoreConfig
from step3vl.training.schedule import Phase

# autocast: weights and gradients in float32, matrix products in bfloat16.
# bf16: weights in bfloat16, with DeepSpeed's float32 masters: half the memory, for models that fill a GPU.
Precision = Literal["fp32", "autocast", "bf16"]


class TowerRates(Config):
    """A multiplier of the learning rate for each tower; 0 freezes it.

    The projector is the two strided convolutions after the encoder and the linear layer (report, section 2.1).
    """

    vision: float = Field(default=1.0, ge=0)
    projector: float = Field(default=1.0, ge=0)
    decoder: float = Field(default=1.0, ge=0)


class OptimizerConfig(Config):
    """AdamW as the STEP3-VL-10B report, section 2.3, sets it; norms and biases are never decayed."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)
    lr_scale: TowerRates = TowerRates()


class ModelConfig(Config):
    """The size of a model that starts from random weights; the vocabulary is the tokenizer's."""

    image: ImageSpec = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    vision_width: int = 128
    vision_layers: int = 3
    vision_heads: int = 4
    max_position_embeddings: int = 4096


class Evaluation(Config):
    """Validation loss by task: every `every` steps and after the last, on the first packs of a fixed plan.

    Without a mixture it takes the held-out split of every source that the phases train on.
    """

    every: int = Field(ge=1)
    packs: int = Field(default=64, ge=1)
    mixture: Mixture | None = None


class TrainConfig(Config):
    """One run. `output` receives metrics.jsonl, tensorboard/, checkpoints/ and, at the end, export/."""

    sample_kind: ClassVar[Literal["document", "conversation"] | None] = None  # None: both are trained on

    output: str
    init: str | None = None  # an exported model to start from, with its tokenizer
    model: ModelConfig | None = None  # or the size of a new one
    tokenizer: str | None = None  # of a new model: `qwen3`, a tokenizer.json or a folder that holds one

    phases: tuple[Phase, ...] = Field(min_length=1)
    capacity: int = Field(ge=16)  # tokens of a pack
    global_batch: int = Field(ge=1)  # packs of an optimiser step, over all ranks
    micro_batch: int = Field(default=1, ge=1)  # packs of a forward pass of one rank
    optimizer: OptimizerConfig = OptimizerConfig()
    seed: int = 0

    processes: int = Field(default=1, ge=1)
    zero_stage: Literal[0, 1, 2, 3] = 1
    precision: Precision = "bf16"
    workers: int = Field(default=0, ge=0)  # processes that decode ahead for each rank; 0 decodes in the rank itself
    cache_mb: int = Field(default=256, ge=0)  # decoded samples that each rank keeps, for a corpus seen many times
    store: StoreConfig = DEFAULT  # how datasets at distant URLs are read
    max_lost: float = Field(default=0.001, ge=0, le=1)  # share of samples that may be unreadable; see lost.py
    accept_changed_data: bool = False  # go on from a checkpoint although a dataset has changed since

    checkpoint_every: int = Field(default=500, ge=1)  # steps; there is always one after the last
    keep: int = Field(default=2, ge=1)  # checkpoints
    log_every: int = Field(default=10, ge=1)  # steps between lines of the log and points of TensorBoard
    evaluation: Evaluation | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.init is None) == (self.model is None):
            raise ValueError("give either init (an exported model to start from) or model (the size of a new one)")
        if (self.model is None) != (self.tokenizer is None):
            raise ValueError("a new model needs a tokenizer, and a model from init brings its own")
        accumulation(self.global_batch, self.micro_batch, self.processes)
        return self


def accumulation(global_batch: int, micro_batch: int, processes: int) -> int:
    """Micro-batches of each rank in an optimiser step. Raises ValueError when the numbers do not divide."""
    together = micro_batch * processes
    if global_batch % together:
        raise ValueError(
            f"global_batch {global_batch} is no multiple of micro_batch {micro_batch} x processes {processes}"
        )
    return global_batch // together


C = TypeVar("C", bound=Config)


def read_config(path: str, config_class: type[C]) -> C:
    """A resolved configuration, as the command line hands it to the ranks. Raises UserError naming file and field."""
    try:
        return config_class.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {field + ': ' if field else ''}{what}") from None
