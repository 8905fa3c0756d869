"""Configuration of reinforcement learning."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.storage import LocalPath
from step3vl.training.config import CheckpointConfig, ComponentRates, EngineConfig, OptimizerConfig

Importance = Literal["clip", "none"]


class PromptDataConfig(Config):
    """Where the prompts come from."""

    dataset: str
    """A committed dataset whose conversations have a truth."""
    tasks: tuple[str, ...] = ("*",)
    """Shell patterns of task names, such as `grounding.*`."""
    max_unreadable: float = Field(default=0.001, ge=0, le=1)
    """Share of the prompts that may be unusable (damaged, without a truth, or too long) before the run stops."""


class EnvironmentDataConfig(Config):
    """Live environments in place of prompts: the policy acts in them, and they reward it."""

    suite: str
    """Name of the suite, an entry point of the group `step3vl.environments`, such as `miniwob`."""
    path: LocalPath
    """What its environments are made of: the wheel of `miniwob`, the folder of `web-apps`."""
    tasks: tuple[str, ...] = ("*",)
    """Shell patterns of task names. A prompt of `rollout.prompts_per_iteration` is an instance of a task, and its
    rollouts are episodes."""
    max_steps: int = Field(default=10, ge=1)
    """Answers after which an episode ends without a reward."""
    max_unreadable: float = Field(default=0.001, ge=0, le=1)
    """Share of the episodes that may fail (a crash of the browser, a prompt that is too long) before the run stops."""


class RolloutConfig(Config):
    """What the policy samples in an iteration."""

    prompts_per_iteration: int = Field(default=512, ge=1)
    """Prompts of an iteration, over all ranks."""
    rollouts_per_prompt: int = Field(default=16, ge=1)
    """Responses sampled for each prompt."""
    max_new_tokens: int = Field(default=24 * 1024, ge=1)
    """Longest response in tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of sampling; the losses use the same distribution."""
    device: str = "auto"
    """Where each rank's rollout worker runs: `cpu`, `cuda` (the rank's own GPU) or `cuda:N`; `auto` is `cuda` where
    there is a GPU."""
    timeout: float = Field(default=1500.0, gt=0)
    """Longest time in seconds that a rollout worker may take for the responses of an iteration. One that takes longer
    is replaced, as one that dies is; the second loss ends the run. Other ranks wait for half an hour."""


class AlgorithmConfig(Config):
    """PPO with the values of the STEP3-VL-10B report, section 3.2.1; `clip`, which it does not give, is usual."""

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount of later rewards."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """Decay of generalised advantage estimation."""
    importance: Importance = "none"
    """`none` omits the ratio to the old policy, the report's off-policy regime; `clip` is standard PPO.

    With `none` nothing bounds how far the mini-batches of an iteration move the policy. It is the setting of many
    small steps (a rate of 2e-6, 512 prompts); a small model with few prompts and a high rate can lose what it knows.
    Use `clip` there, or one mini-batch, for which the two are the same."""
    clip: float = Field(default=0.2, gt=0)
    """Range of the clipped ratio: 1 - clip to 1 + clip."""
    value_clip: float | None = Field(default=None, gt=0)
    """Largest change of a value in one iteration that its loss counts; None for no limit."""
    tis_cap: float = Field(default=8.0, gt=0)
    """Cap of the truncated importance weight between trainer and rollout engine (C in the report)."""
    truncated: Literal["zero", "mask"] = "zero"
    """A response that reaches `max_new_tokens` has reward 0 (`zero`) or is left out of both losses (`mask`)."""


class ActorConfig(Config):
    """Updates of the policy in an iteration."""

    lr: float = Field(default=2e-6, ge=0)
    """Learning rate after warm-up."""
    minibatches: int = Field(default=4, ge=1)
    """Optimizer steps of an iteration; 1 is strictly on-policy."""


class CriticConfig(Config):
    """Updates of the value model in an iteration."""

    lr: float = Field(default=5e-6, ge=0)
    """Learning rate after warm-up."""
    minibatches: int = Field(default=12, ge=1)
    """Optimizer steps of an iteration."""
    warmup_iterations: int = Field(default=10, ge=0)
    """Iterations at the start in which the critic alone is trained."""


class RLOptimizerConfig(OptimizerConfig):
    """AdamW of actor and critic alike."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of matrices."""
    lr_scale: ComponentRates = ComponentRates(vision=0.0, projector=0.0)
    """Multipliers of the learning rate by component; by default the decoder alone is trained (report, section 3.2)."""
    warmup_steps: int = Field(default=20, ge=0)
    """Optimizer steps of either network over which its rate rises from 0."""


class RLEngineConfig(EngineConfig):
    """The two DeepSpeed engines and the processes that they run in."""

    micro_batch: int = Field(default=8, ge=1)
    """Rollouts in one forward pass of a rank."""


class RLCheckpointConfig(CheckpointConfig):
    """When checkpoints are written and how many are kept."""

    every: int = Field(default=50, ge=1)
    """Iterations between checkpoints; the last iteration always writes one."""


class HeldoutConfig(Config):
    """Mean reward on held-out prompts: before the first iteration, after the last, and in between."""

    prompts_per_task: int = Field(default=256, ge=1)
    """Held-out prompts of each task, or as many as there are."""
    rollouts_per_prompt: int = Field(default=1, ge=1)
    """Responses sampled for each of them."""
    every: int | None = Field(default=None, ge=1)
    """Iterations between evaluations besides the first and the last."""


class RLConfig(Config):
    """PPO with verifiable rewards; the defaults are the RLVR phase of the STEP3-VL-10B report, section 3.2."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "dataset": "data.dataset",
        "tasks": "data.tasks",
        "prompts_per_iteration": "rollout.prompts_per_iteration",
        "rollouts_per_prompt": "rollout.rollouts_per_prompt",
        "max_new_tokens": "rollout.max_new_tokens",
        "temperature": "rollout.temperature",
        "truncated": "algorithm.truncated",
        "gamma": "algorithm.gamma",
        "lam": "algorithm.lam",
        "importance": "algorithm.importance",
        "clip": "algorithm.clip",
        "value_clip": "algorithm.value_clip",
        "tis_cap": "algorithm.tis_cap",
        "actor_lr": "actor.lr",
        "actor_minibatches": "actor.minibatches",
        "critic_lr": "critic.lr",
        "critic_minibatches": "critic.minibatches",
        "critic_warmup": "critic.warmup_iterations",
        "lr_warmup": "optimizer.warmup_steps",
        "lr_scale": "optimizer.lr_scale",
        "grad_clip": "optimizer.grad_clip",
        "heldout_prompts": "evaluation.prompts_per_task",
        "heldout_samples": "evaluation.rollouts_per_prompt",
        "eval_every": "evaluation.every",
        "checkpoint_every": "checkpoint.every",
        "processes": "engine.processes",
        "micro_batch": "engine.micro_batch",
        "zero_stage": "engine.zero_stage",
        "precision": "engine.precision",
    }

    output: LocalPath
    """A folder that receives metrics.jsonl, tensorboard/, eval_start.json, eval_end.json, checkpoints/ and, at the
    end, export/."""
    init: str
    """An exported model; actor and critic start from it."""
    data: PromptDataConfig | None = None
    """The prompts."""
    environments: EnvironmentDataConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    """Live environments in place of `data`."""
    iterations: int = Field(default=600, ge=1)
    """Rounds of sampling and updating."""
    rollout: RolloutConfig = RolloutConfig()
    """Sampling."""
    algorithm: AlgorithmConfig = AlgorithmConfig()
    """Advantages and losses."""
    actor: ActorConfig = ActorConfig()
    """The policy."""
    critic: CriticConfig = CriticConfig()
    """The value model."""
    optimizer: RLOptimizerConfig = RLOptimizerConfig()
    """AdamW."""
    engine: RLEngineConfig = RLEngineConfig()
    """Processes, ZeRO stage and precision."""
    checkpoint: RLCheckpointConfig = RLCheckpointConfig()
    """When checkpoints are written."""
    evaluation: HeldoutConfig = HeldoutConfig()
    """Held-out evaluation."""
    seed: int = 0
    """Seed of the order of prompts, of sampling and of mini-batches."""

    @property
    def shares_features(self) -> bool:
        """Whether each image is encoded once an iteration for both networks: when nothing that encodes it is trained.

        Not with ZeRO-3: ranks have different numbers of images, and a rank that calls the partitioned encoder more
        often than the others would wait for them for ever.
        """
        scale = self.optimizer.lr_scale
        return scale.vision == 0 and scale.projector == 0 and self.engine.zero_stage < 3

    def with_processes(self, processes: int) -> Self:
        """The run in another number of processes, as a cluster's launcher sets it.

        Raises:
            UserError: The prompts of an iteration cannot be shared among them.
        """
        config = self.model_copy(update={"engine": self.engine.model_copy(update={"processes": processes})})
        try:
            config._check_rollouts()
        except ValueError as error:
            raise UserError(f"{error}; {processes} processes were started") from None
        return config

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.data is None) == (self.environments is None):
            raise ValueError("give the prompts, as data, or live environments, as environments: one of the two")
        return self

    @model_validator(mode="after")
    def _check_divisibility(self) -> Self:
        self.engine.check_length("rollout.max_new_tokens", self.rollout.max_new_tokens)
        self._check_rollouts()
        return self

    def _check_rollouts(self) -> None:
        prompts, processes = self.rollout.prompts_per_iteration, self.engine.processes
        if prompts % processes:
            raise ValueError(
                f"rollout.prompts_per_iteration {prompts} is not a multiple of engine.processes {processes}"
            )
        rollouts = prompts // processes * self.rollout.rollouts_per_prompt
        for name, minibatches in (("actor", self.actor.minibatches), ("critic", self.critic.minibatches)):
            if minibatches > rollouts:
                raise ValueError(f"{name}.minibatches {minibatches} exceeds the {rollouts} rollouts of one process")
