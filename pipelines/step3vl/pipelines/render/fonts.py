"""The font files of a corpus by family, for renderers that know fonts by name.

A renderer would take a font of the machine for one of ours with the same name. So it gets copies of the files under
private family names, and every machine renders the same pixels.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from blake3 import blake3
from fontTools.ttLib import TTCollection, TTFont

from step3vl.data.errors import UserError
from step3vl.pipelines.core.scratch import scratch_folder
from step3vl.pipelines.render.style import FontFace

_WEIGHTS = ("Thin", "Light", "Regular", "Medium", "SemiBold", "Bold", "Black")
_OTHER_REGIONS = ("JP", "KR", "TC", "HK", "TW")
_NAME_IDS = {1: "family", 4: "full", 6: "postscript", 16: "family"}


@dataclass(frozen=True)
class FontFamily:
    """A family with one or two weights.

    Attributes:
        name: As a person would write it in code.
        private: The name under which renderers find the copies; that of no other family, whatever its files.
        regular: The face of text.
        bold: The face of titles; the regular one where the family has no other.
    """

    name: str
    private: str
    regular: FontFace
    bold: FontFace

    def covers(self, text: str) -> bool:
        """Whether both faces have a glyph for every character."""
        return self.regular.covers(text) and (self.bold is self.regular or self.bold.covers(text))

    def width(self, text: str, size: float, bold: bool = False) -> float:
        """Pixels that a text takes at a size, measured large so that hinting does not matter."""
        return (self.bold if bold else self.regular).at(100).getlength(text) * size / 100


def load_families(paths: Sequence[Path]) -> list[FontFamily]:
    """The families of font files, by name. Of several faces, the upright ones of text and of bold text are taken.

    Args:
        paths: Fonts, and collections of fonts (`.ttc`, `.otc`). Of a collection that has a font for each region, as
            those of Chinese, Japanese and Korean do, only the one of simplified Chinese is taken.

    Raises:
        UserError: A file is no font.
    """
    faces: dict[str, dict[bool, list[tuple[tuple[bool, bool, int], Path]]]] = {}
    for path in chain.from_iterable(map(_font_files, paths)):
        name, style = _names(path)
        is_bold = any(word in style for word in ("bold", "black", "heavy"))
        is_italic = any(word in style for word in ("italic", "oblique"))
        is_other_weight = style not in (["bold"], ["regular"], ["book"], ["roman"], ["normal"], [])
        rank = (is_italic, is_other_weight, -path.stat().st_size)  # of two files, the one of more characters
        faces.setdefault(name, {}).setdefault(is_bold, []).append((rank, path))
    families = []
    for name, files in sorted(faces.items()):
        best = {is_bold: min(ranked, key=lambda pair: pair[0])[1] for is_bold, ranked in files.items()}
        regular = FontFace(best.get(False) or best[True])
        bold = FontFace(best[True]) if len(best) == 2 else regular
        digest = blake3(regular.path.read_bytes() + bold.path.read_bytes()).hexdigest()[:8]
        families.append(FontFamily(name, f"step3vl-{digest}", regular, bold))
    return families


def private_copies(family: FontFamily, folder: Path) -> None:
    """Write the faces of a family under its private name.

    Args:
        family: Which.
        folder: Where; it exists.
    """
    for face in dict.fromkeys((family.regular, family.bold)):
        with TTFont(face.path) as font:
            for record in font["name"].names:
                if record.nameID in _NAME_IDS:
                    kind = _NAME_IDS[record.nameID]
                    bold = " Bold" if face is family.bold is not family.regular and kind != "family" else ""
                    text = f"{family.private}{bold}"
                    record.string = text.replace(" ", "") if kind == "postscript" else text
            font.save(folder / face.path.name)


def _font_files(path: Path) -> list[Path]:
    """A font itself; of a collection its fonts as files of their own, for many renderers read no collections."""
    if path.suffix.lower() not in (".ttc", ".otc"):
        return [path]
    folder = _folder() / blake3(str(path.absolute()).encode()).hexdigest()[:16]
    if not folder.exists():
        folder.mkdir()
        try:
            with TTCollection(path, lazy=True) as collection:
                for number in _chosen([_family_name(font) for font in collection.fonts]):
                    font = collection.fonts[number]
                    font.recalcTimestamp = False
                    font.save(folder / f"{number:02d}.{'otf' if 'CFF ' in font else 'ttf'}")
        except Exception as error:  # whatever parsing somebody's file may raise
            shutil.rmtree(folder)
            raise UserError(f"{path} is not a collection of fonts: {error}; remove it from the pattern") from None
    return sorted(folder.iterdir())


@cache
def _folder() -> Path:
    """Where fonts of collections are until the process ends."""
    return scratch_folder("fonts")


def _chosen(names: Sequence[str]) -> list[int]:
    """Which families to take: not those of other regions where there is one of simplified Chinese."""
    chosen = []
    for number, name in enumerate(names):
        words = name.split()
        places = [i for i, word in enumerate(words) if word in _OTHER_REGIONS]
        siblings = {" ".join((*words[:i], region)) for i in places for region in ("SC", "CN")}
        if not siblings.intersection(names):
            chosen.append(number)
    return chosen


def _family_name(font: TTFont) -> str:
    return str(font["name"].getDebugName(16) or font["name"].getDebugName(1))


def _names(path: Path) -> tuple[str, list[str]]:
    """Family and style of a font file; the style as words in small letters."""
    try:
        with TTFont(path, lazy=True, fontNumber=0) as font:
            words = _family_name(font).split()
            style = str(font["name"].getDebugName(17) or font["name"].getDebugName(2) or "")
    except Exception as error:  # whatever parsing somebody's file may raise
        raise UserError(f"{path} is not a font: {error}; remove it from the pattern") from None
    weights: list[str] = []
    while len(words) > 1 and words[-1] in _WEIGHTS:  # a weight in the family's name, as renderers drop it
        weights.append(words.pop())
    if weights and style == "Regular":  # of that weight
        style = weights[-1]
    return " ".join(words), style.lower().split()
