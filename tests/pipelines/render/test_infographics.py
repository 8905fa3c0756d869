"""Infographics."""

from pathlib import Path

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures import infographics
from step3vl.pipelines.render.figures.figures import FigureOptions, MadeFigure, Supply
from step3vl.pipelines.render.figures.infographic_parts import value_text, wrapped
from step3vl.pipelines.render.figures.infographics import InfographicMaker
from step3vl.pipelines.render.fonts import FontFamily

ICONS = Path(__file__).parents[3] / "data/step3vl/data/assets/icons"


@pytest.fixture(scope="module")
def maker(families: list[FontFamily]) -> InfographicMaker:
    icons = sorted(ICONS.glob("*.svg"))
    return InfographicMaker(Supply(families, FigureOptions(("en", "zh"), (240, 300), (180, 240), 0.3, ()), [], icons))


def made(maker: InfographicMaker, number: int) -> list[MadeFigure]:
    figures = []
    for seed in range(60):
        try:
            figures.append(maker.make(maker.families()[seed % 3], rng_for(seed)))
        except Dropped:
            continue
        if len(figures) == number:
            break
    return figures


def test_every_text_of_the_markdown_is_on_the_image(maker: InfographicMaker) -> None:
    for figure in made(maker, 3):
        image_text = " ".join(element.text for element in figure.figure.elements).replace(",", "")
        words = [
            word for word in figure.code.replace("|", " ").replace("*", " ").split() if word.strip("#-.:()0123456789")
        ]
        missing = [word for word in words if word.strip("():*,").replace(",", "") not in image_text]
        assert len(missing) <= 0.1 * len(words) + 2, missing  # the head of a table stands in the title of its bars


def test_a_bar_of_another_length_is_noticed(maker: InfographicMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infographics, "_measured", lambda pixels, bar, zoom: bar.length * zoom + 3)
    reasons = set()
    for seed in range(6):
        try:
            maker.make("poster", rng_for(seed))
        except Dropped as error:
            reasons.add(error.reason)
    assert "bar_differs_from_value" in reasons


def test_values_with_units() -> None:
    assert value_text(45.0, "%") == "45%"
    assert value_text(12345, "kg") == "12,345 kg"
    assert value_text(-1234.5, "") == "-1234.5"


def test_lines_fit_and_keep_their_words(families: list[FontFamily]) -> None:
    font = families[0]
    text = "Electricity generated in the harbour district by source and year"
    lines = wrapped(font, text, 150, 14)
    assert " ".join(lines) == text and all(font.width(line, 14) <= 150 for line in lines)
