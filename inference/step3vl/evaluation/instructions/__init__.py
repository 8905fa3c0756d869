"""Instructions that a program can verify: the checks of IFEval and IFBench, and how they are applied."""

from step3vl.evaluation.instructions.following import Followed, follow

__all__ = ["Followed", "follow"]
