import random
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._g_l_y_f import Glyph

from step3vl.data.errors import UserError
from step3vl.pipelines.core.assets import packaged_assets
from step3vl.pipelines.render.pages.typefaces import TypefaceLibrary, choose, mapped_code_points

FONTS = [*packaged_assets("assets:fonts/**/*.ttf").values(), *packaged_assets("assets:fonts/**/*.otf").values()]


@pytest.fixture(scope="module")
def library() -> TypefaceLibrary:
    return TypefaceLibrary(sorted(FONTS))


@pytest.mark.parametrize("path", FONTS, ids=lambda path: path.name)
def test_mapped_characters_are_those_that_fonttools_reads(path: Path) -> None:
    with TTFont(path, lazy=True) as font:
        expected = {code for code, glyph in font.getBestCmap().items() if code < 0x30000 and glyph != ".notdef"}
        assert set(mapped_code_points(font.reader["cmap"]).nonzero()[0].tolist()) == expected


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("plain text", {"LATIN", "GREEK", "CYRILLIC"}),
        ("простой", {"LATIN", "GREEK", "CYRILLIC"}),
        ("学而时习之", {"CJK", "CHINESE"}),
        ("古池や", {"CJK", "JAPANESE"}),
        ("العلم", {"ARABIC"}),
        ("धीरे धीरे", {"DEVANAGARI"}),
        ("รู้อะไรไม่สู้รู้วิชา", {"THAI"}),
    ],
)
def test_a_text_gets_fonts_of_its_script_that_have_every_character(
    library: TypefaceLibrary, text: str, scripts: set[str]
) -> None:
    faces = library.for_text(text)
    assert faces and {face.script for face in faces} <= scripts
    assert all(face.covers(text) for face in faces)


@pytest.mark.parametrize("text", ["ᚠᚢᚦ", "plain ᚠ", "\U000e0041", "👍"])
def test_a_text_that_no_font_has_gets_none(library: TypefaceLibrary, text: str) -> None:
    assert library.for_text(text) == []


def _changed(tmp_path: Path, mapping: dict[int, int], blank: str = "") -> Path:
    """DejaVu Sans Mono with characters mapped to the glyphs of others, and one glyph without ink."""
    path = packaged_assets("assets:fonts/DejaVuSansMono.ttf")["assets:fonts/DejaVuSansMono.ttf"]
    with TTFont(path) as font:
        names = font.getBestCmap()
        for table in font["cmap"].tables:
            table.cmap.update({code: names[other] for code, other in mapping.items() if code in table.cmap})
        if blank:
            font["glyf"][names[ord(blank)]] = Glyph()
        font.save(tmp_path / "changed.ttf")
    return tmp_path / "changed.ttf"


def test_a_font_of_capitals_alone_is_refused(tmp_path: Path) -> None:
    small = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
    with pytest.raises(UserError, match="no TrueType or OpenType font of text"):
        TypefaceLibrary([_changed(tmp_path, small)])


def test_a_glyph_without_ink_is_not_covered(tmp_path: Path) -> None:
    (face,) = TypefaceLibrary([_changed(tmp_path, {}, blank="q")]).faces
    assert face.covers("text without it") and not face.covers("a q")


def test_a_file_that_is_no_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(b"no font")
    with pytest.raises(UserError, match=r"a\.ttf is not a font"):
        TypefaceLibrary([tmp_path / "a.ttf"])


def test_families_are_chosen_alike_however_many_faces_they_have(library: TypefaceLibrary) -> None:
    faces = [face for face in library.faces if face.family in ("Noto Serif", "Caveat")]
    rng = random.Random(0)
    share = np.mean([choose(faces, rng).family == "Caveat" for _ in range(400)])
    assert len(faces) == 3 and 0.4 < share < 0.6
