"""Scores."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures.figures import FigureOptions, Supply
from step3vl.pipelines.render.figures.music import (
    MusicMaker,
    Tune,
    abc_pitch,
    expected_notes,
    read_heads,
    read_notes,
    write_tune,
)
from step3vl.pipelines.render.fonts import FontFamily

verovio = pytest.importorskip("verovio")


@pytest.fixture(scope="module")
def maker(families: list[FontFamily]) -> MusicMaker:
    return MusicMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))


@pytest.mark.parametrize("family", ["melody", "bass", "chords", "alto"])
def test_scores_pass_their_proof(maker: MusicMaker, family: str) -> None:
    for seed in range(5):
        made = maker.make(family, rng_for(family, seed))
        assert made.code.startswith("X:1\nM:") and len(made.figure.elements) > 1


@pytest.mark.parametrize(
    ("step", "abc"), [(28, "C"), (34, "B"), (35, "c"), (42, "c'"), (21, "C,"), (14, "C,,"), (39, "g")]
)
def test_pitches_in_abc(step: int, abc: str) -> None:
    assert abc_pitch(step) == abc


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["melody", "bass", "chords", "alto"]))
def test_verovio_reads_and_places_the_notes_that_were_written(seed: int, family: str) -> None:
    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"breaks": "line", "pageWidth": 4000, "pageHeight": 6000})
    tune = write_tune(family, rng_for(seed))
    toolkit.loadData(tune.abc)
    assert read_notes(toolkit.getMEI()) == expected_notes(tune)
    steps, _ = read_heads(ElementTree.fromstring(toolkit.renderToSVG(1)), tune.clef)
    assert steps == [step for note in tune.notes for step in sorted(note.steps)]


def test_a_score_of_other_notes_is_dropped(maker: MusicMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(family: str, rng: object) -> Tune:
        tune = write_tune(family, rng_for(1))
        return Tune(tune.notes[1:], tune.clef, tune.abc, tune.width)

    monkeypatch.setattr("step3vl.pipelines.render.figures.music.write_tune", wrong)
    with pytest.raises(Dropped, match="notes_differ"):
        maker.make("melody", rng_for(0))
