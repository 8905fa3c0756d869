import io
import shutil

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.render.web.latex import LatexImage, LatexRenderer, find_pdflatex

needs_latex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
TABLE = "\\begin{tabular}{l|r}\nName & Value \\\\\n\\hline\nSee & 1.5 \\\\\n\\end{tabular}"


@needs_latex
def test_snippets_with_errors_cost_themselves_alone() -> None:
    codes = [
        "a_1 + b^2",
        r"\undefinedcommand = 1",
        r"\frac{1}{2}",
        r"\begin{align*} x &= y \\ &= z \end{align*}",
        "{x",
    ]
    outcomes = LatexRenderer().render(codes, "formula", rng_for(0))
    assert [isinstance(outcome, LatexImage) for outcome in outcomes] == [True, False, True, True, False]
    assert outcomes[1] == outcomes[4] == "error_in_code"
    assert isinstance(outcomes[2], LatexImage)
    assert "".join(outcomes[2].text.split()) == "12"


@needs_latex
def test_an_image_is_cut_to_its_ink_and_the_same_each_time() -> None:
    first, again = (LatexRenderer().render([TABLE], "table", rng_for(1))[0] for _ in range(2))
    assert isinstance(first, LatexImage)
    assert first == again
    with PILImage.open(io.BytesIO(first.png)) as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edge.max() - edge.min() < 3
    assert "Name" in first.text


@needs_latex
def test_a_snippet_that_is_wider_than_the_page_is_left_out() -> None:
    assert LatexRenderer().render(["x_1 + " * 200 + "x"], "formula", rng_for(0)) == ["wider_than_page"]
    assert LatexRenderer().render([r"\phantom{x_1}"], "formula", rng_for(0)) == ["empty_image"]


@needs_latex
@pytest.mark.parametrize(
    "code",
    [
        r"\input{/etc/hostname} = 1",
        r"\immediate\write18{touch /tmp/step3vl-was-here} x = 1",
        r"\newread\f \openin\f=/etc/passwd \read\f to\x \x = 1",
        r"\loop\iftrue x \repeat",
        r"\def\x{\x\x}\x",
    ],
)
def test_hostile_snippets_read_nothing_and_end(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.pipelines.render.web.latex._SECONDS", 5)
    (outcome,) = LatexRenderer().render([code], "formula", rng_for(0))
    text = outcome.text if isinstance(outcome, LatexImage) else ""
    assert "root" not in text
    if "input" in code or "loop" in code or "def" in code:
        assert outcome == "error_in_code"


def test_a_machine_without_pdflatex_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgramError, match="apt-get install texlive"):
        find_pdflatex()
