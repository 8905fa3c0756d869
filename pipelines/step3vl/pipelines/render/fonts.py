"""The font files of a corpus by family, for renderers that know fonts by name.

A renderer would take a font of the machine for one of ours with the same name. So it gets copies of the files under
private family names, and every machine renders the same pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fontTools.ttLib import TTFont

from step3vl.data.errors import UserError
from step3vl.pipelines.render.style import FontFace

_WEIGHTS = ("Thin", "Light", "Regular", "Medium", "SemiBold", "Bold", "Black")
_NAME_IDS = {1: "family", 4: "full", 6: "postscript", 16: "family"}


@dataclass(frozen=True)
class FontFamily:
    """A family with one or two weights.

    Attributes:
        name: As a person would write it in code.
        private: The name under which renderers find the copies.
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
    """The families of font files, by name.

    Raises:
        UserError: A file is no font.
    """
    faces: dict[str, dict[str, Path]] = {}
    for path in paths:
        name, style = _names(path)
        faces.setdefault(name, {})["bold" if "bold" in style.lower() else "regular"] = path
    families = []
    for name, files in sorted(faces.items()):
        regular = FontFace(files.get("regular") or files["bold"])
        bold = FontFace(files["bold"]) if "bold" in files and "regular" in files else regular
        families.append(FontFamily(name, f"step3vl {name}", regular, bold))
    return families


def private_copies(families: Sequence[FontFamily], folder: Path) -> list[Path]:
    """Write the faces of families under their private names.

    Args:
        families: Which.
        folder: Where; it exists.

    Returns:
        The files, in the order of the families.
    """
    copies = []
    for number, family in enumerate(families):
        for face in dict.fromkeys((family.regular, family.bold)):
            with TTFont(face.path, fontNumber=0) as font:
                for record in font["name"].names:
                    if record.nameID in _NAME_IDS:
                        kind = _NAME_IDS[record.nameID]
                        bold = " Bold" if face is family.bold is not family.regular and kind != "family" else ""
                        text = f"{family.private}{bold}"
                        record.string = text.replace(" ", "") if kind == "postscript" else text
                copy = folder / f"{number}-{face.path.name}"
                font.save(copy)
                copies.append(copy)
    return copies


def _names(path: Path) -> tuple[str, str]:
    """Family and style of a font file."""
    try:
        with TTFont(path, lazy=True, fontNumber=0) as font:
            table = font["name"]
            family = table.getDebugName(16) or table.getDebugName(1)
            words = str(family).split()
            while len(words) > 1 and words[-1] in _WEIGHTS:  # a weight in the family's name, as renderers drop it
                words.pop()
            return " ".join(words), str(table.getDebugName(17) or table.getDebugName(2) or "")
    except Exception as error:  # whatever parsing somebody's file may raise
        raise UserError(f"{path} is not a font: {error}; remove it from the pattern") from None
