"""What becomes of annotations: proven boxes, clean labels, and a reason for everything that is left out."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.sample import Box
from step3vl.grading.boxes import in_box
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.grounding.conventions import BoxFormat
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.annotations.cleaning import clean, clean_label
from step3vl.pipelines.sources.annotations.raw import RawImage, RawObject

IMAGE = encode_jpeg(plain((200, 100), (200, 10, 10)))


def cleaned(*objects: dict[str, Any], **fields: Any) -> GroundedImage:
    items = tuple(RawObject(**{"label": "dog", **item}) for item in objects)
    raw = RawImage(**{"name": "a", "order": "xywh", "unit": "pixels", "objects": items, **fields})
    return clean(raw, IMAGE, "photo", "CC0-1.0", "t")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Traffic_Light", "traffic light"), ("cup_(drinking)", "cup"), ("Barrel/bucket", "barrel"), ("TV", "TV"),
        ("Other Shoes", None), ("misc_effects", None), ("12", None), ("", None),
        ("x" * 80, None), ("the clock", "clock"),
        ("another dog", "another dog"), ("ｆｉｓｈ", "fish"), ("  wild   bird. ", "wild bird"), ("object", None),
        ("狗", "狗"), ("thimble", "thimble"), ("background", None), ("An apple", "apple"),
    ],
)  # fmt: skip
def test_labels(label: str, expected: str | None) -> None:
    assert clean_label(label) == expected


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"box": (10, 10, 0, 20)}, "no_area"),
        ({"box": (10, 10, -5, 20)}, "no_area"),
        ({"box": (math.nan, 10, 5, 20)}, "not_finite"),
        ({"box": (10, 10, 5)}, "not_four_numbers"),
        ({"box": (300, 10, 20, 20)}, "outside"),
        ({"box": (190, 10, 40, 20)}, "mostly_outside"),
        ({"box": (10, 10, 2, 50)}, "too_small"),
        ({"polygons": ((1, 2, 3, 4),)}, "not_a_polygon"),
        ({"polygons": ((10, 10, 20, 10, 30, 10),)}, "no_area"),
        ({"box": (10, 10, 20, 20), "polygons": ((100, 50, 120, 50, 120, 80, 100, 80),)}, "box_and_polygons_differ"),
        ({"point": (250, 10)}, "outside"),
        ({}, "no_geometry"),
        ({"label": "other", "box": (10, 10, 20, 20)}, "no_label"),
        ({"box": (10, 10, 20, 20), "ignored": "crowd"}, "crowd"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted_and_leaves_its_label_incomplete(item: dict[str, Any], reason: str) -> None:
    image = cleaned({"box": (50, 50, 30, 30)}, item, complete=("dog",), absent=("dog", "cat"))
    assert image.dropped == {reason: 1}
    assert len(image.objects) == 1
    assert image.complete == (() if reason != "no_label" else ("dog",))
    assert image.absent == ("cat",)
    assert [region.reason for region in image.ignored] == (["crowd"] if reason == "crowd" else [])


def test_an_object_that_is_annotated_twice_is_one() -> None:
    image = cleaned({"box": (10, 10, 50, 50)}, {"box": (10, 10, 50, 51)}, {"box": (80, 10, 50, 50)}, complete=("dog",))
    assert (len(image.objects), image.dropped, image.complete) == (2, {"duplicate": 1}, ("dog",))


def test_what_reaches_out_of_the_image_a_little_is_cut() -> None:
    (item,) = cleaned({"box": (-4, 60, 50, 45)}).objects
    assert item.box == (0, 60, 46, 100)


def test_a_file_read_by_another_convention_is_refused() -> None:
    corners = [
        {"box": (x, 40, x + 15, 90), "label": f"kind {x}"} for x in range(100, 180, 10)
    ]  # which are x1, y1, x2, y2
    with pytest.raises(ValueError, match="are they xywh in pixels"):
        cleaned(*corners)
    assert len(cleaned(*corners, order="xyxy").objects) == 8


@pytest.mark.parametrize(
    ("size", "works"),
    [((400, 200), True), ((401, 200), True), ((100, 200), False), ((200, 90), False), ((0, 5), False)],
)
def test_an_image_of_another_shape_is_not_the_annotated_one(size: tuple[int, int], works: bool) -> None:
    if not works:
        with pytest.raises(ValueError):
            cleaned({"box": (1, 1, 50, 50)}, size=size)
        return
    (item,) = cleaned({"box": (100, 100, 100, 50)}, size=size).objects
    assert item.box == pytest.approx((50, 50, 100, 75), abs=0.3)  # the image has half the annotated size


@settings(max_examples=80)
@given(
    st.sampled_from(["xyxy", "xywh", "cxcywh", "xxyy", "yxyx", "yxhw"]),
    st.sampled_from(["pixels", "unit", "percent", "milli"]),
    st.tuples(st.floats(0, 150), st.floats(0, 70), st.floats(4, 50), st.floats(4, 30)),
    st.integers(1, 6),
)
def test_any_convention_and_resolution_leads_to_one_box(
    order: Any, unit: Any, sides: tuple[float, float, float, float], scale: int
) -> None:
    x, y, width, height = sides
    box = Box(x, y, x + width, y + height, "pixels", (200, 100))
    size = (200 * scale, 100 * scale)
    values = BoxFormat(order, unit).write(box.resized(size))
    (item,) = cleaned({"box": values}, order=order, unit=unit, size=size).objects
    assert item.box == pytest.approx((box.x1, box.y1, box.x2, box.y2), abs=1e-6)


def test_points_count_within_the_reach_of_their_set() -> None:
    (item,) = cleaned({"point": (50, 50)}, unit="percent", reach=5.0).objects
    assert item.point == (100, 50)
    assert item.spots == ((450, 450, 550, 550),)
    (item,) = cleaned({"point": (0, 0)}).objects
    assert item.spots == ((0, 0, 10, 20),)  # a hundredth of the longer side, within the image


def test_a_point_on_a_polygon_counts_and_one_beside_it_in_its_box_does_not() -> None:
    triangle = (10.0, 10.0, 190.0, 10.0, 10.0, 90.0)
    (item,) = cleaned({"polygons": (triangle,)}, complete=("dog",)).objects
    image = cleaned({"polygons": (triangle,)})
    assert any(in_box(spot, image.point(item).to("milli")) for spot in item.spots)
    far_corner = Box(180, 80, 190, 90, "pixels", (200, 100)).centre.to("milli")
    assert not any(in_box(spot, far_corner) for spot in item.spots)


def test_thousands_of_objects_take_little_time() -> None:
    rng = np.random.default_rng(0)
    objects = [{"box": (float(x), float(y), 5.0, 5.0)} for x, y in rng.uniform(0, 95, (3000, 2))]
    assert len(cleaned(*objects).objects) > 2000


def test_an_unreadable_text_leaves_the_others_to_be_told_by_what_they_say() -> None:
    image = cleaned(
        {"label": "word", "box": (10, 10, 50, 20), "attributes": {"text": "OPEN"}},
        {"label": "word", "box": (10, 50, 50, 20), "ignored": "unreadable"},
        complete=("word",),
    )
    assert (image.complete, image.dropped) == (("word",), {"unreadable": 1})
