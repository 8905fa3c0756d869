from pathlib import Path

import pytest
from fontTools.ttLib import TTCollection, TTFont

from step3vl.data.errors import UserError
from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures.figures import FigureMaker, FigureOptions, Supply, Tool
from step3vl.pipelines.render.figures.makers import MAKERS
from step3vl.pipelines.render.fonts import load_families

FONTS = Path(__file__).parents[3] / "data/step3vl/data/assets/fonts"


def renamed(file: str, family: str, style: str) -> TTFont:
    """A font with the names of another one."""
    font = TTFont(FONTS / file, recalcTimestamp=False)
    for record in font["name"].names:
        if record.nameID in (1, 16):
            record.string = family
        if record.nameID in (2, 17):
            record.string = style
    return font


def collection(path: Path, *fonts: TTFont) -> Path:
    bundle = TTCollection()
    bundle.fonts = list(fonts)
    bundle.save(path)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    fonts = [renamed("DejaVuSans.ttf", f"Sans {region}", "Regular") for region in ("JP", "SC")]
    return collection(tmp_path / "sans.ttc", *fonts, renamed("DejaVuSerif.ttf", "Serif JP", "Regular"))


def test_a_collection_gives_its_families_but_those_of_other_regions(bundle: Path) -> None:
    families = {family.name: family for family in load_families([bundle])}
    assert sorted(families) == ["Sans SC", "Serif JP"]
    (plain,) = (f for f in load_families([FONTS / "DejaVuSerif.ttf"]))
    assert families["Serif JP"].width("Some text", 20) == plain.width("Some text", 20)
    assert families["Serif JP"].covers("äß")


def test_a_collection_that_is_loaded_again_is_not_written_again(bundle: Path) -> None:
    paths = [family.regular.path for family in load_families([bundle])]
    times = [path.stat().st_mtime_ns for path in paths]
    assert [family.regular.path for family in load_families([bundle])] == paths
    assert [path.stat().st_mtime_ns for path in paths] == times


def test_a_broken_collection_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.ttc"
    path.write_bytes(b"ttcf" + bytes(20))
    with pytest.raises(UserError, match=r"broken\.ttc is not a collection of fonts"):
        load_families([path])


@pytest.mark.parametrize("tool", ["vega_lite", "matplotlib", "table", "infographic", "mermaid", "circuit"])
def test_every_tool_sets_texts_in_the_fonts_of_a_collection(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    renamed("DejaVuSans.ttf", "Sans SC", "Regular").save(tmp_path / "sans.ttf")
    images = []
    for families in (load_families([bundle])[:1], load_families([tmp_path / "sans.ttf"])):
        supply = Supply(families, FigureOptions(("en",), (240, 300), (180, 220), 0.0, ()), [], ICONS)
        maker = MAKERS[tool](supply)
        images.append(first_image(maker, tool))
    assert images[0] == images[1]


ICONS = sorted((FONTS.parent / "icons").glob("*.svg"))


def first_image(maker: FigureMaker, tool: str) -> bytes:
    for number in range(20):
        rng = rng_for(0, tool, number)
        try:
            return maker.make(rng.choice(maker.families()), rng).figure.png
        except Dropped:
            continue
    raise AssertionError(f"no figure of {tool} passes")


def test_the_upright_faces_of_text_are_taken_of_many(tmp_path: Path) -> None:
    styles = ("Regular", "Bold", "Thin", "Italic", "Bold Italic", "Black")
    for style in styles:
        file = "DejaVuSans-Bold.ttf" if style == "Bold" else "DejaVuSans.ttf"
        renamed(file, "Family", style).save(tmp_path / f"{style}.ttf")
    (family,) = load_families(sorted(tmp_path.iterdir()))
    assert (family.regular.path.name, family.bold.path.name) == ("Regular.ttf", "Bold.ttf")


def test_a_weight_in_the_name_of_a_family_is_a_style(tmp_path: Path) -> None:
    renamed("DejaVuSans.ttf", "Family Thin", "Regular").save(tmp_path / "a.ttf")
    renamed("DejaVuSans.ttf", "Family", "Regular").save(tmp_path / "b.ttf")
    (family,) = load_families(sorted(tmp_path.iterdir()))
    assert family.regular.path.name == "b.ttf"
