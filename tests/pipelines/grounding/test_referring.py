"""Which objects phrases fit, and what is left undecided."""

from collections.abc import Callable

import pytest

from step3vl.data.sample import Box
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.grounding.referring import (
    Phrase,
    Place,
    Undecided,
    is_kind_of,
    is_proven,
    phrases_for,
    referents,
    related_phrases_for,
)
from step3vl.pipelines.grounding.relations import is_above, is_inside, is_left, larger, nearer

Grounded = Callable[..., GroundedImage]
CARS = [("car", 10, 10, 60, 40), ("car", 200, 20, 330, 120), ("car", 150, 310, 195, 340), ("dog", 240, 200, 280, 240)]


@pytest.mark.parametrize(
    ("place", "index"),
    [("leftmost", 0), ("rightmost", 1), ("bottommost", 2), ("largest", 1)],
)
def test_a_place_tells_which(grounded: Grounded, place: Place, index: int) -> None:
    assert referents(grounded(CARS), Phrase("car", place=place)) == [index]


@pytest.mark.parametrize(
    "phrase",
    [
        Phrase("car", place="smallest"),  # two are nearly as small
        Phrase("dog", place="leftmost"),  # of one
        Phrase("car", (("colour", "red"),)),  # nobody knows their colours
        Phrase("cat"),  # nobody knows whether there is one
        Phrase("car", near=Phrase("car")),  # which car?
    ],
)
def test_what_the_image_does_not_tell_is_undecided(grounded: Grounded, phrase: Phrase) -> None:
    with pytest.raises(Undecided):
        referents(grounded(CARS), phrase)


def test_a_long_one_that_begins_further_left_leaves_the_leftmost_undecided(grounded: Grounded) -> None:
    with pytest.raises(Undecided):
        referents(grounded([("car", 50, 10, 70, 30), ("car", 5, 60, 300, 90)]), Phrase("car", place="leftmost"))


def test_nearest_and_between(grounded: Grounded) -> None:
    image = grounded([*CARS, ("bird", 10, 205, 30, 235), ("cup", 100, 205, 120, 230), ("cup", 350, 350, 370, 370)])
    assert referents(image, Phrase("cup", near=Phrase("bird"))) == [5]
    assert referents(image, Phrase("cup", between=(Phrase("bird"), Phrase("dog")))) == [5]
    assert referents(image, Phrase("cup", near=Phrase("car", place="leftmost"))) == [5]
    related = list(related_phrases_for(image, 5, [Phrase("bird"), Phrase("dog")]))
    assert Phrase("cup", between=(Phrase("bird"), Phrase("dog"))) in related


def test_a_label_with_a_crowd_or_an_incomplete_one_proves_nothing(grounded: Grounded) -> None:
    dog = [("dog", 10, 10, 60, 60)]
    assert is_proven(grounded(dog), Phrase("dog"), 0)
    assert not is_proven(grounded(dog, complete=()), Phrase("dog"), 0)
    crowd = {"label": "dog", "box": (100, 100, 300, 300), "reason": "crowd"}
    assert not is_proven(grounded(dog, ignored=(crowd,)), Phrase("dog"), 0)


def test_a_traffic_light_is_a_light(grounded: Grounded) -> None:
    assert is_kind_of("traffic light", "light")
    assert not is_kind_of("light", "traffic light")
    assert not is_kind_of("highlight", "light")
    image = grounded([("light", 10, 10, 60, 60), ("traffic light", 100, 10, 160, 60)])
    assert not is_proven(image, Phrase("light"), 0)
    assert is_proven(image, Phrase("traffic light"), 1)


def test_what_people_wrote_counts_only_where_nobody_wrote_it_of_another(grounded: Grounded) -> None:
    image = grounded([("dog", 10, 10, 60, 60), ("dog", 100, 10, 160, 60)], complete=())
    first, second = image.objects
    objects = (
        first.model_copy(update={"phrases": ("Left dog.", "a dog")}),
        second.model_copy(update={"phrases": ("A dog",)}),
    )
    image = image.model_copy(update={"objects": objects})
    assert [phrase.written for phrase in phrases_for(image, 0)] == ["Left dog."]


def test_colours_tell_apart(grounded: Grounded) -> None:
    red, blue = {"colour": "red"}, {"colour": "blue"}
    image = grounded(
        [("star", 10, 10, 60, 60, red), ("star", 100, 10, 160, 60, blue), ("star", 300, 300, 340, 340, blue)]
    )
    assert referents(image, Phrase("star", (("colour", "red"),))) == [0]
    assert referents(image, Phrase("star", (("colour", "blue"),))) == [1, 2]
    assert referents(image, Phrase("star", (("colour", "blue"),), place="bottommost")) == [2]
    partly = grounded([("star", 10, 10, 60, 60, red), ("star", 100, 10, 160, 60)])
    assert not is_proven(partly, Phrase("star", (("colour", "red"),)), 0)


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(x1, y1, x2, y2, "pixels", (400, 400))


def test_relations_are_decided_only_where_they_are_clear() -> None:
    left, right, wide = box(0, 0, 40, 40), box(100, 10, 160, 60), box(0, 100, 400, 200)
    assert is_left(left, right) is True
    assert is_left(right, left) is False
    assert is_left(left, box(10, 0, 50, 40)) is None
    assert is_left(box(5, 0, 45, 40), wide) is None  # which begins further left
    assert is_above(box(0, 0, 10, 40), box(20, 5, 30, 45)) is None
    assert is_above(left, wide) is True
    assert is_inside(box(10, 110, 50, 150), wide) is True
    assert is_inside(left, right) is False
    assert is_inside(box(10, 90, 50, 130), wide) is None  # three quarters of it
    assert larger(left, wide) == 1
    assert larger(left, box(0, 0, 42, 42)) is None
    assert nearer(left, right, box(170, 10, 200, 40)) == 1
    assert nearer(left, right, box(60, 10, 80, 30)) is None
