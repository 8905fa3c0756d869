"""Text rendered on an image, to be read back: fonts, sizes, backgrounds and tilts vary, English and Chinese.

A text is asked for in its own language.

After the synthetic image-to-text data of the STEP3-VL-10B report, section 2.2.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from step3vl.data.sample import Sample, Source, TextTruth, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, IntRange
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.text_page_check import CheckTextPages
from step3vl.pipelines.domains.text_page_questions import ask
from step3vl.pipelines.render.pages.page import block_size, fit, render_lines, render_tilted_lines
from step3vl.pipelines.render.style import Background, FontFace, PhotoBackgrounds, ink, paper

Unit = Literal["digits", "characters", "words", "lines"]

_DIGITS = "0123456789"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class SyntheticEntry(GeneratedEntry):
    """Images of text."""

    domain: Literal["ocr.image_to_text"]
    text: Unit = "lines"
    """`digits` and `characters` are random; `words` are consecutive words, and `lines` whole lines, of the texts."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Chosen from with equal probability."""
    characters: IntRange = (1, 400)
    """The length of the text. With `text: lines` no line is cut, and the bounds hold for the sum."""
    lines: IntRange = (1, 6)
    """How many lines of the texts an image shows, with `text: lines`."""
    width: IntRange = (448, 728)
    """Of the image, in pixels."""
    height: IntRange = (448, 728)
    """Of the image, in pixels."""
    font_size: IntRange = (16, 40)
    """In pixels."""
    tilt: float = Field(default=0.0, ge=0, le=30)
    """The greatest angle in degrees."""
    backgrounds: tuple[Background, ...] = ("plain", "gradient", "photo")
    """Chosen from with equal probability."""
    texts: dict[Language, str] = Field(default={"en": "assets:text/en.txt", "zh": "assets:text/zh.txt"}, min_length=1)
    """The file of each language, one sentence a line."""
    font_files: tuple[str, ...] = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
    """Patterns of fonts; a text is set in one that has all its characters."""
    photo_files: tuple[str, ...] = ("assets:photos/*.jpg",)
    """Patterns of photographs."""
    licence: str = "CC0-1.0"
    """Of the samples."""

    @model_validator(mode="after")
    def _languages_have_texts(self) -> Self:
        for language in self.languages:
            if language not in self.texts:
                raise ValueError(f"texts has no file for {language!r}, which languages lists; add it")
        return self

    def assets(self) -> tuple[str, ...]:
        texts = (self.texts[language] for language in self.languages)
        photos = self.photo_files if "photo" in self.backgrounds else ()
        return (*texts, *self.font_files, *photos)


class Corpus(NamedTuple):
    """The lines of a language's texts, and the characters that random text is made of."""

    lines: list[str]
    alphabet: Sequence[str]


def load_corpus(path: Path, unit: Unit, language: Language) -> Corpus:
    """Read a file of one sentence a line. Random Chinese characters are those that occur in it."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line]
    if unit == "digits":
        return Corpus(lines, _DIGITS)
    if language == "en":
        return Corpus(lines, _CAPITALS)
    return Corpus(lines, sorted({character for line in lines for character in line if character.isalpha()}))


def pick_text(corpus: Corpus, language: Language, entry: SyntheticEntry, rng: random.Random) -> str:
    """A random text within the bounds of the entry.

    Raises:
        Dropped: The text chosen is out of bounds.
    """
    low, high = entry.characters
    if entry.text in ("digits", "characters"):
        return "".join(rng.choice(corpus.alphabet) for _ in range(rng.randint(low, high)))
    lines = corpus.lines
    start = rng.randrange(len(lines))
    if entry.text == "words":
        return _some_words(lines[start], language, rng.randint(low, high), low, rng)
    number = rng.randint(*entry.lines)
    text = "\n".join(lines[(start + i) % len(lines)] for i in range(number))
    if not low <= len(text) <= high:
        raise Dropped("length_out_of_range")
    return text


def _some_words(line: str, language: Language, target: int, low: int, rng: random.Random) -> str:
    """Consecutive words, or Chinese characters, of at most `target` and at least `low` characters."""
    pieces = list(line.strip("。？！，")) if language == "zh" else line.split()
    first = rng.randrange(len(pieces))
    glue = "" if language == "zh" else " "
    text = pieces[first].strip(",.;:!?，。")
    for piece in pieces[first + 1 :]:
        if len(text) + len(glue) + len(piece) > target:
            break
        text += glue + piece
    text = text.strip(" ,.;:!?，。、；：")
    if not low <= len(text) <= target:
        raise Dropped("length_out_of_range")
    return text


class RenderText:
    """Worker: a number becomes an image of a text."""

    def __init__(self, entry: SyntheticEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry, assets = self._entry, self._context.assets
        self._faces = [FontFace(path) for path in assets(entry.font_files)]
        self._photos = PhotoBackgrounds(assets(entry.photo_files) if "photo" in entry.backgrounds else ())
        self._corpora = {
            language: load_corpus(assets([entry.texts[language]])[0], entry.text, language)
            for language in entry.languages
        }

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        language = rng.choice(entry.languages)
        text = pick_text(self._corpora[language], language, entry, rng)
        faces = [face for face in self._faces if face.covers(text)]
        if not faces:
            raise Dropped("no_font_has_all_characters")
        size = rng.randint(*entry.width), rng.randint(*entry.height)
        margin = max(2, min(size) // 24)
        space = size[0] - 2 * margin, size[1] - 2 * margin
        fitted = fit(text, rng.choice(faces), space, entry.font_size, rng, single_line=entry.text != "lines")
        if fitted is None:
            raise Dropped("does_not_fit")
        lines, font = fitted
        image, dark = paper(rng.choice(entry.backgrounds), size, self._photos, rng)
        block = block_size(lines, font)
        x, y = (rng.randint(margin, max(margin, size[i] - margin - block[i])) for i in (0, 1))
        angle = rng.uniform(-entry.tilt, entry.tilt)
        if angle:
            centre = x + block[0] // 2, y + block[1] // 2
            render_tilted_lines(image, lines, font, centre, ink(dark, rng), angle)
        else:
            render_lines(image, lines, font, (x, y), ink(dark, rng))
        # The answer is what the image shows: the lines as they were broken, not as the text had them.
        answer = "\n".join(lines)
        truth = TranscriptTruth(text=answer) if entry.text == "lines" else TextTruth(text=answer)
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task="ocr.image_to_text",
            question=ask("transcribe", language, rng),
            answer=answer,
            truth=truth,
            images=[encode_jpeg(image)],
            source=Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )


DOMAIN = Domain(
    SyntheticEntry,
    steps=(BeamStep("build", version=2, worker=RenderText, output=Sample),),
    label_check=CheckTextPages,
    example={"count": 20, "languages": ["en"], "text": "words", "characters": [5, 40]},
)
