"""Started by `launch` in tests: several runs in one set of ranks, because starting Python with torch takes seconds.

The argument names a YAML list of configurations.
"""

from pathlib import Path

import yaml

from step3vl.training.engine import leave
from step3vl.training.launch import run_rank
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import train


def main(path: str) -> None:
    for values in yaml.safe_load(Path(path).read_text(encoding="utf-8")):
        train(PretrainConfig.model_validate(values), "test")
    leave()


if __name__ == "__main__":
    run_rank(main)
