"""Answers: the in-process engine, sampling, and PaCoRe."""

from step3vl.inference.backend import Backend, BackendError, EngineBackend, Usage, complete
from step3vl.inference.engine import Engine
from step3vl.inference.jobs import Completion, Delta, Job, Request, TokenLogprob
from step3vl.inference.openai_backend import OpenAIBackend
from step3vl.inference.pacore import PaCoRe, PaCoReConfig, PaCoReResult
from step3vl.inference.sampling import Sampling

__all__ = [
    "Backend",
    "BackendError",
    "Completion",
    "Delta",
    "Engine",
    "EngineBackend",
    "Job",
    "OpenAIBackend",
    "PaCoRe",
    "PaCoReConfig",
    "PaCoReResult",
    "Request",
    "Sampling",
    "TokenLogprob",
    "Usage",
    "complete",
]
