"""OpenAI-compatible HTTP over any backend, with PaCoRe as a model and a playground page."""

from step3vl.inference.server.app import create_app
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.serve import serve

__all__ = ["ServerConfig", "create_app", "serve"]
