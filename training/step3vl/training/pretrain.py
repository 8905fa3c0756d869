"""Pretraining: `python -m step3vl.training.pretrain CONFIG.yaml`, in each rank.

Every component is trained on everything in the mixture: documents on all their text, conversations on their answers
(STEP3-VL-10B report, section 2.3).
"""

from step3vl.training.config import TrainConfig, read_config
from step3vl.training.launch import run_rank


class PretrainConfig(TrainConfig):
    """A run of pretraining."""


def main(config_path: str) -> None:
    """Train by a resolved configuration.

    Raises:
        UserError: Something is wrong in the configuration, the data or the checkpoint.
    """
    config = read_config(config_path, PretrainConfig)
    from step3vl.training.engine import leave  # these import torch and DeepSpeed
    from step3vl.training.trainer import train

    train(config, "pretrain")
    leave()


if __name__ == "__main__":
    run_rank(main)
