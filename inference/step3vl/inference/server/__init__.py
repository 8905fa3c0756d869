"""OpenAI-compatible HTTP over any backend, with PaCoRe as a model and a playground page."""

from step3vl.data.optional import require

for _module in ("fastapi", "uvicorn", "httptools", "httpcore", "prometheus_client"):
    require(_module, "client")  # before the imports below need them

from step3vl.inference.server.app import create_app  # noqa: E402
from step3vl.inference.server.config import ServerConfig  # noqa: E402
from step3vl.inference.server.serve import serve  # noqa: E402

__all__ = ["ServerConfig", "create_app", "serve"]
