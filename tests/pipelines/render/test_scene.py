from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.render.scenes.scene import IconRequest, free_spot, render_scene
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.icons import IconSet

boxes = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(5, 30), st.integers(5, 30))


@given(st.lists(boxes, max_size=4), st.integers(3, 40), st.integers(3, 40), st.integers(0, 5), st.integers())
def test_a_free_spot_overlaps_nothing(
    taken: list[tuple[int, int, int, int]], width: int, height: int, gap: int, seed: int
) -> None:
    others = [(x, y, x + w, y + h) for x, y, w, h in taken]
    spot = free_spot((width, height), (0, 0, 80, 80), others, gap, rng_for(seed))
    if spot is not None:
        assert (spot[2] - spot[0], spot[3] - spot[1]) == (width, height)
        assert spot[0] >= 0 and spot[1] >= 0 and spot[2] <= 80 and spot[3] <= 80
        for x1, y1, x2, y2 in others:
            assert spot[0] >= x2 + gap or spot[2] + gap <= x1 or spot[1] >= y2 + gap or spot[3] + gap <= y1


def test_a_scene_holds_every_requested_icon_or_is_abandoned() -> None:
    icons = IconSet([Path("data/step3vl/data/assets/icons/star.svg")])
    requests = [IconRequest("star", "red", 20)] * 3
    placed = render_scene(plain((100, 100), (255, 255, 255)), requests, icons, rng_for(1))
    assert placed is not None and [icon.icon for icon in placed] == ["star"] * 3
    assert (
        render_scene(plain((40, 40), (255, 255, 255)), [IconRequest("star", "red", 30)] * 2, icons, rng_for(1)) is None
    )
