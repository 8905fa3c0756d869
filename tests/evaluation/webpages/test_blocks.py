"""Blocks of text of two pages: colours, matching, and a real browser."""

import asyncio
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks import design2code
from step3vl.evaluation.benchmarks.design2code import BENCHMARK as DESIGN2CODE
from step3vl.evaluation.benchmarks.design2code import read_html
from step3vl.evaluation.item import Item, Scored
from step3vl.evaluation.webpages import clip
from step3vl.evaluation.webpages.blocks import measure
from step3vl.evaluation.webpages.clip import clip_similarity, without_texts
from step3vl.evaluation.webpages.colours import ciede2000, colour_similarity, lab
from step3vl.evaluation.webpages.render import RenderedPage, render_pages

TITLE = ["A title", 0.1, 0.1, 0.4, 0.1, [0, 0, 0]]
TEXT = ["Some longer text", 0.1, 0.5, 0.8, 0.2, [255, 0, 0]]


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [  # from the test data of Sharma, Wu and Dalal
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_differences(first: tuple, second: tuple, difference: float) -> None:
    assert ciede2000(first, second) == pytest.approx(difference, abs=1e-4)
    assert ciede2000(second, first) == pytest.approx(difference, abs=1e-4)


def test_colours_by_hand() -> None:
    assert lab((255, 255, 255)) == pytest.approx((100, 0, 0), abs=0.01)
    assert colour_similarity((10, 20, 30), (10, 20, 30)) == 1
    assert colour_similarity((0, 0, 0), (255, 255, 255)) == pytest.approx(0)


def test_a_page_is_like_itself() -> None:
    assert measure([TITLE, TEXT], [TITLE, TEXT]) == pytest.approx(
        dict.fromkeys(("size", "text", "position", "colour"), 1)
    )


def test_a_missing_block_lowers_the_size_alone() -> None:
    parts = measure([TITLE], [TITLE, TEXT])
    assert parts["size"] == pytest.approx(0.08 / (0.08 + 0.16))
    assert parts["text"] == parts["position"] == parts["colour"] == 1


def test_a_shift_lowers_the_position() -> None:
    shifted = ["A title", 0.1, 0.3, 0.4, 0.1, [0, 0, 0]]
    assert measure([shifted, TEXT], [TITLE, TEXT])["position"] == pytest.approx(0.9)


def test_a_text_in_two_elements_is_joined() -> None:
    halves = [["Some longer", 0.1, 0.5, 0.4, 0.2, [255, 0, 0]], ["text", 0.5, 0.5, 0.4, 0.2, [255, 0, 0]]]
    assert measure([TITLE, *halves], [TITLE, TEXT])["size"] == pytest.approx(1)


def test_pages_without_common_texts_score_nothing() -> None:
    assert set(measure([], [TITLE]).values()) == {0}
    assert set(measure([["xyz", 0, 0, 1, 1, [0, 0, 0]]], [TITLE]).values()) == {0}


_SHARE = st.floats(0, 1)
_BLOCK = st.tuples(
    st.text("ab ", min_size=1, max_size=5), _SHARE, _SHARE, _SHARE, _SHARE, st.tuples(*[st.integers(0, 255)] * 3)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_BLOCK, max_size=5), st.lists(_BLOCK, max_size=5))
def test_parts_are_shares(predicted: list, reference: list) -> None:
    assert all(0 <= value <= 1 + 1e-9 for value in measure(predicted, reference).values())


@pytest.mark.parametrize(
    ("response", "html"),
    [
        ("```html\n<p>a</p>\n```", "<p>a</p>\n"),
        ("Here:\n<!DOCTYPE html><html></html>", "<!DOCTYPE html><html></html>"),
        ("```html\n<p>cut off", "<p>cut off"),
        ("no page", None),
    ],
)
def test_the_page_of_a_response(response: str, html: str | None) -> None:
    assert read_html(response) == html


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="no Chromium"
)
def test_pages_are_laid_out_without_scripts() -> None:
    page = (
        "<body style='color:red'><h1>Title</h1><p>Text</p><script>document.body.innerHTML = 'hacked'</script></body>"
    )

    async def in_event_loop() -> list:
        tall = "<p>Text</p><div style='height:200000px'></div>"
        return render_pages([page, "<p style='visibility:hidden'>no</p>", tall], screenshots=True)

    visible, hidden, tall = asyncio.run(in_event_loop())
    assert [block[0] for block in visible.blocks] == ["Title", "Text"]
    assert visible.blocks[0][5] == [255, 0, 0] and hidden.blocks == []
    assert np.asarray(without_texts(visible)).min() > 240, "white is left, at most with the edge of a letter"
    assert Image.open(io.BytesIO(visible.screenshot)).size == (1280, 720)
    assert len(tall.blocks) == 1 and not tall.screenshot, "it is too large for one"
    item = Item("a", (), page)
    score = DESIGN2CODE.score(item, page)
    assert score.value == 1
    assert DESIGN2CODE.summarise([Scored(item, score)]).headline == "four parts", "without the weights of CLIP"


def screenshot(colour: tuple[int, int, int], text: tuple[int, int, int]) -> RenderedPage:
    """A page of one colour with one block of text in it."""
    page = np.full((90, 120, 3), colour, np.uint8)
    page[30:60, 30:60] = text
    buffer = io.BytesIO()
    Image.fromarray(page).save(buffer, "PNG")
    return RenderedPage([["Text", 0.25, 1 / 3, 0.25, 1 / 3, list(text)]], buffer.getvalue())


def test_clip_compares_pages_without_their_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**size, "vocab_size": 99}, vision_config={**size, "image_size": 32, "patch_size": 16}
    )
    CLIPModel(config).save_pretrained(tmp_path / "clip-vit-base-patch32")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / "clip-vit-base-patch32")
    weights = tmp_path / "clip-vit-base-patch32"
    white, other_text, blue = (
        screenshot((255, 255, 255), (255, 0, 0)),
        screenshot((255, 255, 255), (0, 0, 0)),
        screenshot((0, 0, 255), (255, 0, 0)),
    )
    assert clip_similarity(weights, white, other_text) == pytest.approx(1, abs=1e-5)
    assert clip_similarity(weights, white, blue) < 0.999

    (tmp_path / "1.html").write_text("<p>Text</p>")
    (item,) = DESIGN2CODE.items(tmp_path, images=False)
    monkeypatch.setattr(design2code, "render_pages", lambda pages, screenshots: [blue, white])
    score = DESIGN2CODE.score(item, "```html\n<p>Text</p>\n```")
    metrics = DESIGN2CODE.summarise([Scored(item, score)])
    assert metrics.headline == "score"
    assert metrics.value == pytest.approx((4 * metrics.values["four parts"] + metrics.values["clip"]) / 5)
    monkeypatch.setattr(clip, "SECONDS", 0.0)
    late = DESIGN2CODE.score(item, "```html\n<p>Text</p>\n```")
    assert (late.verdict, late.trace) == (
        "unparsable",
        ("the texts of the screenshots could not be filled for CLIP in time",),
    )
    monkeypatch.setattr(design2code, "render_pages", lambda pages, screenshots: [blue, RenderedPage([])])
    assert DESIGN2CODE.score(item, "<html><p>Text</p></html>").details["clip"] == 0, "one did not load in time"
    with pytest.raises(UserError, match="no CLIP"):
        clip_similarity(tmp_path, white, blue)
