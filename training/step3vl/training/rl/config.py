"""What an RL run is told."""

from typing import Literal, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.training.config import Precision, TowerRates

Importance = Literal["clip", "none"]


class RLConfig(Config):
    """PPO with verifiable rewards; the defaults are the RLVR phase of the STEP3-VL-10B report, section 3.2.

    Where the report is silent (clip, critic mini-batches, critic warm-up) stand the values of the works it follows.
    """

    output: str  # a folder: metrics.jsonl, eval_start.json, eval_end.json, checkpoints/, export/
    init: str  # an exported model; actor and critic start from it
    dataset: str  # a committed dataset whose conversations carry a truth
    tasks: tuple[str, ...] = ("*",)  # patterns of task names, such as "grounding.*"

    iterations: int = Field(600, ge=1)
    prompts_per_iteration: int = Field(512, ge=1)
    rollouts_per_prompt: int = Field(16, ge=1)
    max_new_tokens: int = Field(24 * 1024, ge=1)
    temperature: float = Field(1.0, gt=0)
    truncated: Literal["zero", "mask"] = "zero"  # a response that never ends: reward 0, or left out of both losses

    actor_lr: float = Field(2e-6, ge=0)
    critic_lr: float = Field(5e-6, ge=0)
    lr_warmup: int = Field(20, ge=0)  # optimizer steps of either network over which its rate rises from 0
    actor_minibatches: int = Field(4, ge=1)  # 1 is strictly on-policy
    critic_minibatches: int = Field(12, ge=1)
    critic_warmup: int = Field(10, ge=0)  # iterations in which only the critic learns
    lr_scale: TowerRates = TowerRates(vision=0.0, projector=0.0)  # the decoder alone is trained

    gamma: float = Field(1.0, ge=0, le=1)
    lam: float = Field(1.0, ge=0, le=1)
    importance: Importance = "none"  # the report's off-policy regime; "clip" is standard PPO
    clip: float = Field(0.2, gt=0)
    value_clip: float | None = Field(None, gt=0)
    tis_cap: float = Field(8.0, gt=0)

    heldout_prompts: int = Field(256, ge=1)  # of each task, or as many as there are
    heldout_samples: int = Field(1, ge=1)
    eval_every: int | None = Field(None, ge=1)  # iterations, besides before the first and after the last
    checkpoint_every: int = Field(50, ge=1)

    processes: int = Field(1, ge=1)
    micro_batch: int = Field(8, ge=1)  # rollouts in one forward pass of a process
    zero_stage: Literal[0, 1, 2, 3] = 1
    precision: Precision = "bf16"
    grad_clip: float = Field(1.0, gt=0)
    seed: int = 0

    @property
    def shares_features(self) -> bool:
        """Whether a picture is encoded once an iteration for all that look at it: when nothing on its way is trained.

        Not with ZeRO-3: ranks have different numbers of pictures, and a rank that calls the partitioned encoder more
        often than the others would wait for them for ever.
        """
        return self.lr_scale.vision == 0 and self.lr_scale.projector == 0 and self.zero_stage < 3

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.prompts_per_iteration % self.processes:
            raise ValueError(
                f"prompts_per_iteration {self.prompts_per_iteration} is not a multiple of processes {self.processes}"
            )
        own = self.prompts_per_iteration // self.processes * self.rollouts_per_prompt
        for name in ("actor_minibatches", "critic_minibatches"):
            if getattr(self, name) > own:
                raise ValueError(f"{name} {getattr(self, name)} exceeds the {own} rollouts of one process")
        return self
