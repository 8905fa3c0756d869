"""Fonts of any number and kind, and which of them can set a text: every character is looked up in the font itself."""

import logging
import random
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont, features

from step3vl.data.errors import UserError
from step3vl.pipelines.sources.text.scripts import main_script, script_of

_CODE_POINTS = 0x30000  # planes 0 to 2; letters of other planes are taken for absent
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_ALPHABETS = frozenset({"LATIN", "GREEK", "CYRILLIC"})
_REGIONS = {"JP": "JAPANESE", "KR": "KOREAN", "SC": "CHINESE", "TC": "CHINESE", "HK": "CHINESE"}
_CJK = frozenset({"CHINESE", "JAPANESE", "KOREAN"})
_UNLIKE = ("mathjax", "symbol", "emoji", "music", "smallcaps", "unjoined", "glyphicons", "icons")
"""Words in the names of fonts whose letters are symbols or parts of formulas."""

_HANDS = ("caveat", "script", "hand", "kai", "calligra", "chancery", "cursive", "purisa", "humor", "klee", "soseki",
          "breip", "ecolier", "femke", "kaushan", "kristi", "comic")  # fmt: skip
_CASES = ("aA", "eE", "gG", "rR", "tT", "nN")  # pairs of letters that look different in all but unicase fonts
_ALIKE = 0.4  # difference of two letters over their ink; those of other shapes differ by more


class Typeface:
    """A face of a font file.

    Attributes:
        path: The file.
        index: Of the face in a collection, else 0.
        family: Its family's name.
        script: That most of its characters belong to.
        is_bold, is_italic, is_mono, is_hand: What its name says it looks like.
        cmap: A bit for each code point that it maps to a glyph.
    """

    def __init__(self, path: Path, index: int, font: TTFont) -> None:
        self.path, self.index = path, index
        names = font["name"]
        self.family = str(names.getDebugName(16) or names.getDebugName(1) or path.stem)
        style = f"{names.getDebugName(17) or names.getDebugName(2) or ''} {path.stem}".lower()
        look = f"{self.family} {style}".lower()
        self.is_bold = any(word in style for word in ("bold", "black", "heavy", "demi"))
        self.is_italic = any(word in style for word in ("italic", "oblique", "slant"))
        self.is_mono = "mono" in look or "courier" in look or "typewriter" in look
        self.is_hand = any(word in look for word in _HANDS)
        self.is_text = not any(word in look for word in _UNLIKE)
        bits = mapped_code_points(font.reader["cmap"])
        self.cmap = np.packbits(bits)
        self.script = self._main_script(bits.nonzero()[0].tolist())
        self._inked: dict[str, bool] = {}
        self.is_text = self.is_text and not self._is_unicase()

    def _is_unicase(self) -> bool:
        """Whether small letters look like capitals, as in small capitals: a label would tell what no one sees."""
        if not all(self.has(letter) for pair in _CASES for letter in pair):
            return False
        glyphs = [[self._outline(letter) for letter in pair] for pair in _CASES]
        alike = sum(bool(np.abs(small - big).mean() < _ALIKE * (small + big).mean() / 2) for small, big in glyphs)
        return alike * 2 >= len(_CASES)

    def _outline(self, letter: str) -> npt.NDArray[np.float32]:
        """A letter's ink scaled to a square, 0..1."""
        font = self.at(48)
        left, top, right, bottom = font.getbbox(letter)
        canvas = PILImage.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
        ImageDraw.Draw(canvas).text((-left, -top), letter, font=font, fill=255)
        return np.asarray(canvas.resize((24, 24), PILImage.Resampling.BOX), np.float32) / np.float32(255)

    def _main_script(self, codes: Sequence[int]) -> str:
        for region, script in _REGIONS.items():
            if self.family.split()[-1] == region or f" {region} " in f"{self.family} ":
                return script
        counts = Counter(script_of(chr(code)) for code in codes)
        if counts["CJK"] > 500:
            return "CJK"
        del counts[""]
        return counts.most_common(1)[0][0] if counts else ""

    def has(self, character: str) -> bool:
        """Whether the face maps the character to a glyph, and the glyph has ink unless the character is a space."""
        code = ord(character)
        if code >= _CODE_POINTS or not self.cmap[code >> 3] & (0x80 >> (code & 7)):
            return False
        if character not in self._inked:
            invisible = unicodedata.category(character) in ("Zs", "Cf")
            self._inked[character] = invisible or self.at(24).getmask(character).getbbox() is not None
        return self._inked[character]

    def covers(self, text: str) -> bool:
        """Whether the face has every character of a text."""
        return all(self.has(character) for character in set(text) if character != "\n")

    def at(self, size: int, shaped: bool = False) -> ImageFont.FreeTypeFont:
        """The face at a size in pixels; `shaped` for a text that `is_shaped`, or is set from top to bottom."""
        return _font(self.path, self.index, size, shaped)

    def __repr__(self) -> str:
        return f"<Typeface {self.path.name}#{self.index}>"


@lru_cache(maxsize=256)
def _font(path: Path, index: int, size: int, shaped: bool) -> ImageFont.FreeTypeFont:
    engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(str(path), size, index=index, layout_engine=engine)


class TypefaceLibrary:
    """The faces of font files, and those that suit a text.

    Args:
        paths: Files; those that are no TrueType or OpenType fonts by their names are passed over.

    Raises:
        UserError: A file is no font, or there is none.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of each odd name of a font
        self.faces = [face for path in paths for face in _read_faces(path) if face.is_text]
        if not self.faces:
            raise UserError("the patterns of fonts match no TrueType or OpenType font of text; correct them")
        self._cmaps = np.stack([face.cmap for face in self.faces])

    def for_text(self, text: str) -> list[Typeface]:
        """The faces that map every character of a text to a glyph; those made for its script, if there are any.

        A Chinese font has Latin letters, too, and one of Tamil those of another family; they set text of their own.
        Whether the glyphs have ink is for `covers` to say, of the face that is chosen.
        """
        script = main_script(text)
        codes = np.array(sorted({ord(character) for character in text if character != "\n"}), np.int64)
        if codes.size and codes[-1] >= _CODE_POINTS:
            return []
        bits = self._cmaps[:, codes >> 3] & (0x80 >> (codes & 7)).astype(np.uint8)
        covering = [self.faces[number] for number in np.flatnonzero(np.count_nonzero(bits, 1) == codes.size)]
        return [face for face in covering if _is_made_for(face, script)] or covering


def _is_made_for(face: Typeface, script: str) -> bool:
    if face.script == script or (script in _CJK and face.script == "CJK"):
        return True
    return script in _ALPHABETS | {""} and face.script in _ALPHABETS


def choose(faces: Sequence[Typeface], rng: random.Random) -> Typeface:
    """A face of a random family: a family of sixty faces is chosen no more often than one of a single face."""
    families: dict[str, list[Typeface]] = {}
    for face in faces:
        families.setdefault(face.family, []).append(face)
    return rng.choice(families[rng.choice(list(families))])


def mapped_code_points(table: bytes) -> npt.NDArray[np.bool_]:
    """Which code points below U+30000 the `cmap` table of a font maps to a glyph.

    fontTools would name every glyph of a font first, which takes a second and a hundred megabytes for a Chinese one.
    The formats 4 and 12 are read, as all fonts of Unicode have one of them.

    Args:
        table: After the OpenType specification, "cmap — Character to Glyph Index Mapping Table".
    """
    bits = np.zeros(_CODE_POINTS, bool)
    (count,) = struct.unpack_from(">H", table, 2)
    records = [struct.unpack_from(">HHI", table, 4 + 8 * number) for number in range(count)]
    unicode = [
        offset for platform, encoding, offset in records if (platform, encoding) in ((3, 1), (3, 10)) or platform == 0
    ]
    for offset in dict.fromkeys(unicode):
        (kind,) = struct.unpack_from(">H", table, offset)
        if kind == 12:
            (groups,) = struct.unpack_from(">I", table, offset + 12)
            for first, last, glyph in np.frombuffer(table, ">u4", groups * 3, offset + 16).reshape(-1, 3).tolist():
                bits[first + (glyph == 0) : last + 1] = True
        elif kind == 4:
            _read_segments(table, offset, bits)
    return bits


def _read_segments(table: bytes, offset: int, bits: npt.NDArray[np.bool_]) -> None:
    """Set the code points of a subtable of format 4: segments of code points with a delta or a list of glyphs."""
    segments = struct.unpack_from(">H", table, offset + 6)[0] // 2
    read = partial(np.frombuffer, table, ">u2")
    lasts, firsts, deltas, ranges = (
        read(segments, offset + place).astype(int)
        for place in (14, 16 + 2 * segments, 16 + 4 * segments, 16 + 6 * segments)
    )
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        codes = np.arange(first, last + 1)
        if ranges[number]:
            start = offset + 16 + 6 * segments + 2 * number + ranges[number]
            codes = codes[: max(0, (len(table) - start) // 2)]
            glyphs = read(len(codes), start).astype(int)
            glyphs = np.where(glyphs == 0, 0, (glyphs + deltas[number]) & 0xFFFF)
        else:
            glyphs = (codes + deltas[number]) & 0xFFFF
        bits[codes[(glyphs != 0) & (codes != 0xFFFF)]] = True


def _read_faces(path: Path) -> Iterator[Typeface]:
    if path.suffix.lower() not in _SUFFIXES:
        return
    try:
        if path.suffix.lower() in (".ttc", ".otc"):
            with TTCollection(path, lazy=True) as collection:
                yield from (Typeface(path, index, font) for index, font in enumerate(collection.fonts))
        else:
            with TTFont(path, lazy=True) as font:
                yield Typeface(path, 0, font)
    except UserError:
        raise
    except Exception as error:  # whatever parsing somebody's file may raise
        raise UserError(f"{path} is not a font: {error}; remove it from the pattern") from None


def require_shaping() -> None:
    """Raises UserError unless Pillow can shape complex scripts and knows the direction of text."""
    if not features.check("raqm"):
        raise UserError(
            "Pillow cannot shape Arabic, Indic or Thai text here; install the library FriBiDi (libfribidi0)"
        )
