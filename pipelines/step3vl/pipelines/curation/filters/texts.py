"""Filters of whole texts: their quality in any script, their language, and how surprising they are to a model."""

from functools import cache
from typing import Any

from pydantic import Field

from step3vl.data.optional import require
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.models.language import identify
from step3vl.pipelines.models.perplexity import PerplexityConfig, PerplexityModel
from step3vl.pipelines.sources.text.text_quality import DAMAGED, LONG_WORD, QualityLimits, normalise, text_fault

PERPLEXITY = "perplexity"  # the name of the score
_NO_LANGUAGE = "zxx"
_LOOKED_AT = 2000  # characters of which the second opinion is asked


class TextFilter(Filter):
    """The rules that the domain `text` has for its documents, see `text_fault`: they hold in any script."""

    characters: tuple[int, int] = (1, 1_000_000)
    """Fewest and most, a CJK one counting double."""
    alphanumeric: float = Field(default=0.5, ge=0, le=1)
    """The least share of letters and digits among what is no space."""
    digits: float = Field(default=0.5, ge=0, le=1)
    """The largest share of digits."""
    repetition: float = Field(default=0.3, ge=0, le=1)
    """The largest share of sequences of five words that came before; a CJK character is a word."""

    def find(self, sample: SampleView) -> Finding | None:
        text = normalise(sample.text)
        reason, measured = text_fault(
            text, QualityLimits(self.characters, self.alphanumeric, self.digits, self.repetition)
        )
        if not reason:
            return None
        name, limit = {
            "too_short": ("characters", self.characters[0]),
            "too_long": ("characters", self.characters[1]),
            "damaged_text": ("damaged", DAMAGED),
            "symbols": ("alphanumeric", self.alphanumeric),
            "digits": ("digits", self.digits),
            "encoded_data": ("longest_word", LONG_WORD),
            "repetitive": ("repetition", self.repetition),
        }[reason]
        return Finding(reason, measured[name], limit)


class LanguageFilter(Filter):
    """Texts in other languages than those of a list.

    A model is asked that knows 97 languages, and of short texts, of which no model can be sure, a second one: such a
    text is dropped only where both say that it is foreign. FineWeb asks for 0.65, too.
    """

    languages: tuple[str, ...] = Field(min_length=1)
    """ISO 639-1 codes, such as en and zh."""
    confidence: float = Field(default=0.65, ge=0, le=1)
    """From which the first model is believed. Texts that it is less sure of are kept."""
    short: int = Field(default=300, ge=0)
    """Characters below which the second model has to agree."""
    min_characters: int = Field(default=20, ge=0)
    """Letters below which a text has no language that could be told, and passes."""

    def find(self, sample: SampleView) -> Finding | None:
        return language_fault(sample.text, self)


def language_fault(text: str, limits: LanguageFilter) -> Finding | None:
    """Whether a text is surely in a language that is not listed."""
    if sum(map(str.isalpha, text)) < limits.min_characters:
        return None
    language, confidence = identify(text)
    if language in limits.languages or language == _NO_LANGUAGE or confidence < limits.confidence:
        return None
    if len(text) < limits.short and second_opinion(text) in (*limits.languages, ""):
        return None
    return Finding("language", confidence, limits.confidence, language)


def second_opinion(text: str) -> str:
    """The ISO 639-1 code that langdetect gives a text, the same every time; empty where it finds no language."""
    detector = _detectors().create()
    detector.append(text[:_LOOKED_AT])
    try:
        return str(detector.detect()).partition("-")[0]
    except require("langdetect", "pipelines").LangDetectException:
        return ""


@cache
def _detectors() -> Any:
    langdetect = require("langdetect.detector_factory", "pipelines")
    factory = langdetect.DetectorFactory()
    factory.load_profile(langdetect.PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


class PerplexityFilter(Filter, PerplexityConfig):
    """Texts that surprise a language model too much; the perplexity is kept as a score."""

    def find(self, sample: SampleView) -> Finding | None:
        (perplexity,) = _model(self).measure([sample.text])
        if perplexity is None:
            return None
        sample.scores[PERPLEXITY] = perplexity
        return Finding("perplexity", perplexity, self.max) if perplexity > self.max else None


@cache
def _model(config: PerplexityConfig) -> PerplexityModel:
    return PerplexityModel(config)
