"""The client side of inference: requests, backends and the OpenAI wire format. Needs no torch."""

from step3vl.data.optional import require

require("httpx", "client")

from step3vl.inference.client.backend import (  # noqa: E402  after the check, so that its error is the first
    Backend,
    BackendError,
    DeltaStream,
    RemoteBackend,
    RolloutBuilder,
    Usage,
    collect,
    complete,
)
from step3vl.inference.client.event_loop import gather, run_sync  # noqa: E402
from step3vl.inference.client.openai_backend import OpenAIBackend  # noqa: E402
from step3vl.inference.client.reply_splitter import PieceKind, ReplyPiece, ReplySplitter  # noqa: E402
from step3vl.inference.client.requests import Completion, Delta, FinishReason, Request, TokenLogprob  # noqa: E402
from step3vl.inference.client.sampling import Sampling  # noqa: E402

__all__ = [
    "Backend",
    "BackendError",
    "Completion",
    "Delta",
    "DeltaStream",
    "FinishReason",
    "OpenAIBackend",
    "PieceKind",
    "RemoteBackend",
    "ReplyPiece",
    "ReplySplitter",
    "Request",
    "RolloutBuilder",
    "Sampling",
    "TokenLogprob",
    "Usage",
    "collect",
    "complete",
    "gather",
    "run_sync",
]
