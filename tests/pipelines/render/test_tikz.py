"""TikZ drawings."""

import shutil

import pytest

from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures.figures import FigureOptions, Supply
from step3vl.pipelines.render.figures.tikz import TikzMaker
from step3vl.pipelines.render.figures.tikz_kinds import DRAWINGS, Drawing
from step3vl.pipelines.render.fonts import FontFamily

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


@pytest.fixture(scope="module")
def maker(families: list[FontFamily]) -> TikzMaker:
    return TikzMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))


@needs_latex
@pytest.mark.parametrize("family", list(DRAWINGS))
def test_drawings_pass_their_proof_and_are_the_same_again(maker: TikzMaker, family: str) -> None:
    kept = 0
    for seed in range(3):
        try:
            made = maker.make(family, rng_for(family, seed))
        except Dropped:
            continue
        kept += 1
        assert made.code.startswith("\\begin{tikzpicture}") and made.figure.elements
        assert maker.make(family, rng_for(family, seed)).figure.png == made.figure.png
    assert kept >= 2


def drawing(line: str) -> Drawing:
    nodes = ["\\node at (0, 0) {a};", "\\node at (4, 0) {b};", "\\node at (0, 3) {c};"]
    texts = [("a", (0.0, 0.0)), ("b", (4.0, 0.0)), ("c", (0.0, 3.0))]
    return Drawing([], [*nodes, line], texts, [(2.0, 2.0)])


@needs_latex
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("\\draw (1, 2) -- (3, 2);", None),
        ("\\draw (1, 1) -- (3, 1);", "line_not_visible"),
        ("\\node at (1, 1) {d};", "texts_differ"),
    ],
)
def test_a_drawing_of_something_else_is_dropped(
    maker: TikzMaker, monkeypatch: pytest.MonkeyPatch, line: str, reason: str | None
) -> None:
    monkeypatch.setitem(DRAWINGS, "graph", lambda rng: drawing(line))
    if reason is None:
        assert maker.make("graph", rng_for(0)).code
        return
    with pytest.raises(Dropped, match=reason):
        maker.make("graph", rng_for(0))


@needs_latex
def test_a_text_elsewhere_is_noticed(maker: TikzMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = drawing("\\draw (1, 2) -- (3, 2);")
    moved.texts[1] = ("b", (4.5, 0.0))
    monkeypatch.setitem(DRAWINGS, "graph", lambda rng: moved)
    with pytest.raises(Dropped, match="text_elsewhere"):
        maker.make("graph", rng_for(0))


@needs_latex
def test_code_cannot_read_files_or_run_programs(maker: TikzMaker) -> None:
    with pytest.raises(ValueError, match="!"):
        maker.compile("\\input{/etc/passwd}", "Times")
    maker.compile(
        "\\begin{tikzpicture}\\node at (0, 0) {x};\\end{tikzpicture}\\immediate\\write18{touch ran}", "Times"
    )


def test_a_machine_without_latex_says_what_to_install(
    families: list[FontFamily], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgramError, match="pdflatex"):
        TikzMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))
