"""What a page is made of: the words of its text, and the faces, sizes and colours that it is set in."""

import random

from step3vl.pipelines.render.pages.line_breaks import words_of
from step3vl.pipelines.render.pages.sheet import Align, Pen
from step3vl.pipelines.render.pages.typefaces import Typeface, TypefaceLibrary, choose
from step3vl.pipelines.render.style import Colour, luminance
from step3vl.pipelines.sources.documents.page_words import VALUES, WORDS, language_of
from step3vl.pipelines.sources.text.scripts import is_right_to_left, main_script

_ENDS = " ,.;:!?-–—/|\"'、。，；：！？…（）()[]«»“”„‘’"
_DENSE = frozenset({"CHINESE", "JAPANESE", "KOREAN"})
_TALL = _DENSE | {"ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "GUJARATI", "GURMUKHI",
                  "THAI", "KHMER", "MYANMAR", "SINHALA", "ORIYA", "TIBETAN", "LAO"}  # fmt: skip
INKS: tuple[Colour, ...] = (
    (0, 0, 0), (15, 15, 20), (25, 25, 25), (30, 30, 45), (45, 40, 35), (20, 30, 60), (50, 50, 50),
)  # fmt: skip
PENS: tuple[Colour, ...] = ((20, 30, 120), (10, 10, 30), (25, 60, 140), (60, 20, 20), (35, 35, 35))
ACCENTS: tuple[Colour, ...] = (
    (160, 20, 30), (20, 60, 140), (10, 100, 70), (110, 40, 120), (150, 80, 10), (0, 90, 110), (70, 70, 70),
    (90, 20, 60),
)  # fmt: skip


class Uncovered(ValueError):
    """A text for which no font has all characters."""


class Copy:
    """The text of a page, which its parts take from, each word once.

    Args:
        text: Its paragraphs on lines.
        rng: Chooses values.
    """

    def __init__(self, text: str, rng: random.Random) -> None:
        self.paragraphs = text.split("\n")
        self.script = main_script(text)
        self.language = language_of(text)
        self.words = WORDS[self.language]
        self.right_to_left = is_right_to_left(text)
        self._rng = rng
        self._left: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether all of the text is taken."""
        return not self.paragraphs and not self._left

    @property
    def length(self) -> int:
        """Characters that are not taken."""
        return sum(map(len, self.paragraphs)) + sum(map(len, self._left))

    def paragraph(self) -> str:
        """The next paragraph."""
        if self._left:
            text, self._left = "".join(self._left).strip(), []
            if text:
                return text
        return self.paragraphs.pop(0) if self.paragraphs else ""

    def put_back(self, text: str) -> None:
        """Return what did not fit, to be taken next."""
        if text.strip():
            self.paragraphs.insert(0, text.strip())

    def phrase(self, most: int) -> str:
        """The next words, at most `most` characters, without marks around them; empty when there are none.

        A phrase never crosses the end of a sentence.
        """
        for _ in range(200):
            if not self._left:
                if not self.paragraphs:
                    return ""
                paragraph = self.paragraphs.pop(0)
                self._left = words_of(paragraph)
            taken: list[str] = []
            size = 0
            while self._left and size + len(self._left[0].strip()) <= most:
                taken.append(self._left.pop(0))
                size += len(taken[-1])
                if taken[-1].strip()[-1:] in ".!?。！？；;：:،؟।" and len(taken[-1].strip()) > 1:
                    break
            if not taken:  # a word that is too long by itself
                self._left.pop(0)
                continue
            phrase = "".join(taken).strip(_ENDS)
            if any(character.isalnum() for character in phrase):
                return phrase
        return ""

    def value(self, key: str, most: int = 24) -> str:
        """A value of a key: made, or words of the text."""
        return VALUES[key](self._rng, self.language) if key in VALUES else self.phrase(most)


class PageStyle:
    """The faces, sizes and colours of a page.

    Args:
        copy: The text; faces are chosen that have all its characters.
        library: The faces there are.
        sizes: Least and greatest size of running text, in pixels; scripts with small forms get more.
        rng: Chooses.

    Raises:
        Uncovered: No face has all characters of the text.
    """

    def __init__(self, copy: Copy, library: TypefaceLibrary, sizes: tuple[int, int], rng: random.Random) -> None:
        self._library = library
        self._rng = rng
        faces = library.for_text("\n".join(copy.paragraphs))
        if not faces:
            raise Uncovered("no face has all characters of the text")
        self.faces = faces
        upright = [face for face in faces if not face.is_bold and not face.is_hand] or faces
        self.body = choose([face for face in upright if not face.is_italic] or upright, rng)
        if rng.random() < 0.12:
            self.body = choose(faces, rng)
        family = [face for face in faces if face.family == self.body.family]
        bold = [face for face in family if face.is_bold and face.is_italic == self.body.is_italic]
        self.heading = rng.choice(bold or family) if rng.random() < 0.7 else choose(faces, rng)
        self.size = rng.randint(*sizes)
        if copy.script in _TALL:
            self.size = round(self.size * 1.2)
        self.leading = rng.uniform(1.2, 1.7) if copy.script not in _TALL else rng.uniform(1.5, 1.9)
        if "nastaliq" in self.body.family.lower() or "nastaliq" in self.heading.family.lower():
            self.leading = rng.uniform(2.4, 2.8)
        self.ink = rng.choice(INKS)
        self.accent = rng.choice(ACCENTS) if rng.random() < 0.5 else self.ink
        self.paper: Colour = (255, 255, 255)
        self.align: Align = rng.choice(("left", "left", "justify", "justify", "justify"))
        self.ornaments = [mark for mark in "•–▪◦‣■○*" if self.body.has(mark)] or ["-"]
        self._substitutes: dict[str, Typeface] = {}

    def hand(self) -> Typeface:
        """A face like handwriting, if one has the text's characters; else the body."""
        hands = [face for face in self.faces if face.is_hand]
        return choose(hands, self._rng) if hands else self.body

    def mono(self) -> Typeface:
        """A face of equal widths, if one has the text's characters; else the body."""
        monos = [face for face in self.faces if face.is_mono]
        return choose(monos, self._rng) if monos else self.body

    def pen(self, text: str, size: float = 1.0, face: Typeface | None = None, colour: Colour | None = None,
            leading: float | None = None) -> Pen:  # fmt: skip
        """A pen for a text, in another face where the wanted one does not have its characters.

        Args:
            text: To be set.
            size: Relative to the running text.
            face: The body's without one.
            colour: The ink's without one.
            leading: The page's without one.

        Raises:
            Uncovered: No face has all its characters.
        """
        typeface = face or self.body
        if not typeface.covers(text):
            typeface = self._substitute(text)
        return Pen(typeface, max(6, round(self.size * size)), colour or self.ink, leading or self.leading)

    def _substitute(self, text: str) -> Typeface:
        for face in (*self._substitutes.values(), self.body, self.heading):
            if face.covers(text):
                return face
        faces = self._library.for_text(text)
        upright = [face for face in faces if not face.is_italic and not face.is_hand and not face.is_bold]
        for _ in range(4):  # a face that lacks the ink of a glyph is rare
            if faces and (face := choose(upright or faces, self._rng)).covers(text):
                self._substitutes[main_script(text)] = face
                return face
        raise Uncovered(f"no face has all characters of {text!r}")

    def darken(self, rng: random.Random) -> None:
        """Light text on a dark page."""
        self.paper = (rng.randint(5, 50), rng.randint(5, 50), rng.randint(10, 60))
        self.ink = (rng.randint(215, 255), rng.randint(215, 255), rng.randint(205, 255))
        self.accent = rng.choice(((120, 200, 255), (255, 200, 90), (140, 230, 150), (250, 150, 170)))

    def tint(self, rng: random.Random) -> None:
        """A coloured page with text that contrasts with it."""
        colour = (rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255))
        dark = luminance(colour) < 0.45
        red, green, blue = (round(value * 0.7 if dark else 255 - (255 - value) * 0.6) for value in colour)
        self.paper = (red, green, blue)
        self.ink = rng.choice(((255, 255, 255), (255, 250, 200), (250, 240, 235))) if dark else rng.choice(INKS)
        self.accent = self.ink
