"""How well texts describe an image: by a model of the CLIP kind where there is one, else by words alone.

Both say for each text a number from 0 to 1, but not on one scale: each has a threshold of its own.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.config import Config
from step3vl.pipelines.sources.pairs.image_text import PairText, Role
from step3vl.pipelines.sources.text.words import content_words

_ROLE_WEIGHT: dict[Role, float] = {"caption": 0.3, "alt": 0.3, "below": 0.12, "above": 0.08}
_CUE_WEIGHT = 0.3  # of a text that begins as captions do
_MENTION_WEIGHT = 0.15  # of one that speaks of what is to be seen
_OVERLAP_WEIGHT = 0.35  # of words that are said about the image elsewhere too
_CONTENT_WEIGHT = 0.2  # of enough words to say something
_ENOUGH = 6  # content words
_CUE = re.compile(
    r"^(?:(?:fig(?:ure)?|photo(?:graph)?|image|picture|plate|illustration|"  # words: of captions
    r"diagram|chart|screenshot|map)s?\.?\s*"
    r"(?:[\dIVX]+[\d.a-z]*\s*[.:)–-]|:|by\b|of\b|showing\b)|[图圖]\s*[\d一二三四五六七八九十]+|(?:上|下|左|右)图|图为|图片说明)",
    re.IGNORECASE,
)
_MENTION = re.compile(
    r"\b(?:shown|shows|showing|pictured|depicts?|depicted|"  # words: of captions
    r"illustrat\w+|seen (?:here|above|below)|photograph\w*|screenshot|"
    r"(?:image|figure|picture|photo|diagram|plot|map) (?:above|below|shows?)|"  # words: of captions
    r"(?:above|below|following) (?:image|figure|picture|photo|diagram|plot|map))\b|"  # words: of captions
    r"如[上下]?图|[上下左右]图|图中|所示|照片|画面",
    re.IGNORECASE,
)


class LexicalScorer(Config):
    """Without a model: by the role of a text, by how captions are worded, and by the words that the name of the file,
    the alternative text, the heading and the title of the page share with it. It never looks at the image, and cannot
    tell a wrong caption that is well written."""

    kind: Literal["lexical"] = "lexical"
    min_similarity: float = Field(default=0.3, ge=0, le=1)
    """Texts below it do not describe their image."""


class ClipScorer(Config):
    """With a model of the CLIP or SigLIP kind, which runs on Ray or in Beam's workers."""

    kind: Literal["clip"]
    folder: str = Field(pattern=r"^/")
    """The model in the format of `transformers`, at the same absolute path on every machine."""
    min_similarity: float = Field(default=0.26, ge=-1, le=1)
    """Cosine of image and text; 0.26 to 0.3 is usual for ViT-B/32 and ViT-L/14, about 0.1 for SigLIP."""
    aesthetic_head: str = Field(default="", pattern=r"^(/.*)?$")
    """Safetensors with `weight` [1, dim] and `bias` [1] of a linear layer on the normalised embedding of an image."""
    min_aesthetic: float = 0.0
    """By that layer, on its own scale; LAION's is 1 to 10."""


Scorer = Annotated[LexicalScorer | ClipScorer, Field(discriminator="kind")]


def lexical_similarity(texts: Sequence[PairText], around: Sequence[str]) -> list[float]:
    """How likely each text describes an image that cannot be looked at, 0..1; see `LexicalScorer`.

    Args:
        texts: Those that may describe it.
        around: What else is known of it, such as the name of its file.
    """
    known = [set(content_words(each)) for each in around]
    text_words = [set(content_words(each.text)) for each in texts]
    scores = []
    for place, text in enumerate(texts):
        others = [words for other, words in enumerate(text_words) if other != place and texts[other].role == "alt"]
        scores.append(_score(text, text_words[place], [*known, *others]))
    return scores


def _score(text: PairText, content: set[str], known: Sequence[set[str]]) -> float:
    if not content:
        return 0.0
    overlap = max((len(content & words) / len(words) for words in known if words), default=0.0)
    score = _ROLE_WEIGHT[text.role] + _OVERLAP_WEIGHT * overlap + _CONTENT_WEIGHT * min(1.0, len(content) / _ENOUGH)
    if _CUE.search(text.text):
        score += _CUE_WEIGHT
    elif _MENTION.search(text.text):
        score += _MENTION_WEIGHT
    return round(min(score, 1.0), 4)


def detail(image: PILImage.Image) -> float:
    """The entropy of an image's grey levels over that of noise, 0..1: near 0 for a blank one.

    It says whether there is anything to see, not whether it is beautiful.

    Args:
        image: Decoded.
    """
    small = image.convert("L")
    small.thumbnail((256, 256))
    counts = np.bincount(np.asarray(small).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return round(float(-(shares * np.log2(shares)).sum()) / 8 + 0.0, 4)
