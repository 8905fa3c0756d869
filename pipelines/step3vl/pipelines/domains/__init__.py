"""The domains of a corpus: those of this package, each a module here and a line in `_MODULES`, and those of others.

Another package names its domains in the entry-point group `step3vl.domains`:

    [project.entry-points."step3vl.domains"]
    colours = "colour_domain:DOMAIN"
"""

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from step3vl.data.errors import UserError, describe_error
from step3vl.pipelines.core.domain import Domain

__all__ = ["DOMAINS", "GROUP"]

GROUP = "step3vl.domains"

_MODULES = (
    "ocr_documents",
    "ocr_synthetic",
    "ocr_text_pages",
    "ocr_scene_text",
    "grounding",
    "maps",
    "education",
    "education_figures",
    "education_worksheets",
    "education_exams",
    "ocr_image_to_code",
    "ocr_document_to_code",
    "text",
    "knowledge_interleaved",
    "knowledge_pairs",
    "knowledge_mosaic",
    "knowledge_retrieval",
    "vqa",
    "vqa_open",
    "vqa_scenes",
)


def load_domains(plugins: Iterable[EntryPoint]) -> dict[str, Domain[Any]]:
    """Every domain by its name.

    Args:
        plugins: The domains of other packages.

    Raises:
        UserError: One of them cannot be loaded, is no domain, or has the name of another.
    """
    domains = {domain.name: domain for domain in (import_module(f"{__name__}.{name}").DOMAIN for name in _MODULES)}
    for plugin in plugins:
        domain = _load(plugin)
        if domain.name in domains:
            other = domains[domain.name].entry.__module__
            raise UserError(
                f"{_origin(plugin)} is named {domain.name!r}, as that of {other} is; uninstall one of them"
            )
        domains[domain.name] = domain
    return domains


def _load(plugin: EntryPoint) -> Domain[Any]:
    advice = "upgrade or uninstall the package"
    try:
        domain = plugin.load()
    except Exception as error:  # whatever importing somebody's module may raise
        raise UserError(f"{_origin(plugin)} cannot be loaded: {describe_error(error)}; {advice}") from error
    if not isinstance(domain, Domain):
        raise UserError(f"{_origin(plugin)} is a {type(domain).__name__}, not a Domain; {advice}")
    return domain


def _origin(plugin: EntryPoint) -> str:
    package = f"package {plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an installed package"
    return f"the domain {plugin.value} of {package}"


DOMAINS: dict[str, Domain[Any]] = load_domains(entry_points(group=GROUP))
"""Every domain by its name, the value of an entry's `domain` field."""
