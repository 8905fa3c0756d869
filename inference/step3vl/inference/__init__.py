"""Answers: the in-process engine, sampling, and PaCoRe."""

from step3vl.inference.engine import Completion, Engine, Request
from step3vl.inference.pacore import PaCoRe, PaCoReConfig, PaCoReResult, Usage
from step3vl.inference.sampling import Sampling

__all__ = [
    "Completion",
    "Engine",
    "PaCoRe",
    "PaCoReConfig",
    "PaCoReResult",
    "Request",
    "Sampling",
    "Usage",
]
