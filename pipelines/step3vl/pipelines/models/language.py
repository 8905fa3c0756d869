"""The language of a text, by py3langid, whose model is in its wheel."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from step3vl.data.optional import require

_CHINESE = {"wuu": "zh", "yue": "zh", "zh-hant": "zh", "zh-hans": "zh"}
_MAX = 2000  # characters that are looked at
_LIKELY = 0.5
_SURE = 0.8  # from which a text counts as one in a language; short texts seldom reach it


@cache
def _identifier() -> Any:
    langid = require("py3langid.langid", "pipelines")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def identify(text: str) -> tuple[str, float]:
    """The most likely language of a text.

    Args:
        text: In any language; its first 2,000 characters count.

    Returns:
        The ISO 639-1 code, or `zxx` for no language, and the confidence, 0..1. Of a few words no model can be sure.
    """
    language, confidence = _identifier().classify(text[:_MAX])
    return _CHINESE.get(language, str(language)), float(confidence)


def is_foreign(text: str, languages: Sequence[str]) -> bool:
    """Whether a text is surely in none of some languages. What is too short to tell is not.

    Args:
        text: In any language.
        languages: ISO 639-1 codes; without any, no text is foreign.
    """
    return bool(languages) and sure_language(text) not in ("", *languages)


def sure_language(text: str) -> str:
    """The ISO 639-1 code of a text's language, `zxx` for none; empty where it is not sure."""
    language, confidence = identify(text)
    return language if confidence >= _SURE else ""


def spoken(text: str) -> str:
    """The language of a text for a statistic: its code, or `und` where none is likely."""
    language, confidence = identify(text)
    return language if confidence >= _LIKELY else "und"
