"""Which filters a sample has to pass, by its task, and what they find."""

import fnmatch
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

from pydantic import ConfigDict, PrivateAttr, RootModel, model_validator

from step3vl.data.config import Config
from step3vl.pipelines.curation.filters.alignment import AnswerabilityFilter, ImageTextFilter, VisualDependencyFilter
from step3vl.pipelines.curation.filters.licences import LicenceFilter
from step3vl.pipelines.curation.filters.markup import AnswerFilter, FormattingFilter
from step3vl.pipelines.curation.filters.masking import PersonalDataConfig
from step3vl.pipelines.curation.filters.pixels import BlankFilter, BlurFilter, NsfwFilter, QrFilter, SizeFilter
from step3vl.pipelines.curation.filters.repetition import RepetitionFilter
from step3vl.pipelines.curation.filters.rollouts import RolloutsFilter
from step3vl.pipelines.curation.filters.texts import LanguageFilter, PerplexityFilter, TextFilter
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.curation.filters.words import C4Filter, FineWebFilter, GopherFilter


class FilterSet(Config):
    """Filters in the order in which a sample passes them: the first that finds something decides.

    A filter that is left out is not applied; null takes back what an earlier pattern said.
    """

    licence: LicenceFilter | None = None
    formatting: FormattingFilter | None = None
    answer: AnswerFilter | None = None
    text: TextFilter | None = None
    gopher: GopherFilter | None = None
    fineweb: FineWebFilter | None = None
    c4: C4Filter | None = None
    repetition: RepetitionFilter | None = None
    language: LanguageFilter | None = None
    answerability: AnswerabilityFilter | None = None
    image_size: SizeFilter | None = None
    blank: BlankFilter | None = None
    blur: BlurFilter | None = None
    qr: QrFilter | None = None
    nsfw: NsfwFilter | None = None
    perplexity: PerplexityFilter | None = None
    image_text: ImageTextFilter | None = None
    visual_dependency: VisualDependencyFilter | None = None
    rollouts: RolloutsFilter | None = None
    personal_data: PersonalDataConfig | None = None
    """Masked in samples that pass all others."""

    @cached_property
    def filters(self) -> tuple[Filter, ...]:
        """Those that are applied, in order."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if isinstance(value, Filter))

    @property
    def needs_images(self) -> bool:
        """Whether one of them looks at decoded images."""
        return any(filter.needs_images for filter in self.filters)

    def find(self, sample: SampleView) -> Finding | None:
        """Why a sample is dropped; None for one that passes all filters."""
        return next((finding for filter in self.filters if (finding := filter.find(sample))), None)


class FiltersConfig(RootModel[dict[str, FilterSet]]):
    """Filters by pattern. A pattern such as `*`, `text` or `ocr.*` matches tasks and domains; of several that match a
    sample, a later one overrides the filters that it names."""

    model_config = ConfigDict(frozen=True)

    _sets: dict[tuple[str, str], FilterSet] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not any(rules.model_fields_set for rules in self.root.values()):
            raise ValueError("no filter is named; give one, such as {'*': {blank: {}}}, or leave `filters` out")
        return self

    def of(self, domain: str, task: str) -> FilterSet:
        """The filters of the samples of a task, worked out once."""
        key = domain, task
        if key not in self._sets:
            self._sets[key] = FilterSet.model_construct(**dict(self._fields(domain, task)))
        return self._sets[key]

    def _fields(self, domain: str, task: str) -> Iterator[tuple[str, Any]]:
        for pattern, rules in self.root.items():
            if fnmatch.fnmatchcase(task, pattern) or fnmatch.fnmatchcase(domain, pattern):
                for name in rules.model_fields_set:
                    yield name, getattr(rules, name)
