"""Text drawn on a picture, to be read back: fonts, sizes, backgrounds and tilts vary, English and Chinese.

After the synthetic image-to-text data of the STEP3-VL-10B report, section 2.2.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from step3vl.data.sample import Sample, Source
from step3vl.data.truth import TextTruth, TranscriptTruth
from step3vl.pipelines.compose import DomainEntry, Range, compose, encode_jpeg
from step3vl.pipelines.render.page import block_size, draw_lines, draw_tilted, fit
from step3vl.pipelines.render.style import Background, Face, Photos, ink, paper
from step3vl.pipelines.sources.files import expand
from step3vl.pipelines.steps import BuildNumbered, Dropped, Record

Language = Literal["en", "zh"]
Unit = Literal["digits", "letters", "words", "lines"]

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_QUESTIONS = {
    "digits": ("Read the number.",),
    "letters": ("Read the text.",),
    "words": ("Read the text.",),
    "lines": ("Read the text.", "Transcribe the text."),
}


class SyntheticEntry(DomainEntry):
    """Pictures of text.

    text: `digits` and `letters` are random, `words` are consecutive words and `lines` whole lines of the texts.
    characters: how long the text is; for `lines`, each line is kept whole and the bounds hold for all of it.
    lines: how many lines of the texts one picture shows (`lines` only).
    width, height: of the picture in pixels; font: size in pixels; tilt: greatest angle in degrees.
    texts: the files of each language, one sentence a line.
    """

    domain: Literal["ocr.image_to_text"]
    count: int = Field(gt=0)
    text: Unit = "lines"
    languages: tuple[Language, ...] = ("en", "zh")
    characters: Range = (1, 400)
    lines: Range = (1, 6)
    width: Range = (448, 728)
    height: Range = (448, 728)
    font: Range = (16, 40)
    tilt: float = Field(default=0.0, ge=0, le=30)
    backgrounds: tuple[Background, ...] = ("plain", "gradient", "photo")
    texts: dict[Language, str] = Field(
        default={"en": "data/samples/text/en.txt", "zh": "data/samples/text/zh.txt"}, min_length=1
    )
    font_files: tuple[str, ...] = ("data/samples/fonts/*.ttf", "data/samples/fonts/*.otf")
    photo_files: tuple[str, ...] = ("data/samples/photos/*.jpg",)
    licence: str = "CC0-1.0"

    def files(self) -> list[Path]:
        """What the entry reads. Raises UserError when a pattern matches nothing."""
        texts = expand([self.texts[language] for language in self.languages], self.name)
        return [*texts, *expand(self.font_files, self.name), *expand(self.photo_files, self.name)]


def pick_text(unit: Unit, corpus: list[str], language: Language, entry: SyntheticEntry, rng: random.Random) -> str:
    """A text of the unit within the bounds of the entry. Raises `Dropped` when the one chosen is out of bounds."""
    low, high = entry.characters
    if unit in ("digits", "letters"):
        chinese = sorted({character for line in corpus for character in line if character.isalpha()})
        alphabet: list[str] | str = _DIGITS if unit == "digits" else (chinese if language == "zh" else _LETTERS)
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high)))
    start = rng.randrange(len(corpus))
    if unit == "words":
        return _some_words(corpus[start], language, rng.randint(low, high), low, rng)
    number = rng.randint(*entry.lines)
    text = "\n".join(corpus[(start + i) % len(corpus)] for i in range(number))
    if not low <= len(text) <= high:
        raise Dropped("length_out_of_range")
    return text


def _some_words(line: str, language: Language, target: int, low: int, rng: random.Random) -> str:
    """A stretch of whole words, or of Chinese characters, of about `target` and at least `low` characters."""
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


class DrawText:
    """Worker: a number becomes a picture of a text."""

    def __init__(self, entry: SyntheticEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        entry = self._entry
        self._faces = [Face(path) for path in expand(entry.font_files, entry.name)]
        self._photos = Photos(expand(entry.photo_files, entry.name))
        self._corpora = {
            language: [line for line in Path(entry.texts[language]).read_text("utf-8").splitlines() if line]
            for language in entry.languages
        }

    def process(self, record: Record, rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        language = rng.choice(entry.languages)
        text = pick_text(entry.text, self._corpora[language], language, entry, rng)
        faces = [face for face in self._faces if face.covers(text)]
        if not faces:
            raise Dropped("no_font_has_all_characters")
        size = rng.randint(*entry.width), rng.randint(*entry.height)
        margin = max(2, min(size) // 24)
        space = size[0] - 2 * margin, size[1] - 2 * margin
        fitted = fit(text, rng.choice(faces), space, entry.font, rng, one_line=entry.text != "lines")
        if fitted is None:
            raise Dropped("does_not_fit")
        lines, font = fitted
        picture, dark = paper(rng.choice(entry.backgrounds), size, self._photos, rng)
        block = block_size(lines, font)
        x, y = (rng.randint(margin, max(margin, size[i] - margin - block[i])) for i in (0, 1))
        angle = rng.uniform(-entry.tilt, entry.tilt)
        if angle:
            centre = x + block[0] // 2, y + block[1] // 2
            draw_tilted(picture, lines, font, centre, ink(dark, rng), angle)
        else:
            draw_lines(picture, lines, font, (x, y), ink(dark, rng))
        # What is seen is what was drawn: the lines as they were broken, not as the text had them.
        seen = "\n".join(lines)
        truth = TranscriptTruth(text=seen) if entry.text == "lines" else TextTruth(text=seen)
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task="ocr.image_to_text",
            question=rng.choice(_QUESTIONS[entry.text]),
            answer=seen,
            truth=truth,
            images=[encode_jpeg(picture)],
            source=Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}"),
        )


class ReadDrawnText(BuildNumbered):
    """Image-to-text samples of one entry, drawn."""

    def __init__(self, entry: SyntheticEntry, seed: int) -> None:
        super().__init__(entry.name, entry.count, DrawText(entry), seed)
