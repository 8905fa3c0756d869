"""Configuration of pretraining and supervised fine-tuning, and the parts of it that reinforcement learning shares."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from step3vl.data.config import Config, explain_validation_error
from step3vl.data.errors import UserError
from step3vl.data.plan import PARTITIONS, Mixture
from step3vl.data.sample import ImageSpec, Kind
from step3vl.data.storage import DEFAULT_STORE, LocalPath, StoreConfig
from step3vl.training.schedule import TrainingPhase

Precision = Literal["fp32", "autocast", "bf16"]
Attention = Literal["sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3"]

MAX_DENSE_MASK_TOKENS = 8192  # as in step3vl.model.masks, which imports torch


class ComponentRates(Config):
    """A multiplier of the learning rate for each component; 0 freezes it."""

    vision: float = Field(default=1.0, ge=0)
    """The vision encoder."""
    projector: float = Field(default=1.0, ge=0)
    """The two strided convolutions after the encoder and the linear layer (report, section 2.1)."""
    decoder: float = Field(default=1.0, ge=0)
    """The language model with its embeddings and head."""


class OptimizerConfig(Config):
    """AdamW with the values of the STEP3-VL-10B report, section 2.3; norms and biases are never decayed."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of matrices."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global norm of the gradient."""
    lr_scale: ComponentRates = ComponentRates()
    """Multipliers of the learning rate by component."""


class EngineConfig(Config):
    """The DeepSpeed engine and the processes that it runs in."""

    processes: int = Field(default=1, ge=1)
    """Ranks on this machine; a cluster's launcher sets the number itself."""
    micro_batch: int = Field(default=1, ge=1)
    """Packs (in reinforcement learning: rollouts) in one forward pass of a rank."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """What ZeRO partitions over the ranks: optimizer states (1), gradients (2), parameters (3). With bf16, 1 is 2."""
    precision: Precision = "bf16"
    """`autocast` keeps weights and gradients in float32 and multiplies matrices in bfloat16. `bf16` keeps weights in
    bfloat16 with DeepSpeed's float32 masters: half the memory, for models that fill a GPU. Gradients accumulate in
    float32, and heads, logits and losses are float32, with either. `fp32` is the fastest on an x86 processor without
    AVX-512, by about ten times."""
    gradient_checkpointing: bool = False
    """Recompute the activations of each layer in the backward pass instead of keeping them: a third more work, and
    memory for long sequences."""
    attention: Attention = "sdpa"
    """Attention of the decoder. `sdpa` and `eager` hold a mask of the square of the sequence length, so longer ones
    than 8,192 tokens need `flash_attention_2`, `flash_attention_3` (GPUs with the package flash-attn) or
    `flex_attention` (which torch compiles)."""

    @model_validator(mode="after")
    def _check_accumulation(self) -> Self:
        if self.precision == "bf16" and self.zero_stage == 0:
            raise ValueError(
                "precision bf16 with zero_stage 0 would accumulate gradients in bfloat16: set zero_stage to 1, or "
                "precision to autocast"
            )
        return self

    def check_length(self, field: str, tokens: int) -> None:
        """Refuse sequences whose attention mask would not fit in memory.

        Args:
            field: Name of the field that sets the length.
            tokens: Its value.

        Raises:
            ValueError: The message names the remedy.
        """
        if self.attention in ("sdpa", "eager") and tokens > MAX_DENSE_MASK_TOKENS:
            raise ValueError(
                f"{field} {tokens} is too long for engine.attention {self.attention}, which holds a mask of "
                f"{tokens} x {tokens}: set engine.attention to flash_attention_2 or flex_attention, or {field} to "
                f"{MAX_DENSE_MASK_TOKENS} at most"
            )


class CheckpointConfig(Config):
    """When checkpoints are written and how many are kept."""

    every: int = Field(default=500, ge=1)
    """Steps (in reinforcement learning: iterations) between checkpoints; the last step always writes one."""
    keep: int = Field(default=2, ge=1)
    """The number of checkpoints on disk."""


class TrainCheckpointConfig(CheckpointConfig):
    """Checkpoints of a run over packs."""

    accept_changed_data: bool = False
    """Resume although a dataset has changed since the checkpoint, at the same position of the new one."""


class LogConfig(Config):
    """How often a run reports."""

    every: int = Field(default=10, ge=1)
    """Steps between lines of the log and points of TensorBoard; metrics.jsonl has every step."""


class ModelConfig(Config):
    """The size of a model that starts from random weights; the vocabulary is the tokenizer's."""

    image: ImageSpec = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)
    """Sizes of the global view and of crops, in pixels."""
    hidden_size: int = 128
    """Width of the decoder."""
    layers: int = 3
    """Layers of the decoder."""
    heads: int = 4
    """Attention heads of the decoder."""
    kv_heads: int = 2
    """Key-value heads of the decoder."""
    vision_width: int = 128
    """Width of the encoder."""
    vision_layers: int = 3
    """Layers of the encoder."""
    vision_heads: int = 4
    """Attention heads of the encoder."""
    max_position_embeddings: int = 4096
    """Longest sequence in tokens."""


class DataConfig(Config):
    """How packs are made and read."""

    sequence_length: int = Field(ge=16)
    """Tokens of a pack."""
    global_batch: int = Field(ge=1)
    """Packs of an optimizer step, over all ranks."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that decode ahead for each rank; with 0 the rank decodes by itself. By default what the machine has:
    the cores that are left for a rank, at most 8; without a GPU, where the model needs them, 0."""
    # Left out where it is 1, so that a run that began before there were partitions can be resumed with that.
    partitions: int = Field(default=PARTITIONS, ge=1, exclude_if=lambda value: value == 1)
    """Parts of the data with shards of their own, shared out to the nodes: best a multiple of their number, and fixed
    for a run. It decides the order of the packs; the number of nodes does not."""
    cache_mb: int = Field(default=256, ge=0)
    """MiB of decoded samples that each rank keeps, for a corpus that is read many times."""
    store: StoreConfig = DEFAULT_STORE
    """How datasets at remote URLs are read."""
    max_unreadable: float = Field(default=0.001, ge=0, le=1)
    """Share of the samples that may be unreadable before the run stops."""


class AnswersConfig(Config):
    """Replies to held-out prompts, graded by their truths as `step3vl eval` does. A copy of the model gives them."""

    dataset: str
    """A dataset with a held-out split."""
    tasks: tuple[str, ...] = ("*",)
    """Shell patterns of tasks; samples without a truth are left out unless their task is named."""
    items: int = Field(default=64, ge=1)
    """About how many prompts, over all ranks: whole groups that share an image."""
    max_new_tokens: int = Field(default=256, ge=1)
    """A reply that reaches this length scores 0."""
    temperature: float = Field(default=1.0, ge=0)
    """Of sampling; 0 for the likeliest tokens."""
    seed: int = 0
    """The same weights give the same replies."""


class EvaluationConfig(Config):
    """Validation loss by task, on the first packs of a fixed plan, and the grades of answers where configured."""

    every: int = Field(ge=1)
    """Steps between evaluations; the last step always has one."""
    packs: int = Field(default=64, ge=1)
    """Packs of an evaluation, over all ranks."""
    mixture: Mixture | None = None
    """What to evaluate on; by default the held-out split of every source that the phases train on."""
    answers: AnswersConfig | None = None
    """Also sample and grade answers; not by default."""


class TrainConfig(Config):
    """A run of pretraining or supervised fine-tuning."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "capacity": "data.sequence_length",
        "global_batch": "data.global_batch",
        "workers": "data.workers",
        "cache_mb": "data.cache_mb",
        "store": "data.store",
        "max_lost": "data.max_unreadable",
        "processes": "engine.processes",
        "micro_batch": "engine.micro_batch",
        "zero_stage": "engine.zero_stage",
        "precision": "engine.precision",
        "checkpoint_every": "checkpoint.every",
        "keep": "checkpoint.keep",
        "accept_changed_data": "checkpoint.accept_changed_data",
        "log_every": "log.every",
    }
    sample_kind: ClassVar[Kind | None] = None
    """The kind of samples that are trained on; None for both."""

    output: LocalPath
    """A folder that receives metrics.jsonl, tensorboard/, checkpoints/ and, at the end, export/."""
    init: str | None = None
    """An exported model to start from, with its tokenizer."""
    model: ModelConfig | None = None
    """The size of a new model, in place of `init`."""
    tokenizer: str | None = None
    """Tokenizer of a new model: `qwen3`, a tokenizer.json or a folder that holds one."""
    phases: tuple[TrainingPhase, ...] = Field(min_length=1)
    """The schedule: mixtures, budgets and learning rates, one after another."""
    data: DataConfig
    """Packs, batch size and reading."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW; the learning rate is in `phases`."""
    engine: EngineConfig = EngineConfig()
    """Processes, ZeRO stage and precision."""
    checkpoint: TrainCheckpointConfig = TrainCheckpointConfig()
    """When checkpoints are written."""
    log: LogConfig = LogConfig()
    """How often the run reports."""
    evaluation: EvaluationConfig | None = None
    """Validation during the run; none by default."""
    seed: int = 0
    """Seed of new weights and of the order of the data."""

    @model_validator(mode="after")
    def _check_model_and_batch(self) -> Self:
        if (self.init is None) == (self.model is None):
            raise ValueError("give either init (an exported model to start from) or model (the size of a new one)")
        if (self.model is None) != (self.tokenizer is None):
            raise ValueError("a new model needs a tokenizer, and a model from init brings its own")
        accumulation_steps(self.data.global_batch, self.engine.micro_batch, self.engine.processes)
        self.engine.check_length("data.sequence_length", self.data.sequence_length)
        return self


def accumulation_steps(global_batch: int, micro_batch: int, processes: int) -> int:
    """Micro-batches of each rank in an optimizer step.

    Raises:
        ValueError: The global batch is no multiple of what all ranks take in one forward pass.
    """
    packs_per_pass = micro_batch * processes
    if global_batch % packs_per_pass:
        raise ValueError(
            f"data.global_batch {global_batch} is no multiple of engine.micro_batch {micro_batch} x processes "
            f"{processes}"
        )
    return global_batch // packs_per_pass


C = TypeVar("C", bound=Config)


def read_config(path: str, config_class: type[C]) -> C:
    """Read a resolved configuration, as the command line writes it for the ranks.

    Raises:
        UserError: The file is missing, or is not a valid configuration; the message names the file and the field.
    """
    try:
        return config_class.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {explain_validation_error(error)}") from None
