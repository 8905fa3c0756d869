"""Inference: the client side (requests, backends, PaCoRe), which needs no torch, and the engine, which does.

The engine's names are imported when they are used, so that this package imports without torch.
"""

from typing import TYPE_CHECKING, Any

from step3vl.data.optional import require
from step3vl.inference.client import (
    Backend,
    BackendError,
    Completion,
    Delta,
    OpenAIBackend,
    Request,
    Sampling,
    TokenLogprob,
    Usage,
    collect,
    complete,
)
from step3vl.inference.pacore import PaCoRe, PaCoReConfig, PaCoReResult

if TYPE_CHECKING:
    from step3vl.inference.engine import Engine, EngineBackend, Job

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
    "collect",
    "complete",
]

_ENGINE_NAMES = frozenset({"Engine", "EngineBackend", "Job"})


def __getattr__(name: str) -> Any:
    if name not in _ENGINE_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch", "inference")
    from step3vl.inference import engine

    return getattr(engine, name)
