import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.sample import Box
from step3vl.pipelines.render.scenes.mosaic import (
    LAYOUTS,
    Frame,
    choose_frame,
    compose_mosaic,
    differences,
    edge_contrast,
    place,
    plain_border,
)

PLAIN = Frame(0, 0, 0, (255, 255, 255), (0, 0, 0))
COLOURS = [(200, 30, 30), (30, 160, 30), (30, 30, 200), (220, 200, 40)]

aspects = st.lists(st.floats(0.34, 3.0), min_size=4, max_size=4)


def corners(box: Box) -> tuple[int, int, int, int]:
    return int(box.x1), int(box.y1), int(box.x2), int(box.y2)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(LAYOUTS)), aspects=aspects, gap=st.integers(0, 20), margin=st.integers(0, 30))
def test_images_keep_their_shape_stay_inside_and_never_overlap(
    name: str, aspects: list[float], gap: int, margin: int
) -> None:
    try:
        size, boxes = place(LAYOUTS[name], aspects, Frame(margin, gap, 0, (0, 0, 0), (0, 0, 0)), 900)
    except ValueError:
        assume(False)
    assert abs(max(size) - 900) <= 1
    edges = [corners(box) for box in boxes]
    for (x1, y1, x2, y2), aspect in zip(edges, aspects, strict=True):
        assert margin - 1 <= x1 < x2 <= size[0] - margin + 1
        assert margin - 1 <= y1 < y2 <= size[1] - margin + 1
        assert abs((x2 - x1) - aspect * (y2 - y1)) <= 1 + aspect  # a pixel of rounding on each side
    for first in range(4):
        for second in range(first):
            (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = edges[first], edges[second]
            apart = max(bx1 - ax2, ax1 - bx2, by1 - ay2, ay1 - by2)
            assert apart >= gap - 1


def test_equal_squares_fill_a_grid_exactly() -> None:
    size, boxes = place(LAYOUTS["grid_of_rows"], [1.0] * 4, Frame(10, 20, 0, (0, 0, 0), (0, 0, 0)), 440)
    assert size == (440, 440)
    assert [corners(box) for box in boxes] == [
        (10, 10, 210, 210), (230, 10, 430, 210), (10, 230, 210, 430), (230, 230, 430, 430),
    ]  # fmt: skip


def test_a_frame_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        place(LAYOUTS["row"], [1.0] * 4, Frame(0, 60, 0, (0, 0, 0), (0, 0, 0)), 100)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(LAYOUTS)), seed=st.integers(0, 9999))
def test_each_box_shows_its_image_and_nothing_else(name: str, seed: int) -> None:
    rng = random.Random(seed)
    images = [PILImage.new("RGB", (rng.randint(60, 200), rng.randint(60, 200)), colour) for colour in COLOURS]
    frame = choose_frame(500, rng)
    size, boxes = place(LAYOUTS[name], [image.width / image.height for image in images], frame, 500)
    pixels = np.asarray(compose_mosaic(images, size, boxes, frame))
    inside = np.zeros(pixels.shape[:2], dtype=bool)
    for box, colour in zip(boxes, COLOURS, strict=True):
        x1, y1, x2, y2 = corners(box)
        assert (pixels[y1:y2, x1:x2] == colour).all()
        inside[y1:y2, x1:x2] = True
    assert inside.sum() == sum(int(box.area) for box in boxes)


def test_the_difference_tells_images_apart_and_notices_a_moved_box() -> None:
    rng = np.random.default_rng(0)
    images = [PILImage.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((160, 160)) for _ in range(4)]
    size, boxes = place(LAYOUTS["grid_of_rows"], [1.0] * 4, PLAIN, 320)
    mosaic = compose_mosaic(images, size, boxes, PLAIN)
    for number, box in enumerate(boxes):
        distances = differences(mosaic, images, box)
        assert distances[number] < 2 < 20 < min(distances[:number] + distances[number + 1 :])
    moved = Box(40, 40, 200, 200, "pixels", size)
    assert min(differences(mosaic, images, moved)) > 10


def test_edges_of_a_true_box_show_in_the_pixels_and_those_of_a_wrong_one_do_not() -> None:
    rng = np.random.default_rng(1)
    images = []
    for colour in COLOURS:
        pixels = np.full((240, 240, 3), colour) + rng.integers(-5, 6, (240, 240, 1))
        images.append(PILImage.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    frame = Frame(0, 6, 0, (255, 255, 255), (0, 0, 0))
    size, boxes = place(LAYOUTS["grid_of_rows"], [1.0] * 4, frame, 486)
    mosaic = compose_mosaic(images, size, boxes, frame)
    assert min(edge_contrast(mosaic, boxes[0].milli())) > 5
    inside = edge_contrast(mosaic, (100, 100, 400, 400))
    assert len(inside) == 4
    assert max(inside) < 2
    assert edge_contrast(mosaic, (0, 0, 1000, 1000)) == []


def test_images_that_end_in_one_colour_are_set_apart_by_another() -> None:
    cut_out = PILImage.new("RGB", (80, 60), "white")
    cut_out.paste((10, 90, 10), (20, 20, 60, 40))
    noise = PILImage.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    assert plain_border(cut_out) == (255, 255, 255)
    assert plain_border(noise) is None
    for seed in range(200):
        frame = choose_frame(400, random.Random(seed), [(255, 255, 255), (0, 0, 0)])
        assert frame.gap >= 2
        assert min(max(frame.background), 255 - min(frame.background)) >= 48
