import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.charts.plot import PlotRenderer
from step3vl.pipelines.render.figures.formula_kinds import FORMULAS
from step3vl.pipelines.render.figures.table_kinds import page_setup, parse_latex, write_table
from step3vl.pipelines.render.figures.typeset import TypesetRenderer, escape_latex
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.sources.tables.tables import Table, make_table

SETUP = page_setup("Libertinus Serif", 14, "#ffffff", "#000000", 8)


@pytest.fixture(scope="module")
def renderer(families: list[FontFamily]) -> TypesetRenderer:
    return TypesetRenderer(families)


@pytest.mark.parametrize("name", FORMULAS)
def test_image_typst_and_latex_show_the_same_characters(name: str, renderer: TypesetRenderer) -> None:
    for number in range(10):
        formula = FORMULAS[name](rng_for(0, name, number))
        figure = renderer.formula(f"{SETUP}$ {formula.typst} $\n", formula.glyphs, formula.latex, 96)
        assert figure.png == renderer.formula(f"{SETUP}$ {formula.typst} $\n", formula.glyphs, None, 96).png
        if formula.latex is not None:
            assert renderer.latex_figure(formula.latex, "cm", 14, 96, ("#ffffff", "#000000"), 8).size > (20, 20)


@pytest.mark.parametrize("face", ["cm", "dejavusans"])
def test_a_formula_has_the_same_bytes_whatever_charts_were_rendered_before(
    face: str, families: list[FontFamily], renderer: TypesetRenderer
) -> None:
    arguments = (r"\frac{x}{2} + \sqrt{y}", face, 14, 96, ("#ffffff", "#000000"), 8)
    expected = renderer.latex_figure(*arguments).png
    PlotRenderer(families).run("import matplotlib.pyplot as plt")
    assert TypesetRenderer(families).latex_figure(*arguments).png == expected


def test_a_formula_with_other_characters_is_refused(renderer: TypesetRenderer) -> None:
    with pytest.raises(Dropped, match="text_differs"):
        renderer.formula(f"{SETUP}$ x + 2 $\n", "x+3", None, 96)
    with pytest.raises(Dropped, match="latex_differs"):
        renderer.formula(f"{SETUP}$ x + 2 $\n", "x+2", "x + 3", 96)


def test_tables_are_read_row_by_row(renderer: TypesetRenderer) -> None:
    for number in range(20):
        rng = rng_for(0, "table", number)
        source = write_table(make_table("groups", rng.randint(1, 4), rng), SETUP, rng)
        figure = renderer.table(source.typst, source.cells, 96)
        assert [element.text for element in figure.elements] == [cell for row in source.cells for cell in row]
        assert parse_latex(source.latex) == source.cells


def test_swapped_cells_are_refused(renderer: TypesetRenderer) -> None:
    source = write_table(make_table("groups", 2, rng_for(0, 1)), SETUP, rng_for(0, 1))
    first, second, *rest = source.cells
    with pytest.raises(Dropped, match="cells_differ"):
        renderer.table(source.typst, [first, second[::-1], *rest], 96)


def test_special_characters_survive_latex() -> None:
    table = Table("t", "groups", "A & B", ("50% #1", "a_b"), "x", ("c$",), ((1.0,), (2.5,)), 1)
    for number in range(8):
        source = write_table(table, SETUP, rng_for(0, number))
        assert parse_latex(source.latex) == source.cells
    assert escape_latex("a_b & c%") == r"a\_b \& c\%"


def test_families_that_typst_takes_for_widths_of_others_are_left_to_other_tools(families: list[FontFamily]) -> None:
    names = {family.name for family in families}
    known = {family.name for family in TypesetRenderer(families).families}
    assert known and known <= names
    narrow = {name for name in names if name.endswith(("Narrow", "Condensed"))}
    assert not known & narrow
