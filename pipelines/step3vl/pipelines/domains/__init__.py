"""The domains of a corpus: each is one module here, and one line in `_MODULES`."""

from importlib import import_module
from typing import Any

from step3vl.pipelines.core.domain import Domain

__all__ = ["DOMAINS"]

_MODULES = (
    "ocr_documents",
    "ocr_synthetic",
    "grounding",
    "maps",
    "education",
)

DOMAINS: dict[str, Domain[Any]] = {
    domain.name: domain for domain in (import_module(f"{__name__}.{module}").DOMAIN for module in _MODULES)
}
"""Every domain by its name, the value of an entry's `domain` field."""
