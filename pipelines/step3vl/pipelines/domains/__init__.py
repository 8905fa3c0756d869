"""The domains of a corpus: those of this package, each a module here and a line in `_MODULES`, and those of others.

Another package names its domains in the entry-point group `step3vl.domains`:

    [project.entry-points."step3vl.domains"]
    colours = "colour_domain:DOMAIN"
"""

from collections.abc import Iterable, Iterator, MutableMapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from step3vl.data.errors import UserError, describe_error
from step3vl.pipelines.core.domain import Domain

__all__ = ["DOMAINS", "GROUP"]

GROUP = "step3vl.domains"

_MODULES = {
    "education": "education",
    "education.exams": "education_exams",
    "education.figures": "education_figures",
    "education.worksheets": "education_worksheets",
    "grounding": "grounding",
    "gui": "gui",
    "gui.annotated": "gui_annotated",
    "gui.desktop": "gui_desktop",
    "gui.miniwob": "gui_miniwob",
    "grounding.annotated": "grounding_annotated",
    "grounding.composites": "grounding_composites",
    "grounding.documents": "grounding_documents",
    "grounding.figures": "grounding_figures",
    "knowledge.interleaved": "knowledge_interleaved",
    "knowledge.mosaic": "knowledge_mosaic",
    "knowledge.pairs": "knowledge_pairs",
    "knowledge.retrieval": "knowledge_retrieval",
    "maps": "maps",
    "maps.regions": "map_regions",
    "ocr.document_to_code": "ocr_document_to_code",
    "ocr.document_to_text": "ocr_documents",
    "ocr.image_to_code": "ocr_image_to_code",
    "ocr.image_to_text": "ocr_synthetic",
    "ocr.scene_text": "ocr_scene_text",
    "ocr.text_pages": "ocr_text_pages",
    "text": "text",
    "vqa": "vqa",
    "vqa.open": "vqa_open",
    "vqa.scenes": "vqa_scenes",
}


class Domains(MutableMapping[str, Domain[Any]]):
    """Every domain by its name. Those of this package are imported when they are asked for: a worker needs one.

    Args:
        plugins: The domains of other packages.

    Raises:
        UserError: One of them cannot be loaded, is no domain, or has the name of another.
    """

    def __init__(self, plugins: Iterable[EntryPoint]) -> None:
        self._loaded: dict[str, Domain[Any]] = {}
        for plugin in plugins:
            domain = _load(plugin)
            if domain.name in self:
                other = self[domain.name].entry.__module__
                raise UserError(
                    f"{_origin(plugin)} is named {domain.name!r}, as that of {other} is; uninstall one of them"
                )
            self[domain.name] = domain

    def __getitem__(self, name: str) -> Domain[Any]:
        if name not in self._loaded and name in _MODULES:
            self._loaded[name] = import_module(f"{__name__}.{_MODULES[name]}").DOMAIN
        return self._loaded[name]

    def __setitem__(self, name: str, domain: Domain[Any]) -> None:
        self._loaded[name] = domain

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in _MODULES or name in self._loaded

    def __iter__(self) -> Iterator[str]:
        yield from _MODULES
        yield from (name for name in self._loaded if name not in _MODULES)

    def __len__(self) -> int:
        return len({*_MODULES, *self._loaded})


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


DOMAINS = Domains(entry_points(group=GROUP))
"""Every domain by its name, the value of an entry's `domain` field."""
