"""Supervised fine-tuning: `python -m step3vl.training.sft CONFIG.yaml`, in each rank.

The same trainer on conversations only, from a pretrained model. The two stages of the STEP3-VL-10B report, section 3.1
(text to multimodal 9:1, then 1:1) are two phases whose mixtures select by `modality`.
"""

from typing import ClassVar, Self

from pydantic import model_validator

from step3vl.data.sample import Kind
from step3vl.training.config import TrainConfig, read_config
from step3vl.training.launch import run_rank


class SFTConfig(TrainConfig):
    """A run of fine-tuning: sources give their conversations, and the model comes from `init`."""

    sample_kind: ClassVar[Kind | None] = "conversation"

    @model_validator(mode="after")
    def _check_conversations(self) -> Self:
        if self.init is None:
            raise ValueError("fine-tuning needs init, the exported model to start from")
        if any(source.kind == "document" for phase in self.phases for source in phase.mixture.sources):
            raise ValueError("fine-tuning trains on conversations; a source selects kind: document")
        return self


def main(config_path: str) -> None:
    """Train by a resolved configuration.

    Raises:
        UserError: Something is wrong in the configuration, the data or the checkpoint.
    """
    config = read_config(config_path, SFTConfig)
    from step3vl.training.engine import leave  # these import torch and DeepSpeed
    from step3vl.training.trainer import train

    train(config, "sft")
    leave()


if __name__ == "__main__":
    run_rank(main)
