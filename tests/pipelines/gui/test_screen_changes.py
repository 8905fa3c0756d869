"""Where two screenshots differ, and how far a view was scrolled."""

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.gui.screen_changes import changed_box, scrolled_down

WIDTH, HEIGHT = 240, 160


def page(height: int, seed: int = 0) -> PILImage.Image:
    """Rows of blocks, as lines of words are."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 2, (height // 8, WIDTH // 8)), np.ones((8, 8))) * 200 + 40
    blocks[(np.arange(len(blocks)) // 8) % 2 == 0] = 240
    return PILImage.fromarray(blocks.astype(np.uint8)).convert("RGB")


def view(whole: PILImage.Image, top: int) -> PILImage.Image:
    """What a window shows: a bar that stands still, and the page below it."""
    window = PILImage.new("RGB", (WIDTH, HEIGHT), "navy")
    window.paste(whole.crop((0, top, WIDTH, top + HEIGHT - 20)), (0, 20))
    return window


@pytest.mark.parametrize("down", [-70, -16, 24, 64])
def test_a_scroll_is_measured_also_in_a_jpeg(down: int) -> None:
    whole = page(480)
    before, after = view(whole, 160), view(whole, 160 + down)
    assert scrolled_down(before, after) == down
    assert scrolled_down(before, encode_jpeg(after, 70).open().convert("RGB")) == down


def test_another_page_is_no_scroll() -> None:
    assert scrolled_down(view(page(480), 100), view(page(480, seed=1), 100)) is None
    assert scrolled_down(view(page(480), 100), view(page(480), 100)) is None
    blank = PILImage.new("RGB", (WIDTH, HEIGHT), "white")
    for height in (10, 100):  # of a text that appears where nothing was
        appeared = blank.copy()
        appeared.paste(page(480).crop((0, 0, 80, height)), (20, 30))
        assert scrolled_down(blank, appeared) is None


def test_the_box_of_a_change_holds_all_of_it() -> None:
    before = view(page(480), 0)
    after = before.copy()
    after.paste("red", (50, 60, 90, 80))
    box = changed_box(before, after)
    assert box is not None and (box.x1, box.y1, box.x2, box.y2) == (50, 60, 90, 80)
    assert changed_box(before, before) is None
    assert changed_box(before, before.resize((100, 100))) is None
